//! The admission policy on a real API server: who gets the collector, who does not, and what happens when the policy is broken.

use serde_json::{Value, json};
use weighbridge_tests::kubernetes::{ApiServer, documents};

use super::api_server::{first_init_container, names, pod, sample_template};
use super::samples::{self, COLLECTOR};

const LABEL: &str = "weighbridge.io/inject";
const WRITTEN_BACK: &str = "weighbridge.io/injected";

/// The sample's pod without what is ours, as someone has it who relies on the policy.
fn gateway(label: Option<&str>) -> Value {
    let mut template = sample_template();
    let spec = template["spec"].as_object_mut().unwrap();
    spec.remove("initContainers");
    spec.remove("volumes");
    template["metadata"]["labels"] = json!({"app.kubernetes.io/name": "gateway"});
    if let Some(label) = label {
        template["metadata"]["labels"][LABEL] = label.into();
    }
    template
}

fn is_injected(pod: &Value) -> bool {
    let has_container = names(&pod["spec"]["initContainers"]).contains(&COLLECTOR);
    let is_told = pod["metadata"]["annotations"].get(WRITTEN_BACK).is_some();
    assert_eq!(has_container, is_told, "{pod}");
    has_container
}

/// `collector` is what the documented YAML becomes: the policy's must be the same.
pub async fn injects_where_it_should(server: &ApiServer, collector: &Value) {
    server
        .run(&["apply", "--server-side", "--filename=-"], &samples::read("kubernetes/admission-policy.yaml"));
    server.namespace("counted", &[(LABEL, "true")]);
    let mut attempts = 0;
    let first = server
        .until("the policy", || {
            attempts += 1;
            let pod = server.create(&pod(&format!("first-{attempts}"), "inference", &gateway(Some("true"))));
            Some(pod.unwrap()).filter(is_injected)
        })
        .await;
    println!("the policy was active at attempt {attempts}");
    assert_eq!(&first_init_container(&first), collector);
    assert_eq!(names(&first["spec"]["volumes"]), ["weighbridge-config", "weighbridge-data"]);
    let release = collector["image"].as_str().unwrap().split(':').next_back().unwrap();
    assert_eq!(first["metadata"]["annotations"][WRITTEN_BACK], release);
    let by_hand = server.create(&pod("by-hand", "counted", &sample_template())).unwrap();
    assert_eq!(first["spec"]["volumes"], by_hand["spec"]["volumes"]);

    keeps_what_the_pod_has(server, collector);
    leaves_alone(server);
    let said_nothing = server.create(&pod("silent", "counted", &gateway(None))).unwrap();
    assert!(is_injected(&said_nothing), "{said_nothing}");
}

fn keeps_what_the_pod_has(server: &ApiServer, collector: &Value) {
    let mut template = gateway(Some("true"));
    template["metadata"]["annotations"] = json!({"example.org/note": "mine"});
    let mut own = template["spec"]["containers"][0].clone();
    own["name"] = "own-init".into();
    own.as_object_mut().unwrap().remove("ports");
    template["spec"]["initContainers"] = json!([own]);
    template["spec"]["volumes"] = json!([
        {"name": "own", "emptyDir": {}},
        {"name": "weighbridge-data", "emptyDir": {"sizeLimit": "1Gi"}},
    ]);
    let stored = server.create(&pod("rich", "inference", &template)).unwrap();
    assert!(is_injected(&stored));
    assert_eq!(names(&stored["spec"]["initContainers"]), [COLLECTOR, "own-init"]);
    assert_eq!(&first_init_container(&stored), collector);
    assert_eq!(names(&stored["spec"]["volumes"]), ["own", "weighbridge-data", "weighbridge-config"]);
    assert_eq!(stored["spec"]["volumes"][1]["emptyDir"]["sizeLimit"], "1Gi");
    assert_eq!(stored["metadata"]["annotations"]["example.org/note"], "mine");
}

/// By now the policy is active, so these are no accidents.
fn leaves_alone(server: &ApiServer) {
    let mut as_container = gateway(Some("true"));
    let mut container = sample_template()["spec"]["initContainers"][0].clone();
    container.as_object_mut().unwrap().remove("restartPolicy");
    container.as_object_mut().unwrap().remove("startupProbe");
    as_container["spec"]["volumes"] = sample_template()["spec"]["volumes"].clone();
    as_container["spec"]["containers"].as_array_mut().unwrap().push(container);
    let mut windows = gateway(Some("true"));
    windows["spec"]["os"] = json!({"name": "windows"});
    windows["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    windows["spec"]["containers"][0]["securityContext"] = json!({"runAsNonRoot": true});
    for (name, namespace, template) in [
        ("refuses", "counted", gateway(Some("false"))),
        ("refuses", "inference", gateway(Some("false"))),
        ("silent", "inference", gateway(None)),
        ("has-it", "inference", sample_template()),
        ("has-it", "counted", sample_template()),
        ("has-it-as-container", "inference", as_container),
        ("system", "kube-system", gateway(Some("true"))),
        ("ours", "weighbridge", gateway(Some("true"))),
        ("windows", "inference", windows),
    ] {
        let asked = pod(name, namespace, &template);
        let stored = server.create(&asked).unwrap_or_else(|error| panic!("{name}: {error}"));
        let of = |pod: &Value| {
            let spec = &pod["spec"];
            [&spec["initContainers"], &spec["containers"], &spec["volumes"]].map(|list| names(list).join(" "))
        };
        assert_eq!(of(&stored), of(&asked), "{name} in {namespace}");
        assert!(stored["metadata"]["annotations"].get(WRITTEN_BACK).is_none(), "{name} in {namespace}");
    }
}

/// A patch that cannot be applied: pods are admitted as they are.
pub async fn stands_aside_when_it_is_broken(server: &ApiServer) {
    let mut policy = documents(&samples::read("kubernetes/admission-policy.yaml"))[0].clone();
    let expression = &mut policy["spec"]["mutations"][0]["jsonPatch"]["expression"];
    let text = expression.as_str().unwrap();
    let broken = text.replace("\"/spec/volumes/-\"", "\"/spec/nowhere/0\"");
    assert_ne!(broken, text);
    *expression = broken.into();
    let apply = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
    server.run(&apply, &policy.to_string());
    let mut attempts = 0;
    server
        .until("the broken policy", || {
            attempts += 1;
            let pod = pod(&format!("broken-{attempts}"), "inference", &gateway(Some("true")));
            // Never an error, and never half of it.
            let stored = server.create(&pod).unwrap();
            (!is_injected(&stored) && names(&stored["spec"]["volumes"]).is_empty()).then_some(())
        })
        .await;
    // docs/kubernetes.md names this metric.
    let metrics = server.run(&["get", "--raw", "/metrics"], "").output;
    let is_error = |line: &str| {
        line.starts_with("apiserver_mutating_admission_policy_check_total{")
            && line.contains("policy=\"weighbridge-sidecar\"")
            && !line.contains("error_type=\"no_error\"")
    };
    assert!(metrics.lines().any(is_error));
}
