#!/usr/bin/env bash
# Builds compose-config (scripts/compose) into .tools/compose: it loads a Compose file by the library that Docker Compose loads it with.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

module=$root/scripts/compose
folder=$tools/compose
wanted=$(cat "$module/go.sum" "$module/main.go" | sha256sum | cut -d' ' -f1)
if installed "$folder" "$wanted" compose-config; then
    say "compose-config is in .tools/compose"
    exit
fi
command -v go >/dev/null 2>&1 || need go golang-go
say "building compose-config into .tools/compose"
rm -rf "$folder"
mkdir -p "$folder"
cd "$module"
GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o "$folder/compose-config" . >"$folder/build.log" 2>&1 ||
    fail "compose-config does not build, see .tools/compose/build.log; it needs Go 1.26 or newer"
stamp "$folder" "$wanted"
