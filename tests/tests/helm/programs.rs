//! The programs can read what the chart renders: configurations by their own parsers, arguments by the real binary.

use std::process::Command;

use serde_json::Value;
use weighbridge_aggregator::config::{Config, DoorMode};
use weighbridge_tests::helm::{Helm, name_of, objects, part_of, values_file};
use weighbridge_tests::pod_security::{containers, pod_spec};
use weighbridge_tests::processes::release_binary;

use super::{RENDERED, newest};

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The aggregator's configuration as a container has it: the ConfigMap it mounts, and its variables with a stand-in for what is secret.
fn config_of(objects: &[Value], spec: &Value, container: &Value) -> Option<Config> {
    let map = array(&spec["volumes"]).iter().find(|volume| volume["name"] == "config")?["configMap"]["name"]
        .clone();
    let map =
        objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == map)?;
    let variables = array(&container["env"]).iter().map(|variable| {
        let value = variable["value"].as_str().unwrap_or("stand-in");
        (variable["name"].as_str().unwrap().to_owned(), value.to_owned())
    });
    let text = map["data"]["aggregator.yaml"].as_str().unwrap();
    Some(Config::parse(text, variables).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// All files that a configuration names.
fn files(config: &Config) -> Vec<(&'static str, String)> {
    let door = &config.ingest.door;
    let of = |whose, path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| (whose, path.to_str().unwrap().to_owned()))
    };
    let mut all: Vec<(&'static str, String)> = [
        of("load migrate test", &config.clickhouse.ca_file),
        of("ingest", &door.contributors_file),
        of("ingest", &door.pseudonym_key_file),
        of("ingest", &door.certificate_file),
        of("ingest", &door.key_file),
        of("ingest", &door.client_ca_file),
    ]
    .into_iter()
    .flatten()
    .collect();
    let locations = config.kafka.properties.iter().filter(|(name, _)| name.ends_with(".location"));
    all.extend(locations.map(|(_, path)| ("ingest load migrate", path.expose().to_owned())));
    all
}

#[test]
fn configurations_are_read_by_the_aggregator_and_their_files_are_mounted() {
    let mut read = 0;
    for one in RENDERED.iter() {
        for (object, spec) in one.objects.iter().filter_map(|object| Some((object, pod_spec(object)?))) {
            let component = object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap();
            for container in containers(spec).filter(|one| one["args"].to_string().contains("--config=")) {
                let whose = format!("{}: {} {}", one.name, name_of(object), container["name"]);
                let config = config_of(&one.objects, spec, container).unwrap_or_else(|| panic!("{whose}"));
                read += 1;
                for (who, file) in files(&config) {
                    let folder = file.rsplit_once('/').unwrap().0;
                    let is_mounted =
                        array(&container["volumeMounts"]).iter().any(|one| one["mountPath"] == folder);
                    assert_eq!(is_mounted, who.contains(component), "{whose}: {file}");
                }
                let has_port = array(&container["ports"]).iter().any(|port| port["name"] == "http-metrics");
                if has_port {
                    assert_eq!(config.admin.listen.to_string(), "0.0.0.0:4751", "{whose}");
                }
            }
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn values_reach_the_configuration() {
    let of = |name: &str, part: &str| {
        let objects = newest(name);
        let object = objects.iter().find(|object| part_of(object) == part).unwrap();
        let spec = pod_spec(object).unwrap();
        config_of(objects, spec, &spec["containers"][0]).unwrap()
    };
    let full = of("full", "Deployment/load");
    let property = |name: &str| full.kafka.properties[name].expose().to_owned();
    assert_eq!(property("security.protocol"), "SASL_SSL");
    assert_eq!(property("sasl.mechanism"), "SCRAM-SHA-512");
    assert_eq!(
        (property("sasl.username"), property("sasl.password")),
        ("stand-in".to_owned(), "stand-in".to_owned())
    );
    assert_eq!(property("ssl.ca.location"), "/etc/weighbridge/kafka-ca/authorities.pem");
    assert_eq!(property("statistics.interval.ms"), "0");
    assert_eq!((full.clickhouse.database.as_str(), full.clickhouse.query_timeout_s), ("split", 600));
    assert_eq!((full.clickhouse.user.as_str(), full.clickhouse.password.expose()), ("stand-in", "stand-in"));
    assert_eq!((full.load.flush_ms, full.load.drain_ms), (500, 40_000));
    assert_eq!(full.clickhouse.retention.minute_days, 60);
    let ingest = of("full", "Deployment/ingest");
    assert_eq!((ingest.ingest.door.mode, ingest.ingest.retry_after_ms), (DoorMode::Registered, 2000));
    assert!(ingest.clickhouse.password.expose().is_empty(), "ingest does not know ClickHouse's password");
    assert_eq!(of("minimal", "Deployment/ingest").kafka.properties.len(), 0);
    let mutual = of("cert-manager-mtls", "Deployment/ingest");
    assert_eq!(mutual.kafka.properties["security.protocol"].expose(), "SSL");
    assert_eq!(
        mutual.ingest.door.client_ca_file.unwrap().to_str(),
        Some("/etc/weighbridge/client-ca/ca.crt")
    );
    let plain = "kafka: {bootstrapServers: 'k:9092', auth: {mechanism: PLAIN, username: a, password: b}}\n\
                 clickhouse: {url: 'http://c:8123'}\ningest: {door: {mode: open}}\n";
    let objects = objects(&Helm::V4.template_text(plain, "1.36.0").unwrap());
    let text = objects.iter().find_map(|object| object["data"]["aggregator.yaml"].as_str()).unwrap();
    assert!(text.contains("security.protocol: SASL_PLAINTEXT"), "{text}");
}

/// The chart's defaults are the program's: what a value says is what happens without it.
#[test]
fn defaults_are_the_programs() {
    let values = std::fs::read_to_string(weighbridge_tests::helm::chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let program = Config::default();
    assert_eq!(values["kafka"]["topic"], program.kafka.topic.as_str());
    assert_eq!(values["kafka"]["partitions"], program.kafka.partitions);
    assert_eq!(values["kafka"]["replicationFactor"], program.kafka.replication_factor);
    assert_eq!(values["kafka"]["retentionHours"], program.kafka.retention_hours);
    assert_eq!(values["clickhouse"]["database"], program.clickhouse.database.as_str());
    // What the chart takes for the time of draining when the configuration does not say it.
    assert_eq!((program.ingest.drain_ms, program.load.drain_ms), (20_000, 20_000));
    assert_eq!(program.load.group_id, "weighbridge-load");
}

#[test]
fn collectors_configurations_are_read_by_the_collector() {
    let mut read = 0;
    for one in RENDERED.iter() {
        for text in one.objects.iter().filter_map(|object| object["data"]["collector.yaml"].as_str()) {
            let config = weighbridge_collector::config::Config::parse(text, |_| None);
            let config = config.unwrap_or_else(|error| panic!("{}: {error}", one.name));
            read += 1;
            assert_eq!(
                config.admin.listen.to_string(),
                "0.0.0.0:9464",
                "the kubelet asks at the pod's address"
            );
            assert_eq!(config.data_folder.to_str(), Some("/var/lib/weighbridge/data"));
            // The spool, the ledger and its predecessor, and what was set aside, twice 1,000 files: below the limit of the volume, over which the
            // kubelet evicts the gateway's pod.
            let files = config.spool.max_bytes + 2000 * weighbridge_collector::deliver::spool::BLOCK_BYTES;
            assert!(files + 2 * weighbridge_collector::deliver::ledger::MAX_BYTES < 128 * 1024 * 1024);
        }
    }
    assert!(read >= 30, "{read}");
    let text = |name: &str| {
        newest(name).iter().find_map(|object| object["data"]["collector.yaml"].as_str()).unwrap()
    };
    assert!(
        text("full").contains("endpoint: https://weighbridge-ingest.measuring.svc:4750"),
        "{}",
        text("full")
    );
    assert!(text("full").contains("token_file: /etc/weighbridge/credentials/token"));
    assert!(text("cert-manager-mtls").contains("client_certificate_file: /etc/weighbridge/client/tls.crt"));
}

/// Every container's arguments are known to the real program: with `--help` behind them it prints and ends.
#[test]
fn arguments_are_known_to_the_real_program() {
    let mut seen = std::collections::BTreeSet::new();
    for one in RENDERED.iter() {
        for spec in one.objects.iter().filter_map(pod_spec) {
            let own = containers(spec).filter(|one| one["args"].to_string().contains("--config="));
            seen.extend(own.map(|one| {
                array(&one["args"]).iter().map(|arg| arg.as_str().unwrap().to_owned()).collect::<Vec<_>>()
            }));
        }
    }
    assert!(seen.len() >= 6, "{seen:?}");
    for arguments in seen {
        let output =
            Command::new(release_binary("weighbridge-aggregator")).args(&arguments).arg("--help").output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
}

/// The notes tell the addresses and commands of this release, and warn. By Helm 4: Helm 3 shows them to a cluster only.
#[test]
fn notes_tell_what_to_do_next() {
    let mut command = Helm::V4.command();
    command.args(["install", "wb", "--namespace", "measuring", "--dry-run=client", "--values"]);
    let output = command.arg(values_file("minimal")).arg(weighbridge_tests::helm::chart()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let notes = text.split("NOTES:").nth(1).unwrap_or_else(|| panic!("no notes: {text}"));
    for part in [
        "helm test wb --namespace measuring",
        "http://wb-weighbridge-ingest.measuring.svc:4750",
        "deployment/wb-weighbridge-load",
        "WARNING: ingest.door.mode is open",
        "WARNING: load uses ClickHouse's default user",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}
