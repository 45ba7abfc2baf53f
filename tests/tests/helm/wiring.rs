//! Objects find each other: names, labels, ports.

use serde_json::Value;
use weighbridge_tests::helm::{NAMESPACE, RELEASE, name_of, part_of};
use weighbridge_tests::pod_security::{containers, pod_spec};

use super::{RENDERED, Rendered, newest};

/// What users make beforehand, by the files of values that name it.
const GIVEN: [&str; 17] = [
    "clickhouse-ca",
    "clickhouse-load",
    "clickhouse-migrate",
    "contributors-ca",
    "door",
    "edge-tls",
    "further",
    "gateway-client",
    "kafka-ca",
    "kafka-client",
    "weighbridge-cluster-ca-cert",
    "weighbridge-collector",
    "weighbridge-door",
    "weighbridge-ingest-tls",
    "weighbridge-kafka-client",
    "weighbridge-kafka-user",
    "wb-weighbridge-ingest-tls",
];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Labels of the pods of an object.
fn pod_labels(object: &Value) -> &Value {
    if object["kind"] == "Pod" {
        &object["metadata"]["labels"]
    } else {
        &object["spec"]["template"]["metadata"]["labels"]
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|all| !all.is_empty() && all.iter().all(|(key, value)| labels[key] == *value))
}

impl Rendered {
    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    fn pods(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.objects.iter().filter_map(|object| Some((object, pod_spec(object)?)))
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.of(kind).any(|object| object["metadata"]["name"] == name)
    }
}

#[test]
fn names_are_unique_and_labels_are_the_usual_ones() {
    for one in RENDERED.iter() {
        let mut seen = std::collections::HashSet::new();
        for object in &one.objects {
            let whose = format!("{}: {}", one.name, name_of(object));
            assert!(seen.insert(name_of(object)), "{whose} twice");
            if whose.contains("-further") || whose.contains("-text") {
                continue;
            }
            let expected = match one.name.as_str() {
                "split-roles" => "measuring",
                "full" if object["metadata"]["labels"]["grafana_dashboard"] == "1" => "grafana",
                _ => NAMESPACE,
            };
            assert_eq!(object["metadata"]["namespace"], expected, "{whose}");
            let labels = &object["metadata"]["labels"];
            for (key, value) in [
                ("app.kubernetes.io/name", "weighbridge"),
                ("app.kubernetes.io/instance", RELEASE),
                ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
                ("app.kubernetes.io/managed-by", "Helm"),
                ("app.kubernetes.io/part-of", "weighbridge"),
            ] {
                assert_eq!(labels[key], value, "{whose}");
            }
            assert!(text(&labels["helm.sh/chart"]).starts_with("weighbridge-"), "{whose}");
            if one.name == "full" {
                assert_eq!(labels["team"], "inference", "{whose}");
                assert_eq!(object["metadata"]["annotations"]["example.org/contact"], "inference@example.org");
            }
        }
    }
}

#[test]
fn selectors_find_the_pods_and_ports_exist() {
    for one in RENDERED.iter() {
        for (object, _) in one.pods().filter(|(object, _)| !object["spec"]["selector"].is_null()) {
            let selector = &object["spec"]["selector"]["matchLabels"];
            assert!(selects(selector, pod_labels(object)), "{}: {}", one.name, name_of(object));
            assert!(selector["app.kubernetes.io/version"].is_null(), "a selector cannot change");
        }
        for service in one.of("Service") {
            let whose = format!("{}: {}", one.name, name_of(service));
            let behind: Vec<(&Value, &Value)> = one
                .pods()
                .filter(|(pod, _)| selects(&service["spec"]["selector"], pod_labels(pod)))
                .collect();
            assert_eq!(behind.len(), 1, "{whose}");
            let ports: Vec<&Value> = containers(behind[0].1).flat_map(|one| list(&one["ports"])).collect();
            for port in list(&service["spec"]["ports"]) {
                assert!(ports.iter().any(|own| own["name"] == port["targetPort"]), "{whose}: {port}");
                assert_eq!(port["appProtocol"], if port["name"] == "grpc-ingest" { "grpc" } else { "http" });
            }
        }
        for budget in one.of("PodDisruptionBudget") {
            let selector = &budget["spec"]["selector"]["matchLabels"];
            assert_eq!(one.pods().filter(|(pod, _)| selects(selector, pod_labels(pod))).count(), 1);
            assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        }
        for scaler in one.of("HorizontalPodAutoscaler").chain(one.of("ScaledObject")) {
            let target = &scaler["spec"]["scaleTargetRef"];
            let scaled =
                one.of(text(&target["kind"])).find(|object| object["metadata"]["name"] == target["name"]);
            let scaled = scaled.unwrap_or_else(|| panic!("{}: {target}", one.name));
            assert!(scaled["spec"]["replicas"].is_null(), "{}: two would set the replicas", one.name);
        }
    }
    // One instance needs no budget.
    assert!(!newest("split-roles").iter().any(|object| object["kind"] == "PodDisruptionBudget"));
    let revisions = newest("minimal").iter().filter(|object| object["kind"] == "Job");
    assert_eq!(revisions.map(name_of).collect::<Vec<_>>(), ["Job/wb-weighbridge-migrate-1"]);
}

#[test]
fn secrets_config_maps_accounts_and_volumes_are_there() {
    for one in RENDERED.iter() {
        for (object, spec) in one.pods() {
            let whose = format!("{}: {}", one.name, name_of(object));
            let account = text(&spec["serviceAccountName"]);
            assert!(account == "default" || one.has("ServiceAccount", account), "{whose}: {account}");
            let known = |kind: &str, name: &Value| {
                assert!(one.has(kind, text(name)) || GIVEN.contains(&text(name)), "{whose}: {kind} {name}");
            };
            for volume in list(&spec["volumes"]) {
                if !volume["secret"].is_null() {
                    known("Secret", &volume["secret"]["secretName"]);
                    assert_eq!(volume["secret"]["defaultMode"], 0o440, "{whose}");
                }
                if !volume["configMap"].is_null() {
                    known("ConfigMap", &volume["configMap"]["name"]);
                }
            }
            for container in containers(spec) {
                for mount in list(&container["volumeMounts"]) {
                    assert!(
                        list(&spec["volumes"]).any(|volume| volume["name"] == mount["name"]),
                        "{whose}: {mount}"
                    );
                }
                for variable in list(&container["env"]) {
                    let reference = &variable["valueFrom"]["secretKeyRef"];
                    if reference.is_null() {
                        continue;
                    }
                    known("Secret", &reference["name"]);
                    let made =
                        one.of("Secret").find(|secret| secret["metadata"]["name"] == reference["name"]);
                    if let Some(secret) = made {
                        assert!(!secret["data"][text(&reference["key"])].is_null(), "{whose}: {reference}");
                    }
                }
            }
        }
        for trigger in one.of("ScaledObject").flat_map(|object| list(&object["spec"]["triggers"])) {
            assert!(
                one.has("TriggerAuthentication", text(&trigger["authenticationRef"]["name"])),
                "{trigger}"
            );
        }
    }
}

/// Ingest holds no credentials of ClickHouse, load none of the door; only the Job has the user who may change the schema.
#[test]
fn every_program_has_its_own_credentials_only() {
    let names = |part: &str| -> String {
        let object = newest("existing-secrets").iter().find(|object| part_of(object) == part).unwrap();
        let spec = pod_spec(object).unwrap();
        let variables = containers(spec).flat_map(|container| list(&container["env"]));
        let secrets = variables.map(|variable| text(&variable["valueFrom"]["secretKeyRef"]["name"]));
        let volumes = list(&spec["volumes"]).map(|volume| text(&volume["secret"]["secretName"]));
        let mut all: Vec<&str> = secrets.chain(volumes).filter(|name| !name.is_empty()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(" ")
    };
    assert_eq!(
        names("Deployment/ingest"),
        "kafka-ca weighbridge-door weighbridge-ingest-tls weighbridge-kafka-user"
    );
    assert_eq!(names("Deployment/load"), "clickhouse-ca clickhouse-load kafka-ca weighbridge-kafka-user");
    assert_eq!(names("Job/migrate"), "clickhouse-ca clickhouse-migrate kafka-ca weighbridge-kafka-user");
    assert_eq!(names("Pod/test"), "clickhouse-ca clickhouse-load");
}

#[test]
fn policies_let_through_what_is_needed() {
    let full = newest("full");
    let policy = |component: &str| {
        let name = format!("weighbridge-{component}");
        let is_it = |object: &&Value| {
            object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == name.as_str()
        };
        &full.iter().find(is_it).unwrap()["spec"]
    };
    let ports = |rules: &Value| -> Vec<u64> {
        let mut all: Vec<u64> = list(rules)
            .flat_map(|rule| list(&rule["ports"]))
            .filter_map(|port| port["port"].as_u64())
            .collect();
        all.sort_unstable();
        all
    };
    for (component, inside, outside) in [
        ("ingest", vec![4750, 4751], vec![53, 53, 4317, 9093]),
        ("load", vec![4751], vec![53, 53, 4317, 8443, 9093]),
        ("migrate", vec![], vec![53, 53, 4317, 8443, 9093]),
        ("test", vec![], vec![53, 53, 4317, 4751, 8443]),
    ] {
        assert_eq!(ports(&policy(component)["ingress"]), inside, "{component}");
        assert_eq!(ports(&policy(component)["egress"]), outside, "{component}");
        assert_eq!(policy(component)["policyTypes"], serde_json::json!(["Ingress", "Egress"]), "{component}");
    }
    let from = &policy("ingest")["ingress"][0]["from"][0];
    assert_eq!(from["podSelector"]["matchLabels"]["weighbridge.io/inject"], "true");
    assert_eq!(from["namespaceSelector"], serde_json::json!({}));
    assert!(!newest("minimal").iter().any(|object| object["kind"] == "NetworkPolicy"), "off by default");
}

#[test]
fn monitors_read_every_process_once() {
    let full = RENDERED.iter().find(|one| one.name == "full").unwrap();
    let monitor = full.of("ServiceMonitor").next().unwrap();
    let endpoint = &monitor["spec"]["endpoints"][0];
    let read = full.of("Service").filter(|service| {
        selects(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"])
            && list(&service["spec"]["ports"]).any(|port| port["name"] == endpoint["port"])
    });
    let read: Vec<String> = read.map(name_of).collect();
    assert_eq!(read, ["Service/weighbridge-ingest-headless", "Service/weighbridge-load"]);
    let pods = full.of("PodMonitor").next().unwrap();
    assert_eq!(pods["spec"]["selector"]["matchLabels"]["weighbridge.io/inject"], "true");
    assert_eq!(pods["spec"]["namespaceSelector"]["matchNames"][0], "gateways");
    let alone = newest("sidecar-only").iter().find(|object| object["kind"] == "PodMonitor").unwrap();
    assert_eq!(alone["spec"]["namespaceSelector"]["any"], true);
}

#[test]
fn keda_asks_for_the_lag_of_load() {
    let keda = newest("keda");
    let find = |kind: &str| keda.iter().find(|object| object["kind"] == kind).unwrap();
    let trigger = &find("ScaledObject")["spec"]["triggers"][0];
    assert_eq!(trigger["type"], "kafka");
    let metadata = &trigger["metadata"];
    for (name, value) in [
        ("bootstrapServers", "kafka.kafka.svc:9094"),
        ("topic", "weighbridge.reports.v1"),
        ("consumerGroup", weighbridge_aggregator::config::Load::default().group_id.as_str()),
        ("lagThreshold", "500"),
        ("allowIdleConsumers", "false"),
        ("sasl", "scram_sha256"),
        ("tls", "enable"),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    let parameters = &find("TriggerAuthentication")["spec"]["secretTargetRef"];
    let names: Vec<&str> = list(parameters).map(|one| text(&one["parameter"])).collect();
    assert_eq!(names, ["password"]);
    // The user is no secret: KEDA reads it where load does.
    let user = &find("TriggerAuthentication")["spec"]["env"][0];
    assert_eq!((text(&user["parameter"]), text(&user["containerName"])), ("username", "load"));
    let load = keda.iter().find(|object| part_of(object) == "Deployment/load").unwrap();
    let load = containers(pod_spec(load).unwrap()).find(|one| one["name"] == "load").unwrap();
    let variable = list(&load["env"]).find(|variable| variable["name"] == user["name"]).unwrap();
    assert_eq!(variable["value"], "weighbridge");
    assert_eq!(find("ScaledObject")["spec"]["maxReplicaCount"], 24);
}
