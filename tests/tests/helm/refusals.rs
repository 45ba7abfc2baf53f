//! What cannot work is refused when the chart is rendered, with the value to change.

use weighbridge_tests::helm::{Helm, objects};

/// The least that renders.
const LEAST: &str = "kafka: {bootstrapServers: 'k:9092'}
clickhouse: {url: 'http://c:8123'}
ingest: {door: {mode: open}}
";

/// Values over the least ones, and what the refusal must say.
const REFUSED: &[(&str, &str)] = &[
    ("kafka: {bootstrapServers: ''}", "kafka.bootstrapServers: is needed"),
    ("kafka: {bootstrapServers: kafka}", "kafka.bootstrapServers: must be host:port"),
    ("clickhouse: {url: ''}", "clickhouse.url: is needed"),
    ("clickhouse: {url: 'clickhouse:8123'}", "clickhouse.url: must begin with"),
    ("clickhouse: {url: 'http://user:word@c:8123'}", "clickhouse.url: must hold no user"),
    ("clickhouse: {tls: {caSecret: a}}", "clickhouse.tls.caSecret: needs an https: URL"),
    ("kafka: {tls: {caSecret: a}}", "kafka.tls.enabled: must be true"),
    ("kafka: {auth: {mechanism: PLAIN}}", "kafka.auth.existingSecret: is needed"),
    ("kafka: {auth: {existingSecret: a}}", "kafka.auth.mechanism: is needed"),
    (
        "existingConfigMap: a\nconfig: {load: {flush_ms: 1}}",
        "config: is not used together with existingConfigMap",
    ),
    (
        "kafka: {auth: {mechanism: PLAIN, existingSecret: a, password: b}}",
        "kafka.auth.existingSecret: is set together",
    ),
    (
        "clickhouse: {auth: {existingSecret: a, password: b}}",
        "clickhouse.auth.existingSecret: is set together",
    ),
    ("clickhouse: {auth: {password: b}}", "clickhouse.auth.username: is needed"),
    ("migrate: {auth: {existingSecret: a, password: b}}", "migrate.auth.existingSecret: is set together"),
    ("config: {clickhouse: {password: a}}", "config.clickhouse.password: would be in a ConfigMap"),
    (
        "config: {kafka: {properties: {sasl.password: a}}}",
        "or a variable WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_PASSWORD in extraEnv",
    ),
    ("config: {kafka: {properties: {ssl.key.pem: a}}}", "config.kafka.properties.ssl.key.pem: would be"),
    ("config: {ingest: {door: {mode: loopback}}}", "config.ingest.door.mode: differs"),
    ("ingest: {door: {mode: registered}}", "ingest.door.existingSecret: is needed with mode registered"),
    (
        "ingest: {door: {mode: registered, existingSecret: a}}",
        "ingest.tls.mode: must be certManager or existingSecret",
    ),
    ("ingest: {door: {existingSecret: a, contributors: b}}", "ingest.door.existingSecret: is set together"),
    ("ingest: {tls: {mode: existingSecret}}", "ingest.tls.existingSecret: is needed"),
    ("ingest: {tls: {existingSecret: a}}", "ingest.tls.mode: must be existingSecret"),
    ("ingest: {tls: {mode: certManager}}", "ingest.tls.certManager.issuerRef.name: is needed"),
    ("ingest: {tls: {clientCASecret: a}}", "ingest.tls.clientCASecret: needs ingest.tls.mode"),
    ("load: {autoscaling: {enabled: true}, keda: {enabled: true}}", "load.keda.enabled: cannot be together"),
    ("load: {replicaCount: 13}", "load.replicaCount: 13 loads cannot share 12 partitions"),
    ("load: {keda: {enabled: true, maxReplicas: 13}}", "load.keda.maxReplicas: 13 loads"),
    ("load: {autoscaling: {enabled: true, maxReplicas: 13}}", "load.autoscaling.maxReplicas: 13 loads"),
    ("config: {kafka: {partitions: 1}}", "load.replicaCount: 2 loads cannot share 1 partitions"),
    ("load: {keda: {enabled: true, minReplicas: 9}}", "load.keda.minReplicas: is over"),
    ("ingest: {autoscaling: {enabled: true, minReplicas: 11}}", "ingest.autoscaling.minReplicas: is over"),
    ("load: {terminationGracePeriodSeconds: 20}", "load.terminationGracePeriodSeconds: must be over"),
    ("config: {ingest: {drain_ms: 31000}}", "ingest.terminationGracePeriodSeconds: must be over"),
    ("sidecar: {enabled: true}", "sidecar.config.source: is needed"),
    (
        "ingest: {enabled: false}\nsidecar: {enabled: true, config: {source: {otlp: {}}}}",
        "sidecar.endpoint: is needed",
    ),
    (
        "sidecar: {enabled: true, config: {source: {otlp: {}}, spool: {max_bytes: 67108865}}}",
        "sidecar.dataSizeLimit: must be raised with sidecar.config.spool.max_bytes",
    ),
    (
        "sidecar: {enabled: true, token: a, clientCertificateSecret: b, config: {source: {otlp: {}}}}",
        "sidecar.clientCertificateSecret: is set together with a token",
    ),
];

/// A word that is no value, or a value that cannot be one; what the schema must name.
const NOT_IN_THE_SCHEMA: &[(&str, &str)] = &[
    ("inges: {}", "inges"),
    ("ingest: {replicas: 2}", "replicas"),
    ("ingest: {door: {mod: open}}", "mod"),
    ("ingest: {door: {mode: loopback}}", "mode"),
    ("load: {keda: {maxReplicaCount: 2}}", "maxReplicaCount"),
    ("load: {replicaCount: two}", "replicaCount"),
    ("kafka: {auth: {mechanism: GSSAPI}}", "mechanism"),
    ("kafka: {bootstrap_servers: 'k:9092'}", "bootstrap_servers"),
    ("config: {lode: {}}", "lode"),
    ("config: {kafka: {properties: {statistics.interval.ms: 0}}}", "statistics.interval.ms"),
    ("image: {digest: latest}", "digest"),
    ("sidecar: {native: perhaps}", "native"),
    ("ingest: {resources: {limit: {}}}", "limit"),
    ("ingest: {service: {type: ExternalName}}", "type"),
    ("extraObjects: {}", "extraObjects"),
    ("networkPolicy: {kafkaPorts: [99999]}", "kafkaPorts"),
];

fn refusal(values: &str) -> String {
    let mut base = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut base, LEAST.as_bytes()).unwrap();
    let mut over = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut over, values.as_bytes()).unwrap();
    let chart = weighbridge_tests::helm::chart();
    match Helm::V4.template(&chart, &[base.path(), over.path()], "1.36.0") {
        Ok(_) => panic!("is not refused: {values}"),
        Err(said) => said,
    }
}

#[test]
fn every_mistake_is_refused_with_the_value_to_change() {
    assert!(!objects(&Helm::V4.template_text(LEAST, "1.36.0").unwrap()).is_empty());
    for (values, expected) in REFUSED {
        let said = refusal(values);
        assert!(said.contains(expected), "{values}: {said}");
    }
    let said = refusal("kafka: {bootstrapServers: ''}\nclickhouse: {url: ''}\nload: {replicaCount: 13}");
    for part in ["kafka.bootstrapServers", "clickhouse.url", "load.replicaCount"] {
        assert!(said.contains(part), "all mistakes at once: {said}");
    }
}

/// A message without a case here is not known to appear.
#[test]
fn every_refusal_of_the_templates_has_a_case() {
    let templates = weighbridge_tests::helm::chart().join("templates/_validations.tpl");
    let text = std::fs::read_to_string(templates).unwrap();
    let messages = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(": ")?;
        let is_message = !name.contains(' ') || name.starts_with("{{ $");
        (is_message && !name.starts_with("{{-") && !rest.is_empty()).then_some((name, rest))
    });
    let mut count = 0;
    for (name, rest) in messages {
        count += 1;
        let words: String =
            rest.split(['{', '`', ',', ';']).next().unwrap().trim().chars().take(24).collect();
        let covered = REFUSED.iter().any(|(_, expected)| {
            expected.contains(words.as_str()) || words.contains(expected.split(": ").nth(1).unwrap_or("-"))
        });
        let counted = rest.contains("loads cannot share");
        assert!(covered || counted, "no case for: {name}: {rest}");
    }
    assert!(count >= 28, "{count} messages");
}

#[test]
fn the_schema_refuses_what_is_no_value() {
    for (values, part) in NOT_IN_THE_SCHEMA {
        let said = refusal(values);
        assert!(said.contains("schema") && said.contains(part), "{values}: {said}");
    }
}
