//! The ClickHouse of the examples and of the Compose file: what `deploy/clickhouse` says, and on a real server its users can do their
//! work and no more.

use std::path::Path;

use serde_json::{Value, json};
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::load::rollup;
use weighbridge_aggregator::store::Store;
use weighbridge_aggregator::{migrate, register};
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kubernetes::documents;
use weighbridge_tests::processes::http_client;

use super::samples::read;

const PASSWORD: &str = "from-a-secret";
const NOT_ENOUGH_PRIVILEGES: &str = "497";

/// The text of `<tag>`, without comments, passwords and white space.
fn section(xml: &str, tag: &str) -> String {
    let inside = xml.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no <{tag}>")).1;
    let name = tag.split(' ').next().unwrap();
    let inside = inside.split_once(&format!("</{name}>")).unwrap().0;
    let mut text = String::new();
    let mut rest = inside;
    while let Some((before, comment)) = rest.split_once("<!--") {
        text.push_str(before);
        rest = comment.split_once("-->").unwrap().1;
    }
    text.push_str(rest);
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("<password_sha256_hex>"));
    lines.collect()
}

fn altinity() -> Value {
    documents(&read("examples/clickhouse-altinity.yaml"))[0]["spec"]["configuration"].clone()
}

fn official() -> Value {
    let objects = documents(&read("examples/clickhouse-official.yaml"));
    objects.iter().find(|object| object["kind"] == "ClickHouseCluster").unwrap()["spec"].clone()
}

fn grants(xml: &str, user: &str) -> Vec<String> {
    let text = section(xml.split_once("<users>").unwrap().1, user);
    text.split("<query>").skip(1).map(|rest| rest.split_once("</query>").unwrap().0.to_owned()).collect()
}

#[test]
fn examples_say_what_the_files_for_clickhouse_say() {
    let (users, server) = (read("clickhouse/users.xml"), read("clickhouse/server.xml"));
    let files = &altinity()["files"];
    let text = |file: &str| files[file].as_str().unwrap();
    assert_eq!(section(text("config.d/weighbridge.xml"), "clickhouse"), section(&server, "clickhouse"));
    let in_example = text("users.d/weighbridge.xml");
    for tag in ["profiles", "quotas"] {
        assert_eq!(section(in_example, tag), section(&users, tag), "{tag}");
    }
    let settings = &official()["settings"];
    for user in ["weighbridge_load", "weighbridge_dashboards"] {
        let expected = grants(&users, user);
        assert!(expected.len() > 20, "{user}");
        assert_eq!(grants(in_example, user), expected, "{user}");
        assert_eq!(
            settings["extraUsersConfig"]["users"][user]["grants"]["query"],
            expected.into_iter().collect::<Value>()
        );
    }
    let compose = read("compose/clickhouse-users.xml");
    assert_eq!(grants(&compose, "weighbridge_migrator"), grants(in_example, "weighbridge_migrator"));
    let removed = server.split('<').filter_map(|tag| tag.strip_suffix(" remove=\"1\"/>\n  "));
    let mut logs = 0;
    for log in removed {
        assert_eq!(settings["extraConfig"][log]["@remove"], "1", "{log}");
        logs += 1;
    }
    assert!(logs > 15, "{logs}");
    for log in ["query_log", "part_log"] {
        let ttl = section(&server, &format!("{log} replace=\"1\"")).replace(' ', "");
        let example = settings["extraConfig"][log]["ttl"].as_str().unwrap().replace(' ', "");
        assert!(ttl.contains(&format!("<ttl>{example}</ttl>")), "{ttl} {example}");
    }
}

/// A secret's value stands in no file: everything refers to it.
#[test]
fn examples_refer_to_secrets() {
    for file in [
        "examples/clickhouse-altinity.yaml",
        "examples/clickhouse-official.yaml",
        "examples/kafka-strimzi.yaml",
    ] {
        for line in read(file).lines().filter(|line| !line.trim_start().starts_with('#')) {
            let tells = line.contains("password")
                && !["valueFrom", "@from_env", "passwordType", "secretKeyRef"]
                    .iter()
                    .any(|reference| line.contains(reference));
            assert!(!tells, "{file}: {line}");
        }
    }
}

/// What Altinity's operator makes of `users`: a path of names becomes elements.
fn generated_users(configuration: &Value) -> String {
    let mut users = json!({});
    for (path, value) in configuration["users"].as_object().unwrap() {
        let mut at = &mut users;
        for part in path.split('/') {
            at = &mut at[part];
        }
        *at = value.clone();
        if value.is_object() {
            assert_eq!(value["valueFrom"]["secretKeyRef"]["name"], "weighbridge-clickhouse");
            *at = PASSWORD.into();
        }
    }
    xml(&json!({"users": users}))
}

/// YAML for ClickHouse as XML, which the embedded server reads: `@` names an attribute, a list is the element several times. A
/// password from the environment is what the environment would give.
fn xml(value: &Value) -> String {
    format!("<clickhouse>{}</clickhouse>\n", elements(value))
}

fn elements(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.contains_key("@from_env") => PASSWORD.to_owned(),
        Value::Object(fields) => {
            let is_element = |(name, _): &(&String, &Value)| !name.starts_with('@');
            fields.iter().filter(is_element).map(|(name, field)| element(name, field)).collect()
        }
        Value::String(text) => text.replace('<', "&lt;"),
        other => other.to_string(),
    }
}

fn element(name: &str, value: &Value) -> String {
    if let Value::Array(values) = value {
        return values.iter().map(|value| element(name, value)).collect();
    }
    let attributes: String = ["replace", "remove"]
        .iter()
        .filter(|attribute| value.get(format!("@{attribute}")).is_some())
        .map(|attribute| format!(" {attribute}=\"1\""))
        .collect();
    format!("<{name}{attributes}>{}</{name}>\n", elements(value))
}

#[tokio::test]
async fn users_of_the_altinity_example_work() {
    let configuration = altinity();
    let file = |name: &str| configuration["files"][name].as_str().unwrap().to_owned();
    let users = [
        ("chop-generated-users.xml", generated_users(&configuration)),
        ("weighbridge.xml", file("users.d/weighbridge.xml")),
    ];
    work(&users, &file("config.d/weighbridge.xml")).await;
}

#[tokio::test]
async fn users_of_the_official_example_work() {
    let settings = official()["settings"].clone();
    work(&[("extra.xml", xml(&settings["extraUsersConfig"]))], &xml(&settings["extraConfig"])).await;
}

#[tokio::test]
async fn users_of_the_compose_file_work() {
    let from_env = "<password from_env=\"WEIGHBRIDGE_PASSWORD\"/>";
    let passwords =
        read("compose/clickhouse-users.xml").replace(from_env, &format!("<password>{PASSWORD}</password>"));
    assert!(!passwords.contains("from_env"));
    let users = [("weighbridge.xml", read("clickhouse/users.xml")), ("zz-weighbridge.xml", passwords)];
    work(&users, &read("clickhouse/server.xml")).await;
}

/// Migrates, rolls up and reads, each by its own user.
async fn work(users: &[(&str, String)], server: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("clickhouse");
    let write = |file: &Path, text: &str| {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    for (name, text) in users {
        write(&data.join("weighbridge-users.d").join(name), text);
    }
    write(&data.join("weighbridge-config.d").join("server.xml"), server);
    let clickhouse = ClickHouse::start(folder.path()).await;
    let store = |user: &str| {
        let config = config::ClickHouse {
            url: clickhouse.url(),
            user: user.to_owned(),
            password: config::Secret::new(PASSWORD),
            ..config::ClickHouse::default()
        };
        Store::new(&config).unwrap()
    };
    let migrator = store("weighbridge_migrator");
    migrate::up(&migrator, &register::read(None).unwrap()).await.unwrap();
    assert_eq!(migrate::check(&migrator).await.unwrap(), []);
    assert_eq!(rollup::rebuild(&store("weighbridge_load"), &Clock::default()).await.unwrap(), 0);
    let url = clickhouse.url();
    let ask = async |sql: &str| {
        let credentials =
            format!("{url}/?user=weighbridge_dashboards&password={PASSWORD}&max_execution_time=45");
        let answer = http_client().post(credentials).body(sql.to_owned()).send().await.unwrap();
        let code =
            answer.headers().get("X-ClickHouse-Exception-Code").map(|code| code.to_str().unwrap().to_owned());
        code.map_or(Ok(()), Err)
    };
    assert_eq!(ask("SELECT count() FROM weighbridge.traffic_split").await, Ok(()));
    assert_eq!(ask("SELECT count() FROM weighbridge.ledger").await, Err(NOT_ENOUGH_PRIVILEGES.to_owned()));
    // The server took the file: its own logs have an end.
    clickhouse.query("SYSTEM FLUSH LOGS").await;
    let log = clickhouse
        .query("SELECT engine_full FROM system.tables WHERE database = 'system' AND name = 'query_log'")
        .await;
    assert!(log.contains("TTL event_date + toIntervalDay(3)"), "{log}");
    clickhouse.stop().await;
}
