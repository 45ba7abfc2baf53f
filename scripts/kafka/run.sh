#!/usr/bin/env bash
# Runs one Kafka node in the foreground: scripts/kafka/run.sh [DATA [PORT [CONTROLLER_PORT [FURTHER]...]]]
# DATA is formatted when it is new and kept at the end. FURTHER is one of
#   NAME=PORT=ADVERTISED_PORT                            a further listener, whose clients are told another port
#   SCRAM-SHA-512=[name=NAME,password=PASSWORD]          a user to begin with
#   FILE                                                 further properties, which win
# Stop it with Ctrl-C or SIGTERM.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

data=${1:-$root/weighbridge-data/kafka}
port=${2:-9092}
controller_port=${3:-9093}
libs=$tools/kafka/libs
[ -d "$libs" ] || fail "Kafka is not installed; run: make setup"

mkdir -p "$data"
data=$(cd "$data" && pwd)
properties=$data/server.properties
sed -e "s|@DATA@|$data/log|" -e "s|@PORT@|$port|" -e "s|@CONTROLLER_PORT@|$controller_port|" \
    "$root/scripts/kafka/server.properties" >"$properties"
scram=
for further in "${@:4}"; do
    case $further in
        SCRAM-*) scram=$further ;;
        *=*=*)
            IFS== read -r name listen advertised <<<"$further"
            sed -i -e "s|^listeners=.*|&,$name://127.0.0.1:$listen|" \
                -e "s|^advertised.listeners=.*|&,$name://127.0.0.1:$advertised|" \
                -e "s|^listener.security.protocol.map=.*|&,$name:PLAINTEXT|" "$properties"
            ;;
        *) cat "$further" >>"$properties" ;;
    esac
done
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
