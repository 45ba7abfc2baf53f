//! A real Kubernetes API server for a test: kube-apiserver over etcd on free ports of 127.0.0.1, and kubectl to speak with it.
//!
//! Guarantees: everything that an API server does by itself is real: schemas, defaults, validation, Pod Security, admission policies,
//! custom resources. There is no controller, scheduler or kubelet: a Deployment makes no pods and a pod never runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::processes::{Process, free_port, root, tool};
use crate::tls::Authority;

/// Usually 5 s; the machine may be building at the same time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A policy is active within a second.
const POLICY_LIMIT: Duration = Duration::from_secs(60);
const POLICY_LOOK: Duration = Duration::from_millis(200);
/// Certificates are made for the test.
const LATER: i32 = 2100;
/// The administrator's; only this test's own server knows it.
const TOKEN: &str = "the-token-of-a-test";

/// A running API server.
#[derive(Debug)]
pub struct ApiServer {
    _etcd: Process,
    _server: Process,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl ApiServer {
    /// Starts both programs; their data and logs go to `folder`.
    pub async fn start(folder: &Path) -> ApiServer {
        let (etcd_port, port) = (free_port(), free_port());
        let mut etcd = Command::new(tool("kubernetes/etcd"));
        etcd.arg("--data-dir").arg(folder.join("etcd"));
        etcd.args(["--unsafe-no-fsync", "--log-level", "warn", "--advertise-client-urls", &at(etcd_port)]);
        etcd.args(["--listen-client-urls", &at(etcd_port), "--listen-peer-urls", &at(free_port())]);
        let mut etcd = Process::start("etcd", &etcd, folder);
        etcd.wait_for_http(&format!("{}/health", at(etcd_port)), START_LIMIT).await;

        let authority = Authority::new(folder, "kubernetes");
        let identity = authority.certify(folder, "kube-apiserver", LATER);
        let users = folder.join("users.csv");
        std::fs::write(&users, format!("{TOKEN},admin,admin,system:masters\n")).expect("a file of users");
        let mut server = Command::new(tool("kubernetes/kube-apiserver"));
        server.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
        server.args(["--etcd-servers", &at(etcd_port), "--authorization-mode", "RBAC"]);
        server.arg("--token-auth-file").arg(users).arg("--tls-cert-file").arg(&identity.certificate);
        server.arg("--tls-private-key-file").arg(&identity.key).arg("--cert-dir").arg(folder);
        // There is nobody to make service accounts for pods.
        server.args(["--disable-admission-plugins", "ServiceAccount"]);
        server.args(["--service-account-issuer", "https://kubernetes.test"]);
        server.arg("--service-account-key-file").arg(&identity.certificate);
        server.arg("--service-account-signing-key-file").arg(&identity.key);
        let mut server = Process::start("kube-apiserver", &server, folder);

        let kubeconfig = folder.join("kubeconfig");
        let text = kubeconfig_text(port, authority.file());
        std::fs::write(&kubeconfig, text).expect("kubectl's configuration");
        let kubectl = Kubectl { folder, kubeconfig: &kubeconfig };
        server
            .wait_until("the API server was ready", START_LIMIT, || async {
                kubectl.run(&["get", "--raw", "/readyz"], "").is_ok()
            })
            .await;
        ApiServer { _etcd: etcd, _server: server, folder: folder.to_owned(), kubeconfig }
    }

    fn kubectl(&self) -> Kubectl<'_> {
        Kubectl { folder: &self.folder, kubeconfig: &self.kubeconfig }
    }

    /// Runs kubectl with `input` on its standard input: what it printed and what it warned of, or what it said instead.
    ///
    /// # Errors
    /// kubectl's exit code is not 0.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<Answer, String> {
        self.kubectl().run(arguments, input)
    }

    /// The same; panics with kubectl's message.
    pub fn run(&self, arguments: &[&str], input: &str) -> Answer {
        self.try_kubectl(arguments, input)
            .unwrap_or_else(|error| panic!("kubectl {}: {error}\n{input}", arguments.join(" ")))
    }

    /// Creates the object, which may be changed on its way in, and gives it as it is stored.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn create(&self, object: &Value) -> Result<Value, String> {
        let answer = self.try_kubectl(
            &["create", "--validate=strict", "--output=json", "--filename=-"],
            &object.to_string(),
        )?;
        Ok(serde_json::from_str(&answer.output).expect("an object"))
    }

    /// A namespace with labels; Pod Security admits only what is `restricted`, and warns of pod templates that are not.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let mut yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n");
        yaml.push_str("    pod-security.kubernetes.io/enforce: restricted\n");
        yaml.push_str("    pod-security.kubernetes.io/warn: restricted\n");
        for (key, value) in labels {
            writeln!(yaml, "    {key}: \"{value}\"").expect("text");
        }
        self.run(&["apply", "--server-side", "--filename=-"], &yaml);
    }

    /// Asks the API server, without storing anything, whether it takes the objects of `yaml`: strictly, so that a field which
    /// it does not know is refused. Gives its warnings.
    ///
    /// # Errors
    /// It refuses one.
    pub fn dry_run(&self, namespace: Option<&str>, yaml: &str) -> Result<String, String> {
        let mut arguments = vec!["apply", "--server-side", "--dry-run=server", "--validate=strict"];
        arguments.extend(namespace.map(|_| "--namespace"));
        arguments.extend(namespace);
        arguments.push("--filename=-");
        self.try_kubectl(&arguments, yaml).map(|answer| answer.warnings)
    }

    /// Runs one line of a document in `folder` as a shell does, with kubectl and `programs` on its path. Gives what it printed.
    ///
    /// # Errors
    /// Its exit code is not 0.
    pub fn shell(&self, line: &str, folder: &Path, programs: &Path) -> Result<String, String> {
        let kubectl = tool("kubernetes/kubectl");
        let tools = kubectl.parent().expect("a folder").display();
        let mut command = Command::new("sh");
        command.args(["-euc", line]).current_dir(folder).env_clear();
        command.env("PATH", format!("{tools}:{}:/usr/bin:/bin", programs.display()));
        command.env("HOME", &self.folder).env("KUBECONFIG", &self.kubeconfig);
        answer(&mut command, "").map(|answer| answer.output)
    }

    /// Repeats `attempt` until it gives something: for admission policies, of which nothing tells when they are active.
    pub async fn until<T>(&self, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + POLICY_LIMIT;
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} did not come within {POLICY_LIMIT:?}");
            sleep(POLICY_LOOK).await;
        }
    }
}

/// What kubectl printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Standard output.
    pub output: String,
    /// Standard error: the API server's warnings.
    pub warnings: String,
}

struct Kubectl<'a> {
    folder: &'a Path,
    kubeconfig: &'a Path,
}

impl Kubectl<'_> {
    fn run(&self, arguments: &[&str], input: &str) -> Result<Answer, String> {
        let mut command = Command::new(tool("kubernetes/kubectl"));
        command.env_clear().env("HOME", self.folder).env("KUBECONFIG", self.kubeconfig);
        answer(command.args(arguments), input)
    }
}

fn answer(command: &mut Command, input: &str) -> Result<Answer, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // All of the input before any output is read: kubectl reads its standard input to the end first. A program that ends
    // without reading says why on standard error.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("output of a child process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (output, said) = ((output.status, text(&output.stdout)), text(&output.stderr));
    if output.0.success() { Ok(Answer { output: output.1, warnings: said }) } else { Err(said) }
}

/// What `kubectl kustomize FOLDER` prints.
///
/// # Errors
/// The kustomization cannot be built.
pub fn kustomize(folder: &Path) -> Result<String, String> {
    let mut command = Command::new(tool("kubernetes/kubectl"));
    command.env_clear().arg("kustomize").arg(folder).current_dir(root());
    answer(&mut command, "").map(|answer| answer.output)
}

/// The documents of a YAML text. Panics when it is none.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// Documents as one text that kubectl reads.
pub fn as_stream(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("---\n{document}\n")).collect()
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn kubeconfig_text(port: u16, authority: &Path) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: test, user: {{token: {TOKEN}}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
        authority.display()
    )
}
