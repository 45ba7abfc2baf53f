//! The Pod Security Standard `restricted`, as Kubernetes' admission checks it, over pod specs as JSON.
//!
//! In: an object of any kind that holds pods (Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob), or a pod's spec. Out: a
//! line for each rule that is broken, with the container; none for kinds that hold no pod. Stricter than the standard in one point: no
//! container and no pod may set user 0, and every container must say that it does not run as root, itself or by its pod.

use serde_json::Value;

const VOLUMES: [&str; 7] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"];
/// `restricted` allows this one, too; apart, because a secret in a volume is what one looks for.
const SECRET_VOLUME: &str = "secret";

/// The spec of the pods that an object makes.
pub fn pod_spec(object: &Value) -> Option<&Value> {
    let path = match object["kind"].as_str()? {
        "Pod" => "/spec",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    object.pointer(path)
}

/// All containers of a pod's spec: also those that run before and those that are put in later.
pub fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| spec[list].as_array().map(Vec::as_slice).unwrap_or_default())
}

/// What breaks `restricted` in an object.
pub fn violations(object: &Value) -> Vec<String> {
    pod_spec(object).map(violations_of_spec).unwrap_or_default()
}

/// What breaks `restricted` in a pod's spec.
pub fn violations_of_spec(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == true {
            found.push(format!("pod: {field}"));
        }
    }
    check_pod_context(&spec["securityContext"], &mut found);
    for volume in spec["volumes"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let kinds = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        for (kind, _) in kinds.filter(|(key, _)| !VOLUMES.contains(&key.as_str()) && *key != SECRET_VOLUME) {
            found.push(format!("volume {}: {kind}", volume["name"]));
        }
    }
    let mut any = false;
    for container in containers(spec) {
        any = true;
        check_container(container, &spec["securityContext"], &mut found);
    }
    if !any {
        found.push("pod: no container".to_owned());
    }
    found
}

fn check_pod_context(context: &Value, found: &mut Vec<String>) {
    if context["runAsUser"] == 0 {
        found.push("pod: runAsUser 0".to_owned());
    }
    if context["runAsNonRoot"] == false {
        found.push("pod: runAsNonRoot false".to_owned());
    }
    check_common(context, "pod", found);
}

/// What the standard forbids in both security contexts.
fn check_common(context: &Value, whose: &str, found: &mut Vec<String>) {
    let seccomp = &context["seccompProfile"]["type"];
    if !seccomp.is_null() && !is_seccomp(seccomp) {
        found.push(format!("{whose}: seccompProfile {seccomp}"));
    }
    let apparmor = &context["appArmorProfile"]["type"];
    if !apparmor.is_null() && apparmor != "RuntimeDefault" && apparmor != "Localhost" {
        found.push(format!("{whose}: appArmorProfile {apparmor}"));
    }
    let selinux = &context["seLinuxOptions"];
    let kinds = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    if selinux["type"].as_str().is_some_and(|kind| !kinds.contains(&kind))
        || !selinux["user"].is_null()
        || !selinux["role"].is_null()
    {
        found.push(format!("{whose}: seLinuxOptions {selinux}"));
    }
    if context["sysctls"].as_array().is_some_and(|list| !list.is_empty()) {
        found.push(format!("{whose}: sysctls"));
    }
    if context["windowsOptions"]["hostProcess"] == true {
        found.push(format!("{whose}: hostProcess"));
    }
}

fn is_seccomp(profile: &Value) -> bool {
    profile == "RuntimeDefault" || profile == "Localhost"
}

fn check_container(container: &Value, pod: &Value, found: &mut Vec<String>) {
    let whose = format!("container {}", container["name"].as_str().unwrap_or("?"));
    let context = &container["securityContext"];
    let mut broken = |rule: &str| found.push(format!("{whose}: {rule}"));
    if context["privileged"] == true {
        broken("privileged");
    }
    if context["allowPrivilegeEscalation"] != false {
        broken("allowPrivilegeEscalation is not false");
    }
    let dropped = context["capabilities"]["drop"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !dropped.iter().any(|capability| capability == "ALL") {
        broken("capabilities.drop lacks ALL");
    }
    let added = context["capabilities"]["add"].as_array().map(Vec::as_slice).unwrap_or_default();
    if added.iter().any(|capability| capability != "NET_BIND_SERVICE") {
        broken("capabilities.add");
    }
    let non_root = if context["runAsNonRoot"].is_null() { pod } else { context };
    if non_root["runAsNonRoot"] != true {
        broken("runAsNonRoot is not true");
    }
    if context["runAsUser"] == 0 {
        broken("runAsUser 0");
    }
    let profile = [context, pod].map(|context| &context["seccompProfile"]["type"]);
    if !profile.into_iter().find(|profile| !profile.is_null()).is_some_and(is_seccomp) {
        broken("no seccompProfile");
    }
    if !matches!(context["procMount"].as_str(), None | Some("Default")) {
        broken("procMount");
    }
    let ports = container["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.iter().any(|port| port["hostPort"].as_u64().unwrap_or(0) != 0) {
        broken("hostPort");
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    let hosts = probes
        .into_iter()
        .chain(hooks)
        .flat_map(|handler| ["httpGet", "tcpSocket"].map(|kind| &handler[kind]["host"]));
    if hosts.filter_map(Value::as_str).any(|host| !host.is_empty()) {
        broken("host of a probe or hook");
    }
    check_common(context, &whose, found);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "b"}}],
            "containers": [{
                "name": "one",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        })
    }

    #[test]
    fn what_is_restricted_passes() {
        assert_eq!(violations_of_spec(&good()), Vec::<String>::new());
        let object =
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": good()}}}}});
        assert!(pod_spec(&object).is_some() && violations(&object).is_empty());
        assert_eq!(violations(&json!({"kind": "Service", "spec": {}})), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_seen_when_it_is_broken() {
        let container = "/containers/0";
        for (place, key, value, expected) in [
            ("", "hostNetwork", json!(true), "hostNetwork"),
            ("", "hostPID", json!(true), "hostPID"),
            ("", "hostIPC", json!(true), "hostIPC"),
            ("", "volumes", json!([{"name": "a", "hostPath": {"path": "/"}}]), "hostPath"),
            ("", "containers", json!([]), "no container"),
            ("", "initContainers", json!([{"name": "two"}]), "container two: allowPrivilegeEscalation"),
            ("/securityContext", "runAsUser", json!(0), "runAsUser 0"),
            ("/securityContext", "runAsNonRoot", json!(false), "runAsNonRoot"),
            ("/securityContext", "seccompProfile", json!({"type": "Unconfined"}), "seccompProfile"),
            ("/securityContext", "sysctls", json!([{"name": "a", "value": "b"}]), "sysctls"),
            ("/securityContext", "seLinuxOptions", json!({"type": "spc_t"}), "seLinuxOptions"),
            (container, "ports", json!([{"containerPort": 1, "hostPort": 1}]), "hostPort"),
            (container, "livenessProbe", json!({"httpGet": {"host": "example.org"}}), "host of a probe"),
            (container, "lifecycle", json!({"preStop": {"tcpSocket": {"host": "a"}}}), "host of a probe"),
            ("/containers/0/securityContext", "privileged", json!(true), "privileged"),
            (
                "/containers/0/securityContext",
                "allowPrivilegeEscalation",
                json!(null),
                "allowPrivilegeEscalation",
            ),
            ("/containers/0/securityContext", "capabilities", json!({}), "lacks ALL"),
            (
                "/containers/0/securityContext",
                "capabilities",
                json!({"drop": ["ALL"], "add": ["NET_ADMIN"]}),
                "capabilities.add",
            ),
            ("/containers/0/securityContext", "runAsUser", json!(0), "runAsUser 0"),
            ("/containers/0/securityContext", "runAsNonRoot", json!(false), "runAsNonRoot"),
            ("/containers/0/securityContext", "procMount", json!("Unmasked"), "procMount"),
        ] {
            let mut spec = good();
            spec.pointer_mut(place).unwrap()[key] = value;
            let found = violations_of_spec(&spec);
            assert!(found.iter().any(|line| line.contains(expected)), "{place} {key}: {found:?}");
        }
    }
}
