#!/usr/bin/env bash
# Installs cargo-deny, which checks licences, bans and sources of every dependency in `make lint`.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=0.20.2
folder=$tools/cargo
command -v cargo >/dev/null 2>&1 || fail "'cargo' is missing; install Rust with rustup"
if installed "$folder" "cargo-deny $version" bin/cargo-deny; then
    say "cargo-deny $version is in .tools/cargo"
    exit
fi
say "installing cargo-deny $version into .tools/cargo (builds from source, a few minutes)"
mkdir -p "$folder"
build=$(mktemp -d "${TMPDIR:-/tmp}/weighbridge-cargo-deny.XXXXXX")
trap 'rm -rf "$build"' EXIT
cargo install cargo-deny --version "$version" --locked --quiet --root "$folder" --target-dir "$build"
stamp "$folder" "cargo-deny $version"
