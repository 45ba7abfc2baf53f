#!/usr/bin/env bash
# Renews collector/start-first.ld, which puts the functions of a start and of an idle sidecar next to each other. Linux maps sixteen
# pages around each page that is touched, so a start whose functions lie all over seven megabytes of code would make nearly all
# of it resident. Run it after larger changes: a name that is gone does no harm, a function that is missing costs up to 64 KiB.
# Valgrind (Debian package of that name) lists what ran.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need valgrind valgrind
cd "$root"
# With symbols, and in a folder of its own: other flags would build the delivered one anew.
export CARGO_TARGET_DIR=$root/target/order-code
CARGO_PROFILE_SIDECAR_STRIP=none scripts/build-collector.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp collector/tests/fixtures/access-log/nginx.jsonl "$work/log"

admin=29464

# Runs one sidecar with source $2 until it has scraped, sealed and looked for its ingest a few times.
record() {
    cat >"$work/$1.yaml" <<CONFIG
data_folder: $work/$1
environment: development
window_s: 10
source:
  $2
uplink:
  endpoint: http://127.0.0.1:9
  drain_timeout_s: 0
admin:
  listen: 127.0.0.1:$admin
CONFIG
    say "recording a start with $1"
    # What Kubernetes and Prometheus ask of an idle sidecar.
    (
        for path in livez readyz metrics livez; do
            sleep 8
            curl --silent --show-error --max-time 8 --output /dev/null "http://127.0.0.1:$admin/$path"
        done
    ) &
    local status=0
    timeout -s TERM 40 valgrind --quiet --demangle=no --tool=callgrind --callgrind-out-file="$work/$1.calls" \
        "$CARGO_TARGET_DIR/sidecar/weighbridge-collector" run --config "$work/$1.yaml" || status=$?
    # timeout's own status: the sidecar ran until it was ended.
    [ "$status" = 124 ] && wait "$!" || fail "the sidecar ended by itself with $status, or did not answer on port $admin"
}
record otlp "otlp: {profile: litellm, signal: traces, grpc_listen: '127.0.0.1:0', http_listen: '127.0.0.1:0'}"
record webhook "webhook: {profile: litellm, listen: '127.0.0.1:0'}"
record prometheus "prometheus: {profile: vllm, interval_s: 5, timeout_s: 5, targets: [{url: 'http://127.0.0.1:9/metrics'}]}"
record access-log "access_log: {profile: nginx, file: $work/log, start_at: beginning}"
record tap "tap: {profile: ollama, listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:9'}"

# Names of what ran; callgrind writes 'N behind the name of a function that calls itself.
sed -n -E "s/^c?fn=\([0-9]+\) ([^']+)('[0-9]+)?$/\1/p" "$work"/*.calls | LC_ALL=C sort -u >"$work/ran"
{
    cat <<'HEAD'
/* Functions of a start and of an idle sidecar, placed before all others; made by scripts/order-code.sh, which says why.
   Hashes and numbers that differ between builds are left open. The C library is placed by its files. */
SECTIONS
{
  .text.start :
  {
HEAD
    # rustc's own mangling ends in a hash; the standard library's (v0) names crates with a hash and may end in a number.
    sed -n -E -e 's/^(_ZN.*17h)[0-9a-f]{16}E.*/    *(.text*.\1*)/p' \
        -e '/^_R/{s/\.[0-9]+$//; s/Cs[0-9A-Za-z]+_/Cs*_/g; s/.*/    *(.text*.&*)/p}' "$work/ran" | LC_ALL=C sort -u
    nm --print-file-name --defined-only "$(cc -print-file-name=libc.a)" 2>/dev/null |
        awk -v ran="$work/ran" 'BEGIN { while ((getline name < ran) > 0) wanted[name] = 1 }
            $3 in wanted && $2 ~ /[tTwWi]/ { split($1, part, ":"); print "    *libc.a:" part[2] "(.text .text.*)" }' | LC_ALL=C sort -u
    printf '  }\n}\nINSERT BEFORE .text;\n'
} >collector/start-first.ld
say "$(grep -c '(.text' collector/start-first.ld) places in collector/start-first.ld"
