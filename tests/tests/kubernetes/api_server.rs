//! Every object under `deploy/` is taken by a real API server, and what injects the collector does it there.

use std::path::PathBuf;

use serde_json::{Value, json};
use weighbridge_tests::kubernetes::{ApiServer, as_stream, documents, kustomize};
use weighbridge_tests::processes::tool;

use super::chart;
use super::guide;
use super::policy;
use super::samples::{self, COLLECTOR, deploy};

/// Where the operators' definitions are in no package of a registry; `samples.rs` checks these objects as far as that goes.
const WITHOUT_DEFINITION: [&str; 2] = ["clickhouse.altinity.com/v1", "clickhouse.com/v1alpha1"];

#[tokio::test]
async fn a_real_api_server_takes_every_object_and_injects_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::start(folder.path()).await;
    define_custom_resources(&server);
    server.namespace("inference", &[]);
    server.namespace("weighbridge", &[]);
    it_would_refuse_what_is_wrong(&server);
    every_object_is_taken(&server);
    chart::every_rendered_object_is_taken(&server);
    let collector = the_sidecar_by_hand(&server);
    the_kustomize_component(&server, &collector);
    policy::injects_where_it_should(&server, &collector).await;
    policy::stands_aside_when_it_is_broken(&server).await;
    guide::commands_do_what_they_say(&server);
}

fn define_custom_resources(server: &ApiServer) {
    let folder = tool("crds/.installed").parent().unwrap().to_owned();
    let files = format!("--filename={}", folder.display());
    server.run(&["create", &files], "");
    server.run(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "");
}

/// The checks below mean something only if these are refused.
fn it_would_refuse_what_is_wrong(server: &ApiServer) {
    let sidecar = samples::read("sidecar/sidecar.yaml");
    let misspelled = sidecar.replace("periodSeconds: 1", "periodSecond: 1");
    assert_ne!(misspelled, sidecar);
    let error = server.dry_run(Some("inference"), &misspelled).unwrap_err();
    assert!(error.contains("periodSecond"), "{error}");
    let topic = samples::read("examples/kafka-strimzi.yaml").replace("partitions: 12", "partitions: twelve");
    let error = server.dry_run(Some("inference"), &topic).unwrap_err();
    assert!(error.contains("partitions"), "{error}");
    let root_user = sidecar.replace("runAsUser: 65532", "runAsUser: 0");
    let warnings = server.dry_run(Some("inference"), &root_user).unwrap();
    assert!(warnings.contains("runAsUser=0"), "{warnings}");
}

fn every_object_is_taken(server: &ApiServer) {
    let mut objects = 0;
    for path in manifests() {
        let text = std::fs::read_to_string(&path).unwrap();
        let (defined, undefined): (Vec<Value>, Vec<Value>) = documents(&text)
            .into_iter()
            .partition(|object| !WITHOUT_DEFINITION.contains(&object["apiVersion"].as_str().unwrap()));
        if defined.is_empty() {
            assert!(!undefined.is_empty(), "{} holds nothing", path.display());
            continue;
        }
        objects += defined.len();
        let warnings = server.dry_run(Some("inference"), &as_stream(&defined));
        let warnings = warnings.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(warnings, "", "{}", path.display());
    }
    println!("the API server took {objects} objects without a warning");
    assert!(objects > 10, "{objects}");
}

/// Kubernetes objects: every YAML file under these folders.
fn manifests() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["sidecar", "kubernetes", "examples"] {
        for entry in std::fs::read_dir(deploy(folder)).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_file(), "{} is not looked into", path.display());
            if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// The pod that the documented YAML makes. Gives its collector, as the API server filled it in.
fn the_sidecar_by_hand(server: &ApiServer) -> Value {
    let stored = server.create(&pod("by-hand", "inference", &sample_template())).unwrap();
    assert_eq!(stored["metadata"]["annotations"], Value::Null);
    let collector = first_init_container(&stored);
    assert_eq!(collector["restartPolicy"], "Always");
    assert!(
        collector.get("readinessProbe").is_none() && collector["resources"]["limits"].get("cpu").is_none()
    );
    collector
}

/// Only labelled workloads change, the collector comes first, what was there stays, and doing it twice is doing it once.
fn the_kustomize_component(server: &ApiServer, collector: &Value) {
    let built = kustomize(&deploy("kustomize/example")).unwrap();
    assert_eq!(server.dry_run(Some("inference"), &built).unwrap(), "");
    let objects = documents(&built);
    let sources = documents(&samples::read("kustomize/example/gateway.yaml"));
    let of = |objects: &[Value], name: &str| -> Value {
        let mut found = objects.iter().filter(|object| object["metadata"]["name"] == name);
        found.next().unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let mut shop = of(&objects, "shop");
    shop["metadata"].as_object_mut().unwrap().remove("namespace");
    assert_eq!(shop, of(&sources, "shop"));

    let config = of_kind(&objects, "ConfigMap")["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(config.starts_with("weighbridge-collector-"), "a change of it must roll the pods: {config}");
    let gateway = of(&objects, "gateway")["spec"]["template"].clone();
    let job = of(&objects, "nightly-evaluation")["spec"]["jobTemplate"]["spec"]["template"].clone();
    for (name, template) in [("gateway", &gateway), ("evaluation", &job)] {
        let stored = server.create(&pod(name, "inference", template)).unwrap();
        assert_eq!(&first_init_container(&stored), collector, "{name}");
        assert_eq!(stored["metadata"]["labels"]["weighbridge.io/inject"], "true");
        let source = &stored["spec"]["volumes"][0]["projected"]["sources"][0]["configMap"]["name"];
        assert_eq!(source, config.as_str());
    }
    assert_eq!(names(&gateway["spec"]["initContainers"]), [COLLECTOR, "wait-for-database"]);

    let (_folder, mine) = samples::beside_the_component();
    std::fs::write(mine.join("built.yaml"), &built).unwrap();
    let again = "resources: [built.yaml]\ncomponents: [../sidecar]\n";
    std::fs::write(mine.join("kustomization.yaml"), again).unwrap();
    assert_eq!(
        sorted(documents(&kustomize(&mine).unwrap())),
        sorted(objects_without_hash(&objects, &config))
    );
}

/// A second pass names the ConfigMap as the component does; the hash belongs to the generator of the first.
fn objects_without_hash(objects: &[Value], config: &str) -> Vec<Value> {
    objects
        .iter()
        .map(|object| {
            let text = object.to_string();
            let is_config = object["kind"] == "ConfigMap";
            let text = if is_config { text } else { text.replace(config, "weighbridge-collector") };
            serde_json::from_str(&text).unwrap()
        })
        .collect()
}

fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

pub fn of_kind(objects: &[Value], kind: &str) -> Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap().clone()
}

/// The pod template of the documented Deployment.
pub fn sample_template() -> Value {
    of_kind(&documents(&samples::read("sidecar/sidecar.yaml")), "Deployment")["spec"]["template"].clone()
}

/// The pod that a workload's controller would make of its template.
pub fn pod(name: &str, namespace: &str, template: &Value) -> Value {
    let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    metadata["name"] = name.into();
    metadata["namespace"] = namespace.into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

pub fn first_init_container(pod: &Value) -> Value {
    let first = pod["spec"]["initContainers"][0].clone();
    assert_eq!(first["name"], COLLECTOR, "{pod}");
    first
}

pub fn names(containers: &Value) -> Vec<&str> {
    containers.as_array().into_iter().flatten().map(|container| container["name"].as_str().unwrap()).collect()
}
