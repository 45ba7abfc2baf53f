#!/usr/bin/env bash
# Builds a kube-apiserver, kubectl and the etcd below it (Go modules, pinned in scripts/kubernetes) into .tools/kubernetes: the tests ask
# a real API server whether it takes every object that we deliver.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

module=$root/scripts/kubernetes
folder=$tools/kubernetes
wanted=$(cat "$module/go.mod" "$module/go.sum" "$module/etcd/main.go" | sha256sum | cut -d' ' -f1)
version=$(sed -n 's:^\tk8s.io/kubernetes ::p' "$module/go.mod")
if installed "$folder" "$wanted" kube-apiserver; then
    say "Kubernetes $version is in .tools/kubernetes"
    exit
fi
command -v go >/dev/null 2>&1 || need go golang-go
say "building Kubernetes $version into .tools/kubernetes (about five minutes)"
rm -rf "$folder"
mkdir -p "$folder"
cd "$module"
minor=${version#v1.}
at=k8s.io/component-base/version
# A newer Go is not fetched behind the user's back; the build says so if this one is too old.
GOTOOLCHAIN=local go build -mod=readonly -trimpath -buildvcs=false \
    -ldflags "-s -w -X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%%.*}" \
    -o "$folder/" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl ./etcd >"$folder/build.log" 2>&1 ||
    fail "Kubernetes does not build, see .tools/kubernetes/build.log; it needs Go 1.26 or newer"
stamp "$folder" "$wanted"
