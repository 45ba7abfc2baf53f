#!/usr/bin/env bash
# Unpacks Debian's nginx (1.3 MB) into .tools/nginx, for the test of its access log. Not installed as a system package: that would
# start a server on port 80.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=$tools/nginx
wanted=debian-nginx-1
if installed "$folder" "$wanted" usr/sbin/nginx; then
    say "$("$folder/usr/sbin/nginx" -v 2>&1) is in .tools/nginx"
    exit
fi
say "installing nginx into .tools/nginx"
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
download() { apt-get download nginx >/dev/null 2>&1; }
# Package lists may be older than the last security update.
download || { apt-get update -qq && download; } || fail "apt-get cannot download nginx; as root run: apt-get update"
dpkg --extract nginx_*.deb .
rm nginx_*.deb
# Its libraries (OpenSSL, PCRE2, zlib) are on nearly every Debian.
usr/sbin/nginx -v 2>/dev/null || fail "nginx does not start; install its libraries with: sudo apt-get install libpcre2-8-0 libssl3 zlib1g libcrypt1"
stamp "$folder" "$wanted"
