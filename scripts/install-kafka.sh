#!/usr/bin/env bash
# Installs the Apache Kafka broker (43 MB of jars) with Maven, from scripts/kafka/pom.xml.
# `scripts/kafka/run.sh` starts it; the tests start it by themselves.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

pom=$root/scripts/kafka/pom.xml
folder=$tools/kafka
need java openjdk-17-jre-headless
need mvn maven
wanted=$(sha256sum "$pom" | cut -d' ' -f1)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$pom")
if installed "$folder" "$wanted" libs; then
    say "Kafka $version is in .tools/kafka"
    exit
fi
say "installing Kafka $version into .tools/kafka"
mkdir -p "$folder"
rm -rf "$folder/.installed" "$folder/libs"
mvn --quiet --batch-mode -Dstyle.color=never --file "$pom" dependency:copy-dependencies -DoutputDirectory="$folder/libs"
stamp "$folder" "$wanted"
