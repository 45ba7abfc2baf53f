#!/usr/bin/env bash
# Installs cargo-fuzz, which `make fuzz` runs.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=0.13.2
folder=$tools/cargo-fuzz
command -v cargo >/dev/null 2>&1 || fail "'cargo' is missing; install Rust with rustup"
if installed "$folder" "cargo-fuzz $version" bin/cargo-fuzz; then
    say "cargo-fuzz $version is in .tools/cargo-fuzz"
    exit
fi
say "installing cargo-fuzz $version into .tools/cargo-fuzz (builds from source, a few minutes)"
mkdir -p "$folder"
build=$(mktemp -d "${TMPDIR:-/tmp}/weighbridge-cargo-fuzz.XXXXXX")
trap 'rm -rf "$build"' EXIT
cargo install cargo-fuzz --version "$version" --locked --quiet --root "$folder" --target-dir "$build"
stamp "$folder" "cargo-fuzz $version"
