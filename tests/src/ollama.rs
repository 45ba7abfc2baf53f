//! The real Ollama for a test, with tiny models under real names.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::gguf::tiny_llama;
use crate::processes::{Process, free_port, http_client, tool};

/// It starts in a second; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(120);

/// A running Ollama.
#[derive(Debug)]
pub struct Ollama {
    process: Process,
    port: u16,
}

impl Ollama {
    /// Starts it with a model under each of `names`.
    pub async fn start(folder: &Path, names: &[&str]) -> Ollama {
        let port = free_port();
        let own = folder.join("ollama");
        std::fs::create_dir(&own).expect("a folder for Ollama");
        let mut command = Command::new(tool("ollama/ollama"));
        command.arg("serve").env("OLLAMA_HOST", format!("127.0.0.1:{port}")).env("HOME", &own);
        command.env("OLLAMA_MODELS", own.join("models")).env("OLLAMA_NUM_PARALLEL", "2");
        let mut process = Process::start("ollama", &command, folder);
        let ollama = format!("http://127.0.0.1:{port}");
        process.wait_for_http(&format!("{ollama}/api/version"), LIMIT).await;
        let model = tiny_llama(1);
        let file = own.join("tiny.gguf");
        std::fs::write(&file, &model).expect("a model");
        let digest = digest(&file);
        let client = http_client();
        let stored = client.post(format!("{ollama}/api/blobs/{digest}")).body(model).send().await;
        assert!(stored.expect("Ollama answers").status().is_success(), "the model is stored");
        for name in names {
            let body = json!({"model": name, "files": {"tiny.gguf": digest}, "stream": false});
            let created = client.post(format!("{ollama}/api/create")).json(&body).send().await;
            let created = created.expect("Ollama answers").text().await.expect("Ollama answers");
            assert!(created.contains("success"), "{name}: {created}");
        }
        Ollama { process, port }
    }

    /// The base address, without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lines of its log about requests: `200 POST /api/chat`.
    pub fn requests(&self) -> Vec<String> {
        let line = |line: &str| {
            let fields: Vec<&str> = line.strip_prefix("[GIN] ")?.split('|').map(str::trim).collect();
            let [_, status, _, _, request] = fields[..] else { return None };
            let mut words = request.split_whitespace();
            Some(format!("{status} {} {}", words.next()?, words.next()?.trim_matches('"')))
        };
        self.process.output().lines().filter_map(line).collect()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.terminate(LIMIT).await;
    }
}

/// By the system's `sha256sum`.
fn digest(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("sha256sum (coreutils)");
    let text = String::from_utf8(output.stdout).expect("a digest");
    format!("sha256:{}", text.split_whitespace().next().expect("a digest"))
}
