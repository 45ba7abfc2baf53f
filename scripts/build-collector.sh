#!/usr/bin/env bash
# Builds the sidecar as it is delivered, into target/sidecar/weighbridge-collector: optimised for size (profile `sidecar`) and
# linked statically, which leaves out the loader, its relocations and the unused parts of libc: a third of its memory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
# Position-independent, so that addresses stay random; packed relocations take pages that are read at start only.
export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"
# The functions of a start lie together, so that the rest of the code is not read into memory with them (scripts/order-code.sh).
cargo rustc --profile sidecar --locked --target "$target" -p weighbridge-collector --bin weighbridge-collector -- \
    -C link-arg=-Wl,-T,"$PWD/collector/start-first.ld"
install -D "${CARGO_TARGET_DIR:-target}/$target/sidecar/weighbridge-collector" "${CARGO_TARGET_DIR:-target}/sidecar/weighbridge-collector"
