#!/usr/bin/env bash
# Installs Debian's Podman and runc (30 MB) as system packages: they build and run the container images. No service is started.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need podman podman
need runc runc
say "$(podman --version) is there"
