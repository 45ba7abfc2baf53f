//! The Compose file loads by the library that Docker Compose uses, what it mounts is there, and what it configures is right.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weighbridge_aggregator::config::Config;
use weighbridge_tests::processes::{root, tool};

use super::samples::{deploy, read};

/// As `docker compose config` gives it.
fn loaded(text: Option<&str>) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = text.map_or_else(
        || deploy("compose/compose.yaml"),
        |text| {
            let file = folder.path().join("compose.yaml");
            std::fs::write(&file, text).unwrap();
            file
        },
    );
    let output = Command::new(tool("compose/compose-config")).env_clear().arg(file).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn it_loads_and_a_misspelling_would_not() {
    let project = loaded(None).unwrap();
    assert!(project["services"].as_object().unwrap().len() >= 9);
    let text = read("compose/compose.yaml");
    let misspelled = text.replace("restart: on-failure", "restartt: on-failure");
    assert_ne!(misspelled, text);
    assert!(loaded(Some(&misspelled)).unwrap_err().contains("restartt"));
}

#[test]
fn every_mounted_file_exists_and_ports_are_local() {
    let project = loaded(None).unwrap();
    let mut mounted = 0;
    for (name, service) in project["services"].as_object().unwrap() {
        for volume in
            service["volumes"].as_array().into_iter().flatten().filter(|volume| volume["type"] == "bind")
        {
            let source = Path::new(volume["source"].as_str().unwrap());
            assert!(source.starts_with(root()) && source.exists(), "{name}: {}", source.display());
            assert_eq!(volume["read_only"], true, "{name}: {}", source.display());
            mounted += 1;
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        let image = service["image"].as_str().unwrap();
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image} is not pinned");
        if image.starts_with("weighbridge/") {
            assert_eq!(
                (&service["read_only"], &service["user"]),
                (&true.into(), &"65532:65532".into()),
                "{name}"
            );
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        }
    }
    assert!(mounted > 8, "{mounted}");
}

/// Of each service of the aggregator: the configuration with its own environment, and that its command is one of the program's.
#[test]
fn the_aggregator_is_configured() {
    let project = loaded(None).unwrap();
    let mut commands = BTreeSet::new();
    for (name, service) in project["services"].as_object().unwrap() {
        if service["image"].as_str().unwrap().starts_with("weighbridge/aggregator:") {
            let environment = service["environment"].as_object().cloned().unwrap_or_default();
            let environment =
                environment.into_iter().map(|(key, value)| (key, value.as_str().unwrap().to_owned()));
            let config = Config::parse(&read("compose/aggregator.yaml"), environment);
            let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(config.kafka.bootstrap_servers, "kafka:9092");
            let user = match name.as_str() {
                "load" => "weighbridge_load",
                "migrate" => "weighbridge_migrator",
                _ => "",
            };
            assert_eq!(config.clickhouse.user, user);
            commands.insert(service["command"][0].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(commands.into_iter().collect::<Vec<_>>(), ["ingest", "load", "migrate"]);
}

#[test]
fn prometheus_takes_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yaml"), read("compose/prometheus.yaml")).unwrap();
    std::fs::write(folder.path().join("rules.yaml"), read("prometheus/rules.yaml")).unwrap();
    let mut command = Command::new(tool("prometheus/usr/bin/promtool"));
    let output =
        command.args(["check", "config", "prometheus.yaml"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The demo asks for models that the demo gateway has.
#[test]
fn the_demo_asks_for_models_that_are_there() {
    let gateway: Value = serde_saphyr::from_str(&read("compose/litellm.yaml")).unwrap();
    let models: BTreeSet<&str> = gateway["model_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            assert!(model["litellm_params"]["mock_response"].is_string(), "{model}");
            model["model_name"].as_str().unwrap()
        })
        .collect();
    let project = loaded(None).unwrap();
    let script = project["services"]["traffic"]["command"][0].as_str().unwrap().to_owned();
    let asked = script.lines().find_map(|line| line.trim().strip_prefix("for model in ")).unwrap();
    let asked: BTreeSet<&str> = asked.trim_end_matches("; do").split(' ').collect();
    assert_eq!(asked, models);
}
