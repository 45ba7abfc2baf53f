//! Real Helm over the chart of `deploy/helm`, and the schemas of Kubernetes over what it renders.
//!
//! In: a file of values and a version of Kubernetes. Out: the objects as JSON, or Helm's words. Guarantees: no cluster and no network is
//! asked; what Helm refuses is an error and never an empty list. `make setup` installs both Helms and the schemas.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::processes::{root, tool};

/// Every minor version that the chart names, with schemas of its own.
pub const KUBE_VERSIONS: [&str; 10] =
    ["1.28.0", "1.29.0", "1.30.0", "1.31.0", "1.32.0", "1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0"];
/// Name and namespace of the release that is rendered.
pub const RELEASE: &str = "wb";
/// See `RELEASE`.
pub const NAMESPACE: &str = "measuring";
/// Kinds that need a definition of their own in the cluster; the schemas of Kubernetes do not know them.
pub const CUSTOM_KINDS: [(&str, &str); 6] = [
    ("cert-manager.io/v1", "Certificate"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("keda.sh/v1alpha1", "TriggerAuthentication"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
];

/// Which Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    V3,
    /// Helm 4.
    V4,
}

impl Helm {
    /// Both.
    pub const ALL: [Helm; 2] = [Helm::V3, Helm::V4];

    /// Its command, with folders of its own, so that nothing of the user's is read.
    pub fn command(self) -> Command {
        let mut command = Command::new(tool(match self {
            Helm::V3 => "helm/helm-v3",
            Helm::V4 => "helm/helm-v4",
        }));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") || name == "KUBECONFIG" {
                command.env_remove(name);
            }
        }
        let own = std::env::temp_dir().join("weighbridge-helm");
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, own.join(name));
        }
        command
    }

    /// `helm lint --strict`; what it said when it failed.
    ///
    /// # Errors
    /// What Helm found.
    pub fn lint(self, values: &Path) -> Result<(), String> {
        let mut command = self.command();
        command.args(["lint", "--strict", "--values"]).arg(values).arg(chart());
        said(&command.output().unwrap()).map(drop)
    }

    /// `helm template` of a chart: all objects as text.
    ///
    /// # Errors
    /// What Helm said.
    pub fn template(self, chart: &Path, values: &[&Path], kube_version: &str) -> Result<String, String> {
        let mut command = self.command();
        command.args(["template", RELEASE, "--namespace", NAMESPACE, "--kube-version", kube_version]);
        for file in values {
            command.arg("--values").arg(file);
        }
        said(&command.arg(chart).output().unwrap())
    }

    /// As `template`, of the chart, with values as text.
    ///
    /// # Errors
    /// What Helm said.
    pub fn template_text(self, values: &str, kube_version: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(values.as_bytes()).unwrap();
        self.template(&chart(), &[file.path()], kube_version)
    }
}

fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// The chart.
pub fn chart() -> PathBuf {
    root().join("deploy/helm/weighbridge")
}

/// The files of values that stand for how the chart is used.
pub fn values_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(chart().join("ci")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.iter().all(|file| file.to_string_lossy().ends_with("-values.yaml")), "{files:?}");
    files
}

/// A file of `ci/` by its name without `-values.yaml`.
pub fn values_file(name: &str) -> PathBuf {
    chart().join("ci").join(format!("{name}-values.yaml"))
}

/// The objects of the chart with a file of values, as Helm 4 renders them for a version of Kubernetes. Panics when it refuses.
pub fn render(values: &Path, kube_version: &str) -> Vec<Value> {
    let text = Helm::V4.template(&chart(), &[values], kube_version);
    objects(&text.unwrap_or_else(|failure| panic!("{}: {failure}", values.display())))
}

/// The objects in a text of many YAML documents.
pub fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML of Helm");
    documents.into_iter().filter(|object| !object.is_null()).collect()
}

/// `kind/name` of an object, for messages.
pub fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Kind and component of an object, `Deployment/load`.
pub fn part_of(object: &Value) -> String {
    let component = object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or("?");
    format!("{}/{component}", object["kind"].as_str().unwrap_or("?"))
}

/// Whether an object is of a kind that Kubernetes does not bring.
pub fn is_custom(object: &Value) -> bool {
    CUSTOM_KINDS.iter().any(|(version, kind)| object["apiVersion"] == *version && object["kind"] == *kind)
}

/// Strict validation against the schemas of Kubernetes, all in one run. In: version of Kubernetes, where the object comes from, the
/// object. Out: a line for each mistake.
pub fn schema_mistakes<'a>(objects: impl IntoIterator<Item = (&'a str, &'a str, &'a Value)>) -> Vec<String> {
    let mut python = Command::new(tool("kubernetes-validate/venv/bin/python"));
    let script = root().join("tests/src/helm/schemas.py");
    python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    for (version, source, object) in objects {
        let line = json!({"version": version, "source": source, "object": object});
        // A child that ended early is seen by its status.
        let _ = writeln!(input, "{line}");
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "schemas.py failed, see above");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
