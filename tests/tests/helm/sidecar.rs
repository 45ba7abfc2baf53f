//! The named templates of the sidecar, from a chart that depends on this one.

use std::path::Path;

use serde_json::{Value, json};
use weighbridge_tests::helm::{Helm, KUBE_VERSIONS, chart, objects, schema_mistakes};
use weighbridge_tests::pod_security;
use weighbridge_tests::processes::root;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The fixture with the chart beside its other dependencies, as `helm dependency update` would put it there.
fn gateway() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("tests/fixtures/helm/gateway"), folder.path());
    copy(&chart(), &folder.path().join("charts/weighbridge"));
    folder
}

fn render(helm: Helm, folder: &Path, values: &str, kube_version: &str) -> Vec<Value> {
    let file = folder.join("over.yaml");
    std::fs::write(&file, values).unwrap();
    objects(&helm.template(folder, &[&file], kube_version).unwrap())
}

fn deployment(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["kind"] == "Deployment").unwrap()
}

#[test]
fn it_is_first_and_native_where_the_cluster_knows_it() {
    let folder = gateway();
    let mut all = Vec::new();
    for helm in Helm::ALL {
        for version in KUBE_VERSIONS {
            let objects = render(helm, folder.path(), "", version);
            let spec = &deployment(&objects)["spec"]["template"]["spec"];
            let is_native = version != "1.28.0";
            let (own, other) =
                if is_native { ("initContainers", "containers") } else { ("containers", "initContainers") };
            let place = usize::from(!is_native);
            let container = &spec[own][place];
            assert_eq!(container["name"], "weighbridge-collector", "{version}: {spec}");
            assert!(!spec[other].to_string().contains("weighbridge-collector"), "{version}");
            assert_eq!(container["restartPolicy"], if is_native { json!("Always") } else { Value::Null });
            // As a plain container it would hold back the pod's readiness.
            assert_eq!(container["startupProbe"].is_null(), !is_native);
            assert_eq!(pod_security::violations(deployment(&objects)), Vec::<String>::new());
            all.extend(objects.into_iter().map(|object| (version, object)));
        }
    }
    let mistakes = schema_mistakes(all.iter().map(|(version, object)| (*version, "gateway", object)));
    assert_eq!(mistakes, Vec::<String>::new());
    // Nothing of the chart's own parts, and no account.
    let kinds = render(Helm::V4, folder.path(), "", "1.36.0");
    let kinds: Vec<&str> = kinds.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment"]);
}

#[test]
fn it_is_what_was_agreed() {
    let folder = gateway();
    let objects = render(Helm::V4, folder.path(), "", "1.36.0");
    let spec = &deployment(&objects)["spec"]["template"]["spec"];
    let container = &spec["initContainers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        container["image"],
        format!("weighbridge/collector:{version}"),
        "not the version of the gateway's chart"
    );
    assert_eq!(
        container["args"],
        json!(["run", "--config", "/etc/weighbridge/collector.yaml", "--stand-by", "0.0.0.0:9464"])
    );
    assert_eq!(
        container["ports"],
        json!([{"name": "http-metrics", "containerPort": 9464, "protocol": "TCP"}])
    );
    assert!(container["readinessProbe"].is_null(), "it does not gate the gateway");
    let probe = &container["startupProbe"];
    assert_eq!(
        probe,
        &json!({"httpGet": {"path": "/livez", "port": 9464}, "periodSeconds": 1, "failureThreshold": 10})
    );
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(
        container["lifecycle"]["preStop"]["exec"]["command"],
        json!(["/weighbridge-collector", "drain"])
    );
    let resources = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}});
    assert_eq!(container["resources"], resources);
    let context = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(container["securityContext"], context);
    let sources = &spec["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[0]["configMap"]["name"], "weighbridge-collector");
    assert_eq!(sources[1]["secret"]["name"], "weighbridge-collector");
    assert_eq!(sources[1]["secret"]["optional"], true);
    assert_eq!(sources[1]["secret"]["items"], json!([{"key": "token", "path": "credentials/token"}]));
    assert_eq!(spec["volumes"][1], json!({"name": "weighbridge-data", "emptyDir": {"sizeLimit": "128Mi"}}));
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["mountPath"].as_str())
        .collect();
    assert_eq!(mounts, ["/etc/weighbridge", "/var/lib/weighbridge"]);
    let config = objects.iter().find_map(|object| object["data"]["collector.yaml"].as_str()).unwrap();
    let config = weighbridge_collector::config::Config::parse(config, |_| None).unwrap();
    assert_eq!(config.uplink.endpoint, "https://ingest.example.org:4750");
}

#[test]
fn values_shape_it() {
    let folder = gateway();
    let values = "weighbridge: {image: {}, sidecar: {native: never, image: {registry: r.example.org, tag: '7'}, caSecret: ca, \
                  resources: {limits: {memory: 32Mi}}, extraEnv: [{name: A, value: b}]}}";
    let objects = render(Helm::V4, folder.path(), values, "1.36.0");
    let spec = &deployment(&objects)["spec"]["template"]["spec"];
    let container = &spec["containers"][1];
    assert_eq!(container["image"], "r.example.org/weighbridge/collector:7");
    assert_eq!(container["env"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(container["resources"]["limits"]["memory"], "32Mi");
    assert_eq!(spec["volumes"][0]["projected"]["sources"][2]["secret"]["items"][0]["path"], "ca.crt");
    // The configuration's sum starts new pods.
    let sum = |objects: &[Value]| deployment(objects)["spec"]["template"]["metadata"]["annotations"].clone();
    let other = render(Helm::V4, folder.path(), "weighbridge: {sidecar: {config: {window_s: 30}}}", "1.36.0");
    assert_ne!(sum(&objects), sum(&other));
    // Its own charts' values are checked, too.
    std::fs::write(folder.path().join("over.yaml"), "weighbridge: {sidecar: {tokken: a}}").unwrap();
    let refused =
        Helm::V4.template(folder.path(), &[&folder.path().join("over.yaml")], "1.36.0").unwrap_err();
    assert!(refused.contains("tokken"), "{refused}");
}
