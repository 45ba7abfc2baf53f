//! What is read, refused and overridden.

use super::*;

fn variable(name: &str, value: &str) -> [(String, String); 1] {
    [(name.to_owned(), value.to_owned())]
}

#[test]
fn defaults_and_overrides() {
    let config = Config::parse("", []).unwrap();
    assert_eq!(config, Config::default());
    let config = Config::parse("load: {flush_rows: 7}", variable("WEIGHBRIDGE_LOAD_FLUSH_MS", "20")).unwrap();
    assert_eq!((config.load.flush_rows, config.load.flush_ms), (7, 20));
    let config = Config::parse("", variable("WEIGHBRIDGE_CLICKHOUSE_PASSWORD", "0123")).unwrap();
    assert_eq!(config.clickhouse.password.expose(), "0123");
    assert!(!format!("{config:?}").contains("0123"));
    let config = Config::parse("", variable("WEIGHBRIDGE_INGEST_DOOR_MODE", "open")).unwrap();
    assert_eq!(config.ingest.door.mode, DoorMode::Open);
    let variable = variable("WEIGHBRIDGE_INGEST_DOOR_QUOTA_REPORTS_PER_MINUTE", "7");
    let config = Config::parse("ingest: {door: {mode: open}}", variable).unwrap();
    assert_eq!((config.ingest.door.mode, config.ingest.door.quota.reports_per_minute), (DoorMode::Open, 7));
}

#[test]
fn variables_name_properties_of_kafka() {
    let secret = variable("WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_PASSWORD", "0123");
    let config = Config::parse("kafka: {properties: {sasl.mechanism: PLAIN}}", secret).unwrap();
    let names: Vec<&String> = config.kafka.properties.keys().collect();
    assert_eq!(names, ["sasl.mechanism", "sasl.password"]);
    assert_eq!(config.kafka.properties["sasl.password"].expose(), "0123");
    assert!(!format!("{config:?}").contains("0123"));
    let own = variable("WEIGHBRIDGE_KAFKA_PROPERTIES_ENABLE_IDEMPOTENCE", "false");
    assert!(Config::parse("", own).unwrap_err().to_string().contains("enable.idempotence"));
    let nothing = variable("WEIGHBRIDGE_KAFKA_PROPERTIES_", "x");
    assert_eq!(Config::parse("", nothing).unwrap_err().code(), "config_unknown_variable");
}

#[test]
fn what_is_refused() {
    for (text, part) in [
        ("lode: {}", "lode"),
        ("load: {flush_row: 1}", "flush_row"),
        ("load: {flush_rows: many}", "flush_rows"),
        ("clickhouse: {database: 'a b'}", "clickhouse.database"),
        ("ingest: {accept_past_days: 35}", "ingest.accept_past_days"),
        ("clickhouse: {ca_file: a}", "clickhouse.ca_file"),
        ("clickhouse: {retention: {hour_days: 34}}", "clickhouse.retention.hour_days"),
        ("ingest: {max_connection_age_s: 0}", "ingest.max_connection_age_s"),
        ("ingest: {door: {mode: registered}}", "ingest.door.contributors_file"),
        ("ingest: {door: {mode: registered, contributors_file: a}}", "ingest.door.pseudonym_key_file"),
        ("ingest: {door: {mode: closed}}", "closed"),
        ("ingest: {door: {certificate_file: a}}", "ingest.door.key_file"),
        ("ingest: {door: {client_ca_file: a}}", "ingest.door.certificate_file"),
        ("ingest: {door: {quota: {bytes_per_minute: 1000}}}", "ingest.door.quota.bytes_per_minute"),
        ("kafka: {properties: {acks: '1'}}", "acks"),
    ] {
        let error = Config::parse(text, []).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let error = Config::parse("", variable("WEIGHBRIDGE_LOAD_FLUSH_ROW", "1")).unwrap_err();
    assert_eq!(error.code(), "config_unknown_variable");
    let other = variable("WEIGHBRIDGE_LIBCHDB", "/somewhere");
    assert!(Config::parse("", other).is_ok(), "variables of other programs are left alone");
}

#[test]
fn sample_is_the_defaults() {
    let sample = include_str!("../../../deploy/config/aggregator.yaml");
    let config = Config::parse(sample, []).unwrap();
    let expected = Config {
        kafka: Kafka { bootstrap_servers: "kafka:9092".to_owned(), ..Kafka::default() },
        clickhouse: ClickHouse {
            url: "http://clickhouse:8123".to_owned(),
            user: "weighbridge".to_owned(),
            ..ClickHouse::default()
        },
        ingest: Ingest {
            door: Door {
                mode: DoorMode::Registered,
                contributors_file: Some("/etc/weighbridge/contributors.json".into()),
                pseudonym_key_file: Some("/etc/weighbridge/pseudonym.key".into()),
                certificate_file: Some("/etc/weighbridge/tls/tls.crt".into()),
                key_file: Some("/etc/weighbridge/tls/tls.key".into()),
                ..Door::default()
            },
            ..Ingest::default()
        },
        ..Config::default()
    };
    assert_eq!(config, expected);
}
