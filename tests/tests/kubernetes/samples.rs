//! What can be said of the files without a server: configurations parse, the container is the same in every way of having it, and the
//! examples say what the rest of `deploy/` says.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use weighbridge_aggregator::{config, kafka};
use weighbridge_collector::config::Config;
use weighbridge_collector::deliver::ledger;
use weighbridge_collector::deliver::spool::BLOCK_BYTES;
use weighbridge_tests::kubernetes::{documents, kustomize};
use weighbridge_tests::processes::root;

/// Name of the sidecar's container.
pub const COLLECTOR: &str = "weighbridge-collector";

pub fn deploy(relative: &str) -> PathBuf {
    root().join("deploy").join(relative)
}

pub fn read(relative: &str) -> String {
    let path = deploy(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder `mine` beside a copy of the component, outside the checkout.
pub fn beside_the_component() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (component, mine) = (folder.path().join("sidecar"), folder.path().join("mine"));
    for made in [&component, &mine] {
        std::fs::create_dir(made).unwrap();
    }
    for entry in std::fs::read_dir(deploy("kustomize/sidecar")).unwrap().flatten() {
        std::fs::copy(entry.path(), component.join(entry.file_name())).unwrap();
    }
    (folder, mine)
}

/// Of a file in `deploy/`: the pod spec of its workload and the volumes and containers in it.
fn pod_spec(relative: &str, pointer: &str) -> Value {
    let found =
        documents(&read(relative)).into_iter().find_map(|document| document.pointer(pointer).cloned());
    found.unwrap_or_else(|| panic!("{relative} has no {pointer}"))
}

fn container<'a>(spec: &'a Value, list: &str) -> &'a Value {
    let mut all = spec[list].as_array().into_iter().flatten();
    all.find(|container| container["name"] == COLLECTOR).unwrap_or_else(|| panic!("no collector in {list}"))
}

#[test]
fn the_container_is_the_same_in_every_file() {
    let sidecar = pod_spec("sidecar/sidecar.yaml", "/spec/template/spec");
    let expected = container(&sidecar, "initContainers");
    for (file, pointer) in [
        ("kustomize/sidecar/workload.yaml", "/spec/template/spec"),
        ("kustomize/sidecar/cronjob.yaml", "/spec/jobTemplate/spec/template/spec"),
    ] {
        let spec = pod_spec(file, pointer);
        let mut patched = container(&spec, "initContainers").clone();
        // The component's `images` writes the release.
        let image = expected["image"].as_str().unwrap();
        assert_eq!(patched["image"], image.split(':').next().unwrap());
        patched["image"] = image.into();
        assert_eq!(&patched, expected, "{file}");
        assert_eq!(spec["volumes"], sidecar["volumes"], "{file}");
    }
    let component = &documents(&read("kustomize/sidecar/kustomization.yaml"))[0];
    let release = format!("{}:{}", component["images"][0]["name"], component["images"][0]["newTag"]);
    assert_eq!(release.replace('"', ""), expected["image"]);

    let before = pod_spec("sidecar/sidecar-before-1.29.yaml", "/spec/template/spec");
    let mut plain = expected.clone();
    for native_only in ["restartPolicy", "startupProbe"] {
        assert!(plain.as_object_mut().unwrap().remove(native_only).is_some());
    }
    assert_eq!(container(&before, "containers"), &plain);
    assert_eq!(before["volumes"], sidecar["volumes"]);
    assert_eq!(sidecar["volumes"][1]["emptyDir"]["sizeLimit"], "128Mi");
    assert!(before.get("initContainers").is_none());
}

/// What an operator relies on: the gateway never waits for the collector, and the collector may nothing.
#[test]
fn the_container_gates_nothing_and_may_nothing() {
    let sidecar = pod_spec("sidecar/sidecar.yaml", "/spec/template/spec");
    assert_eq!(sidecar["initContainers"][0]["name"], COLLECTOR);
    let collector = container(&sidecar, "initContainers");
    assert_eq!(collector["restartPolicy"], "Always");
    assert!(collector.get("readinessProbe").is_none());
    assert_eq!(collector["startupProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(collector["resources"]["requests"], json!({"cpu": "10m", "memory": "16Mi"}));
    assert_eq!(collector["resources"]["limits"], json!({"memory": "64Mi"}));
    assert_eq!(
        collector["lifecycle"]["preStop"]["exec"]["command"],
        json!(["/weighbridge-collector", "drain"])
    );
    let expected = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(collector["securityContext"], expected);
    assert!(collector.get("env").is_none(), "identity is in the configuration, secrets are in a file");
}

/// `sizeLimit` of the volume.
const VOLUME_BYTES: u64 = 128 * 1024 * 1024;
/// Files that were found damaged and set aside.
const SET_ASIDE: u64 = 2_000;

/// Texts of collector configurations and where they come from.
fn collector_configurations() -> Vec<(String, String)> {
    let mut found = vec![("compose/collector.yaml".to_owned(), read("compose/collector.yaml"))];
    let built = kustomize(&deploy("kustomize/example")).unwrap();
    for (name, text) in [("sidecar/sidecar.yaml", read("sidecar/sidecar.yaml")), ("kustomize/example", built)]
    {
        for object in documents(&text).iter().filter(|object| object["kind"] == "ConfigMap") {
            found.push((name.to_owned(), object["data"]["collector.yaml"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(found.len(), 3, "{found:?}");
    found
}

#[test]
fn collector_configurations_parse_and_fit_the_mounts() {
    for (name, text) in collector_configurations() {
        let config = Config::parse(&text, |_| None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(config.data_folder.starts_with("/var/lib/weighbridge/"), "{name}");
        assert!(config.admin.listen.ip().is_unspecified(), "{name}: probes come to the pod's address");
        if name != "compose/collector.yaml" {
            let token = config.uplink.token_file.unwrap();
            assert_eq!(token.to_str(), Some("/etc/weighbridge/credentials/token"), "{name}");
            // Over the limit of the volume the kubelet evicts the pod, and the gateway with it.
            let files = config.spool.max_bytes + SET_ASIDE * BLOCK_BYTES;
            assert!(files + 2 * ledger::MAX_BYTES < VOLUME_BYTES, "{name}: {files}");
        }
    }
}

#[test]
fn the_kafka_example_has_the_topics_of_the_program() {
    let objects = documents(&read("examples/kafka-strimzi.yaml"));
    let topic = config::Kafka::default().topic;
    let of_kind =
        |kind: &str| -> Vec<&Value> { objects.iter().filter(|object| object["kind"] == kind).collect() };
    let topics: Vec<&str> =
        of_kind("KafkaTopic").iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(topics, [topic.clone(), kafka::dead_letter_topic(&topic), kafka::done_topic(&topic)]);
    let reports = &of_kind("KafkaTopic")[0]["spec"];
    assert_eq!(reports["partitions"], config::Kafka::default().partitions);
    assert_eq!(reports["replicas"], config::Kafka::default().replication_factor);
    let hours = reports["config"]["retention.ms"].as_u64().unwrap() / 3_600_000;
    assert_eq!(hours, config::Kafka::default().retention_hours);
    let users = of_kind("KafkaUser");
    let load = users.iter().find(|user| user["metadata"]["name"] == "weighbridge-load").unwrap();
    let groups: Vec<&Value> = load["spec"]["authorization"]["acls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|acl| &acl["resource"])
        .filter(|resource| resource["type"] == "group")
        .collect();
    assert_eq!(groups[0]["name"], config::Load::default().group_id);
    for user in users {
        assert_eq!(user["spec"]["authentication"], json!({"type": "scram-sha-512"}));
    }
}
