#!/usr/bin/env bash
# Installs kubernetes-validate, which brings the schemas of Kubernetes' objects by version (150 MB), in a Python virtual environment.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=1.37.0
folder=$tools/kubernetes-validate
if installed "$folder" "$version" venv/bin/kubernetes-validate; then
    say "kubernetes-validate $version is in .tools/kubernetes-validate"
    exit
fi
say "installing kubernetes-validate $version into .tools/kubernetes-validate"
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/scripts/kubernetes-validate.txt"
stamp "$folder" "$version"
