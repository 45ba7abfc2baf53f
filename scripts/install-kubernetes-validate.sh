#!/usr/bin/env bash
# Installs kubernetes-validate, which brings the schemas of Kubernetes' objects by version (150 MB), into a Python environment.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

requirements=$root/scripts/kubernetes-validate/requirements.txt
folder=$tools/kubernetes-validate
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
version=$(sed -n 's/^kubernetes-validate==\([^ ;]*\).*/\1/p' "$requirements")
if installed "$folder" "$wanted" venv/bin/kubernetes-validate; then
    say "kubernetes-validate $version is in .tools/kubernetes-validate"
    exit
fi
need python3 python3 python3-venv
say "installing kubernetes-validate $version into .tools/kubernetes-validate"
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/venv" || fail "python3 cannot make environments; install them with: sudo apt-get install python3-venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
stamp "$folder" "$wanted"
