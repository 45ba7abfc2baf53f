#!/usr/bin/env bash
# build-images.sh [NAME...]: builds the container images weighbridge/collector, aggregator and standalone with Podman, from the
# binaries that are built already, and prints their sizes. Without a network: the stage that compiles is left out, what it would leave
# is laid out by image-root.sh. Environment: TAG (default: the version), STORAGE, Podman's folder for images (default: its own).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tag=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)}
target=${CARGO_TARGET_DIR:-$root/target}
export CONTAINERS_CONF=$root/scripts/podman/containers.conf
podman=(podman)
[ -z "${STORAGE:-}" ] || podman+=(--root "$STORAGE" --runroot "$STORAGE-run")
[ $# -gt 0 ] || set -- collector aggregator standalone

for name in "$@"; do
    stage=$target/images/$name
    file=$root/deploy/images/$name.Containerfile
    "$root/scripts/image-root.sh" "$name" "$stage/image"
    # What it is made of, by size and time: half a gigabyte is not copied again for nothing.
    made_of=$( (cat "$file" && find "$stage/image" -printf '%P %m %s %T@ %l\n' | sort) | sha256sum)
    if [ "$made_of" != "$(cat "$stage/made-of" 2>/dev/null)" ] || ! "${podman[@]}" image exists "weighbridge/$name:$tag"; then
        mkdir -p "$target/images/empty"
        old=$("${podman[@]}" image inspect --format '{{.Id}}' "weighbridge/$name:$tag" 2>/dev/null || true)
        # `--layers=false`: one layer, and no copies between steps.
        "${podman[@]}" build --quiet --layers=false --isolation chroot --build-context "build=$stage" \
            --file "$file" --tag "weighbridge/$name:$tag" "$target/images/empty" >/dev/null
        printf '%s\n' "$made_of" >"$stage/made-of"
        new=$("${podman[@]}" image inspect --format '{{.Id}}' "weighbridge/$name:$tag")
        # What it replaces has no name any more; in use, it stays.
        [ -z "$old" ] || [ "$old" = "$new" ] || "${podman[@]}" image rm "$old" >/dev/null 2>&1 || true
    fi
    size=$("${podman[@]}" image inspect --format '{{.Size}}' "weighbridge/$name:$tag")
    say "weighbridge/$name:$tag $(numfmt --to=iec-i --suffix=B --format=%.1f "$size")"
done
