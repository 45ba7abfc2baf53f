#!/usr/bin/env bash
# Builds Helm 4, Helm 3 and helm-docs from their Go modules into .tools/helm. scripts/helm/go.mod and go.sum pin them and all that is in them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$tools/helm
wanted=$(cat "$root/scripts/helm/go.mod" "$root/scripts/helm/go.sum" | sha256sum | cut -c 1-16)
versions=$(sed -n 's/^\thelm\.sh\/helm\/v[34] \(v[^ ]*\).*/\1/p' "$root/scripts/helm/go.mod" | paste -sd ' ')
if installed "$folder" "$wanted" helm-docs; then
    say "Helm $versions are in .tools/helm"
    exit
fi
command -v go >/dev/null 2>&1 || fail "'go' is missing; install Go, the version is in scripts/helm/go.mod"
say "building Helm $versions into .tools/helm (five minutes of CPU time)"
rm -rf "$folder"
mkdir -p "$folder"
cd "$root/scripts/helm"
# A newer Go is not fetched behind the user's back; the build says so if this one is too old.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0
build() { go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$folder/$1" "$2"; }
build helm-v4 helm.sh/helm/v4/cmd/helm
build helm-v3 helm.sh/helm/v3/cmd/helm
build helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs
stamp "$folder" "$wanted"
