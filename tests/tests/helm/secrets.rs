//! Secrets stay in Secrets.

use serde_json::Value;
use weighbridge_tests::helm::{Helm, chart, name_of, part_of, values_file};
use weighbridge_tests::pod_security::{containers, pod_spec};

use super::{RENDERED, newest};

/// What `full-values.yaml` holds.
const CANARIES: [&str; 8] = [
    "canary-kafka-user",
    "canary-kafka-%@:&#?$ password",
    "canary-clickhouse-user",
    "canary-clickhouse-\"'{{ password",
    "canary-migrate-user",
    "canary-migrate-password",
    "canary-collector-token",
    "cafe0000cafe0000cafe0000cafe0000cafe0000cafe0000cafe0000cafe0000",
];
const REGISTRY: &str = "{\"canary\": \"contributors\"}";

fn base64(text: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let is_padding = place > chunk.len();
            let sextet = (bits >> (18 - 6 * place) & 63) as usize;
            out.push(if is_padding { '=' } else { char::from(alphabet[sextet]) });
        }
    }
    out
}

#[test]
fn canaries_are_in_secrets_and_nowhere_else() {
    let objects = newest("full");
    let secrets: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Secret").collect();
    for canary in CANARIES.into_iter().chain([REGISTRY]) {
        let encoded = base64(canary);
        let holds =
            |secret: &&&Value| secret["data"].as_object().unwrap().values().any(|value| *value == encoded);
        assert_eq!(secrets.iter().filter(holds).count(), 1, "{canary}: in one Secret");
        // As it is, inside JSON, and in base64.
        let quoted = serde_json::to_string(canary).unwrap();
        for object in objects.iter().filter(|object| object["kind"] != "Secret") {
            let text = object.to_string();
            for form in [canary, quoted.trim_matches('"'), &encoded] {
                assert!(!text.contains(form), "{} shows {canary}", name_of(object));
            }
        }
    }
    // Nor in what Helm prints for people.
    let mut notes = Helm::V4.command();
    notes.args(["install", "wb", "--dry-run=client", "--values"]).arg(values_file("full")).arg(chart());
    let text = String::from_utf8(notes.output().unwrap().stdout).unwrap();
    let notes = text.split("NOTES:").nth(1).expect("notes");
    assert!(!notes.contains("canary") && !notes.contains("cafe0000"), "{notes}");
}

#[test]
fn secrets_that_are_there_are_used_and_none_is_made() {
    for name in ["existing-secrets", "cert-manager-mtls", "keda", "minimal", "sidecar-only"] {
        assert!(newest(name).iter().all(|object| object["kind"] != "Secret"), "{name}");
    }
}

/// Everything secret comes by reference: no variable has a value but those that the user wrote, no argument holds one.
#[test]
fn variables_and_arguments_hold_no_secret() {
    for one in RENDERED.iter() {
        for (object, spec) in one.objects.iter().filter_map(|object| Some((object, pod_spec(object)?))) {
            for container in containers(spec) {
                for variable in container["env"].as_array().into_iter().flatten() {
                    let is_plain = !variable["value"].is_null();
                    let name = variable["name"].as_str().unwrap();
                    // What a user wrote into extraEnv, and the name of a user beside a Secret with the password.
                    let is_known = name == "WEIGHBRIDGE_INGEST_RETRY_AFTER_MS" || name.ends_with("_USERNAME");
                    assert!(!is_plain || is_known, "{} {}: {variable}", one.name, name_of(object));
                }
                let arguments = container["args"].to_string().to_lowercase();
                for word in ["password", "token", "secret"] {
                    assert!(!arguments.contains(word), "{} {}: {arguments}", one.name, name_of(object));
                }
            }
        }
    }
}

/// A Secret of the release that changes, or a configuration, starts new pods.
#[test]
fn changes_start_new_pods() {
    let values = |secret: &str, flush: u32| {
        format!(
            "kafka: {{bootstrapServers: 'k:9092'}}\nclickhouse: {{url: 'http://c:8123', auth: {{username: u, password: {secret}}}}}\n\
             ingest: {{door: {{mode: open}}}}\nconfig: {{load: {{flush_ms: {flush}}}}}\n"
        )
    };
    let annotations = |values: &str| {
        let objects = weighbridge_tests::helm::objects(&Helm::V4.template_text(values, "1.36.0").unwrap());
        let load = objects.into_iter().find(|object| part_of(object) == "Deployment/load").unwrap();
        load["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let before = annotations(&values("one", 1));
    assert_eq!(before, annotations(&values("one", 1)));
    let (secret, config) = (annotations(&values("two", 1)), annotations(&values("one", 2)));
    assert_ne!(before["checksum/secrets"], secret["checksum/secrets"]);
    assert_eq!(before["checksum/config"], secret["checksum/config"]);
    assert_ne!(before["checksum/config"], config["checksum/config"]);
}
