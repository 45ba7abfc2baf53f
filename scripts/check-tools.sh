#!/usr/bin/env bash
# Checks that what the build and the tests need from the system is there. As root on Debian it installs what is
# missing; otherwise it says what to install.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/check-build-tools.sh"
need npm nodejs npm
need python3 python3 python3-venv
need java openjdk-17-jre-headless
need mvn maven
need setpriv util-linux # the tests tie the servers they start to their own life
need strace strace # a test watches the system calls of `preview`
java_major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
[ "${java_major:-0}" -ge 17 ] || fail "Kafka needs Java 17 or newer, 'java' is ${java_major:-unknown}; install it with: sudo apt-get install openjdk-17-jre-headless"
say "system tools are there"
