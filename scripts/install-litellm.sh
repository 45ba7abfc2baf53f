#!/usr/bin/env bash
# Installs the LiteLLM proxy (770 MB) into a Python environment, for the tests against a real gateway.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/litellm/requirements.txt
folder=$tools/litellm
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
version=$(sed -n 's/^litellm==\([^ ;]*\).*/\1/p' "$requirements")
if installed "$folder" "$wanted" bin/litellm; then
    say "LiteLLM $version is in .tools/litellm"
    exit
fi
need python3 python3 python3-venv
python3 -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || fail "LiteLLM needs Python 3.11 or newer"
say "installing LiteLLM $version into .tools/litellm (about two minutes)"
rm -rf "$folder"
python3 -m venv "$folder" || fail "python3 cannot make environments; install them with: sudo apt-get install python3-venv"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
stamp "$folder" "$wanted"
