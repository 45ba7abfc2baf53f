#!/usr/bin/env bash
# Installs Debian's Chromium (about 110 MB to fetch) as a system package, and a font, for the tests that open the report in a browser.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need chromium chromium fonts-dejavu-core
need fc-list fontconfig
[ -n "$(fc-list)" ] || fail "no font is installed, a page would show no text; install one with: sudo apt-get install fonts-dejavu-core"
say "$(chromium --version 2>/dev/null) is there"
