#!/usr/bin/env bash
# Checks that what the build needs from the system is there. As root on Debian it installs what is missing; otherwise it says what
# to install.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v cargo >/dev/null 2>&1 || fail "'cargo' is missing; install Rust with rustup, the version is in rust-toolchain.toml"
need cc gcc libc6-dev # librdkafka and zstd are C
need c++ g++
need make make
need perl perl # configure of librdkafka
need pkg-config pkg-config # finds OpenSSL
need_library openssl libssl-dev # librdkafka's TLS
say "build tools are there"
