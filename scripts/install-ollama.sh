#!/usr/bin/env bash
# Builds Ollama (Go module, C++ inside: about six minutes of CPU time) into .tools/ollama, for the test of the tap. Module archives leave
# out `vendor` folders, so three headers that Ollama has there come from Debian and from another module.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=v0.17.4
audio=v0.11.24 # github.com/gen2brain/malgo, for miniaudio.h
folder=$tools/ollama
wanted="ollama $version malgo $audio 1"
if installed "$folder" "$wanted" ollama; then
    say "Ollama $version is in .tools/ollama"
    exit
fi
command -v go >/dev/null 2>&1 || need go golang-go
say "building Ollama $version into .tools/ollama (about four minutes)"
rm -rf "$folder"
mkdir -p "$folder/debian" "$folder/include/miniaudio"
cd "$folder/debian"
download() { apt-get download nlohmann-json3-dev libstb-dev >/dev/null 2>&1; }
# Package lists may be older than the last security update.
download || { apt-get update -qq && download; } || fail "apt-get cannot download nlohmann-json3-dev and libstb-dev; as root run: apt-get update"
for package in *.deb; do dpkg --extract "$package" .; done
# A module of its own, so that no go.mod around this folder is heeded.
mkdir "$folder/module"
cd "$folder/module"
go mod init weighbridge.invalid/ollama >/dev/null 2>&1
module=$(go mod download -json "github.com/gen2brain/malgo@$audio" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -e "$module/miniaudio.h" ] || fail "the Go module github.com/gen2brain/malgo@$audio has no miniaudio.h"
cp "$module/miniaudio.h" "$folder/include/miniaudio/"
CGO_ENABLED=1 CGO_CFLAGS="-O2" CGO_CXXFLAGS="-O2 -I$folder/include -I$folder/debian/usr/include" GOFLAGS="-trimpath" \
    GOBIN="$folder" go install "github.com/ollama/ollama@$version" 2>"$folder/build.log" ||
    fail "Ollama does not build, see .tools/ollama/build.log; it needs Go 1.24 or newer, gcc and g++"
rm -rf "$folder/debian" "$folder/include" "$folder/module"
stamp "$folder" "$wanted"
