#!/usr/bin/env bash
# image-root.sh NAME FOLDER: lays out in FOLDER what the image NAME (collector, aggregator, standalone) holds, from the binaries that
# are built: `root`, the file system: the binary, exactly the shared libraries that it loads, certificates of public authorities,
# and where names are looked up; and `data`, the empty folder of its user. No shell, no package manager, nothing with special rights.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name=${1:?name of the image}
folder=${2:?folder to lay it out in}
target=${CARGO_TARGET_DIR:-$root/target}
libraries=()
case $name in
collector) binary=$target/sidecar/weighbridge-collector ;;
aggregator) binary=$target/release/weighbridge-aggregator ;;
standalone)
    binary=$target/release/weighbridge
    libraries=("$tools/clickhouse/libchdb.so")
    ;;
*) fail "no image is called $name; write collector, aggregator or standalone" ;;
esac
[ -x "$binary" ] || fail "$binary is not there; build it with: make build"
authorities=/etc/ssl/certs/ca-certificates.crt
[ -f "$authorities" ] || fail "$authorities is missing; install it with: sudo apt-get install ca-certificates"

rm -rf "$folder"
mkdir -p "$folder/root/etc/ssl/certs" "$folder/root/usr/lib/ssl" "$folder/data"
# Linked, not copied, where the file system allows: the library of ClickHouse is half a gigabyte.
place() { ln "$1" "$2" 2>/dev/null || cp "$1" "$2"; }
place "$binary" "$folder/root/$(basename "$binary")"
for library in "${libraries[@]}"; do
    mkdir -p "$folder/root/usr/lib/weighbridge"
    place "$library" "$folder/root/usr/lib/weighbridge/$(basename "$library")"
done
# A static binary loads none, and ldd says so with or without an error.
for file in "$binary" "${libraries[@]}"; do
    { ldd "$file" || true; } 2>/dev/null | sed -n 's/^\t\(.* => \)\?\(\/[^ ]*\) (0x.*/\2/p'
done | sort -u | while read -r library; do
    install -D -p -m 755 "$library" "$folder/root$library"
done
install -p -m 644 "$authorities" "$folder/root$authorities"
# Where OpenSSL looks by default.
ln -s "$authorities" "$folder/root/usr/lib/ssl/cert.pem"
printf 'hosts: files dns\n' >"$folder/root/etc/nsswitch.conf"
# The time of what is made here says nothing.
find "$folder" \( -type d -o -type l -o -name nsswitch.conf \) -exec touch -h -d @0 {} +
