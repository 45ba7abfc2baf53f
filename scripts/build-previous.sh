#!/usr/bin/env bash
# Builds the aggregator of an earlier commit, by default the one before this, into target/previous/weighbridge-aggregator: the other
# version of the rolling upgrades in the fault suite. scripts/build-previous.sh [COMMIT]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

wanted=${1:-HEAD~1}
commit=$(git rev-parse --verify --quiet "$wanted^{commit}") ||
    fail "there is no commit $wanted here; a clone without history lacks it: git fetch --unshallow"
folder=$root/${CARGO_TARGET_DIR:-target}/previous
if installed "$folder" "$commit" weighbridge-aggregator; then
    say "the aggregator of $commit is in target/previous"
    exit
fi
rm -rf "$folder/source"
mkdir -p "$folder/source"
git archive "$commit" | tar -x -C "$folder/source"
say "building the aggregator of $commit (a few minutes)"
CARGO_TARGET_DIR=$folder/target cargo build --release --locked --quiet \
    --manifest-path "$folder/source/Cargo.toml" -p weighbridge-aggregator
install "$folder/target/release/weighbridge-aggregator" "$folder/weighbridge-aggregator"
stamp "$folder" "$commit"
