#!/usr/bin/env bash
# Unpacks promtool from Debian's prometheus (26 MB) into .tools/prometheus: it checks the alert rules and runs their tests. Not installed
# as a system package: that would start a server on port 9090.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$tools/prometheus
wanted=debian-prometheus-1
if installed "$folder" "$wanted" usr/bin/promtool; then
    say "$("$folder/usr/bin/promtool" --version 2>&1 | head -1) is in .tools/prometheus"
    exit
fi
say "installing promtool into .tools/prometheus"
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
download() { apt-get download prometheus >/dev/null 2>&1; }
# Package lists may be older than the last security update.
download || { apt-get update -qq && download; } || fail "apt-get cannot download prometheus; as root run: apt-get update"
dpkg --extract prometheus_*.deb .
# The server, its pages and its units are not needed.
rm -rf prometheus_*.deb usr/bin/prometheus usr/bin/tsdb usr/share etc lib var
usr/bin/promtool --version >/dev/null 2>&1 || fail "promtool does not start"
stamp "$folder" "$wanted"
