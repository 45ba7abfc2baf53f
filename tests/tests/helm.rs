//! The Helm chart of `deploy/helm`, by real Helm: every file of values is linted, rendered and checked against the schemas of every minor
//! version of Kubernetes that the chart names; what it renders fits together, is restricted, holds no secret, and the programs can read it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod copies;
mod programs;
mod refusals;
mod secrets;
mod sidecar;
mod wiring;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;

use serde_json::Value;
use weighbridge_tests::helm::{
    Helm, KUBE_VERSIONS, chart, is_custom, name_of, objects, schema_mistakes, values_files,
};
use weighbridge_tests::pod_security;

/// What a file of values became.
pub struct Rendered {
    pub name: String,
    pub version: &'static str,
    pub objects: Vec<Value>,
}

/// Every file of values for every version, rendered once for all tests.
pub static RENDERED: LazyLock<Vec<Rendered>> = LazyLock::new(|| {
    let files = values_files();
    let jobs: Vec<(PathBuf, &'static str)> =
        KUBE_VERSIONS.iter().flat_map(|version| files.iter().map(|file| (file.clone(), *version))).collect();
    let render = |(file, version): &(PathBuf, &'static str)| Rendered {
        name: file.file_name().unwrap().to_string_lossy().trim_end_matches("-values.yaml").to_owned(),
        version,
        objects: weighbridge_tests::helm::render(file, version),
    };
    let (first, second) = jobs.split_at(jobs.len() / 2);
    thread::scope(|scope| {
        let second = scope.spawn(|| second.iter().map(render).collect::<Vec<_>>());
        let mut all: Vec<Rendered> = first.iter().map(render).collect();
        all.extend(second.join().unwrap());
        all
    })
});

/// The objects of a file of values for the newest version.
pub fn newest(name: &str) -> &'static [Value] {
    let newest = KUBE_VERSIONS.last().unwrap();
    let found = RENDERED.iter().find(|one| one.name == name && one.version == *newest);
    &found.unwrap_or_else(|| panic!("no file of values {name}")).objects
}

#[test]
fn every_file_of_values_lints_and_both_helms_render_the_same() {
    for file in values_files() {
        for helm in Helm::ALL {
            helm.lint(&file).unwrap_or_else(|failure| panic!("{helm:?} {}: {failure}", file.display()));
        }
        let [three, four] = Helm::ALL.map(|helm| helm.template(&chart(), &[&file], "1.36.0").unwrap());
        let sorted = |text: &str| {
            let mut lines: Vec<String> = objects(text).iter().map(Value::to_string).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&three), sorted(&four), "{}", file.display());
    }
    for helm in Helm::ALL {
        let refused = helm.template(&chart(), &[], "1.36.0").unwrap_err();
        assert!(refused.contains("kafka.bootstrapServers"), "the defaults name no servers: {refused}");
        let old = helm.template(&chart(), &[&values_files()[0]], "1.27.0").unwrap_err();
        assert!(old.contains("1.28.0-0"), "{old}");
    }
}

/// What a registry is given is the whole chart, without what only tests need.
#[test]
fn a_package_renders_as_the_folder_does() {
    let values = &values_files()[0];
    for helm in Helm::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut package = helm.command();
        let output =
            package.args(["package", "--destination"]).arg(folder.path()).arg(chart()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let packed = helm.template(&file, &[values], "1.36.0").unwrap();
        assert_eq!(packed, helm.template(&chart(), &[values], "1.36.0").unwrap());
        let list = std::process::Command::new("tar").arg("tzf").arg(&file).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert!(list.contains("files/dashboards/overview.json") && !list.contains("/ci/"), "{list}");
    }
}

#[test]
fn every_object_fits_the_schemas_of_every_version() {
    let all = RENDERED.iter().flat_map(|one| one.objects.iter().map(move |object| (one, object)));
    let own = all.clone().filter(|(_, object)| !is_custom(object));
    let mistakes = schema_mistakes(own.map(|(one, object)| (one.version, one.name.as_str(), object)));
    assert_eq!(mistakes, Vec::<String>::new());
    let kinds: std::collections::BTreeSet<&str> =
        all.filter_map(|(_, object)| object["kind"].as_str()).collect();
    let expected = [
        "Certificate",
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Job",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "Secret",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
        "TriggerAuthentication",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected, "the files of values show every kind");
}

/// The validator itself: it finds an unknown field, a wrong type and an unknown kind.
#[test]
fn the_schemas_find_mistakes() {
    let mut service = newest("minimal").iter().find(|object| object["kind"] == "Service").unwrap().clone();
    let job = newest("minimal").iter().find(|object| object["kind"] == "Job").unwrap();
    let mut unknown = service.clone();
    service["spec"]["ports"][0]["port"] = "many".into();
    service["spec"]["portz"] = 1.into();
    unknown["kind"] = "Servise".into();
    let all = [("1.30.0", &service), ("1.37.0", &unknown), ("1.37.0", job), ("9.9.9", job)];
    let mistakes = schema_mistakes(all.map(|(version, object)| (version, "made up", object)));
    assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    for (mistake, part) in mistakes.iter().zip(["port", "port", "no schema", "no schemas of this version"]) {
        assert!(mistake.contains(part), "{mistake}");
    }
}

#[test]
fn every_pod_is_restricted_and_bounded() {
    for one in RENDERED.iter() {
        for object in &one.objects {
            let whose = format!("{} for {}: {}", one.name, one.version, name_of(object));
            assert_eq!(pod_security::violations(object), Vec::<String>::new(), "{whose}");
            let Some(spec) = pod_security::pod_spec(object) else { continue };
            assert_eq!(spec["automountServiceAccountToken"], false, "{whose}");
            // Variables that Kubernetes makes of a Service weighbridge-ingest are refused by the configuration.
            assert_eq!(spec["enableServiceLinks"], false, "{whose}");
            for container in pod_security::containers(spec) {
                let whose = format!("{whose}, {}", container["name"]);
                assert!(!container["resources"]["limits"]["memory"].is_null(), "{whose}: no limit of memory");
                assert!(container["resources"]["limits"]["cpu"].is_null(), "{whose}: a limit of CPU");
                if container["image"].as_str().unwrap().contains("weighbridge/") {
                    let context = &container["securityContext"];
                    assert_eq!(context["readOnlyRootFilesystem"], true, "{whose}");
                    assert!(!context["runAsUser"].is_null(), "{whose}: no user");
                }
            }
        }
    }
}
