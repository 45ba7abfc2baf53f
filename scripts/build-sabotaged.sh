#!/usr/bin/env bash
# Builds an aggregator that can break its guarantees, into target/sabotaged/weighbridge-aggregator, for the tests of the fault
# suite. It uses the dependencies of the release build, and leaves its own binary in target/release: build that one afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked -p weighbridge-aggregator --features sabotage
install -D "$target/release/weighbridge-aggregator" "$target/sabotaged/weighbridge-aggregator"
