#!/usr/bin/env bash
# Runs one Kafka node in the foreground: scripts/kafka/run.sh [DATA [PORT [CONTROLLER_PORT [PROPERTIES [SCRAM]]]]]
# PROPERTIES is a file of further properties, which win; SCRAM is a user to begin with: SCRAM-SHA-512=[name=NAME,password=PASSWORD].
# DATA is formatted when it is new and kept at the end. Stop it with Ctrl-C or SIGTERM.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

data=${1:-$root/weighbridge-data/kafka}
port=${2:-9092}
controller_port=${3:-9093}
further=${4:-}
scram=${5:-}
libs=$tools/kafka/libs
[ -d "$libs" ] || fail "Kafka is not installed; run: make setup"

mkdir -p "$data"
data=$(cd "$data" && pwd)
properties=$data/server.properties
sed -e "s|@DATA@|$data/log|" -e "s|@PORT@|$port|" -e "s|@CONTROLLER_PORT@|$controller_port|" \
    "$root/scripts/kafka/server.properties" >"$properties"
if [ -n "$further" ]; then
    cat "$further" >>"$properties"
fi
java=(java -Xms64m -Xmx512m -XX:+UseSerialGC
    "-Dlog4j2.configurationFile=$root/scripts/kafka/log4j2.properties" -cp "$libs/*")
if [ ! -e "$data/log/meta.properties" ]; then
    # 16 random bytes in URL-safe base64, which may not begin with a hyphen. StorageTool makes one too, in a second.
    cluster=K$(head -c 64 /dev/urandom | base64 --wrap=0 | tr -d '+/=' | cut -c1-20)A
    "${java[@]}" kafka.tools.StorageTool format --cluster-id "$cluster" --config "$properties" \
        ${scram:+--add-scram "$scram"}
fi
say "Kafka on 127.0.0.1:$port, data in $data"
exec "${java[@]}" kafka.Kafka "$properties"
