//! A real ClickHouse for a test: the release binary `weighbridge clickhouse` on free ports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::processes::{Process, free_port, http_client, release_binary, tool};

/// Usually 0.3 s; the machine may be building at the same time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Usually 1 s.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A user beside `default`, which has no password.
pub const USER: &str = "loader";
/// Its password.
pub const PASSWORD: &str = "a-password-with-7-words";

/// A running server. Its data folder outlives it, so a test can start it again.
#[derive(Debug)]
pub struct ClickHouse {
    process: Process,
    /// Port of the HTTP interface.
    pub http_port: u16,
    client: reqwest::Client,
}

impl ClickHouse {
    /// Starts a server over `folder/clickhouse`, which is created when absent.
    pub async fn start(folder: &Path) -> Self {
        Self::start_on(folder, free_port()).await
    }

    /// Starts a server over `folder/clickhouse` on a given port: for a restart.
    pub async fn start_on(folder: &Path, http_port: u16) -> Self {
        Self::start_with(folder, http_port, None).await
    }

    /// Starts a server that others reach at `tcp_port`, with `cluster`, XML, added to its configuration.
    pub async fn start_in_cluster(folder: &Path, tcp_port: u16, cluster: &str) -> Self {
        let added = data(folder).join("weighbridge-config.d");
        std::fs::create_dir_all(&added).expect("a folder for the configuration");
        std::fs::write(added.join("cluster.xml"), format!("<clickhouse>{cluster}</clickhouse>"))
            .expect("a file of the configuration");
        Self::start_with(folder, free_port(), Some(tcp_port)).await
    }

    async fn start_with(folder: &Path, http_port: u16, tcp_port: Option<u16>) -> Self {
        add_user(&data(folder));
        let mut command = Command::new(release_binary("weighbridge"));
        command.arg("clickhouse").arg("--library").arg(tool("clickhouse/libchdb.so"));
        command.arg("--data").arg(data(folder)).args(["--http-port", &http_port.to_string()]);
        if let Some(port) = tcp_port {
            command.args(["--tcp-port", &port.to_string()]);
        }
        let mut process = Process::start("clickhouse", &command, folder);
        process.wait_for_http(&format!("http://127.0.0.1:{http_port}/ping"), START_LIMIT).await;
        Self { process, http_port, client: http_client() }
    }

    /// Where to send HTTP queries.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Runs one statement as the default user; its result as text. Panics with the server's message on an error.
    pub async fn query(&self, sql: &str) -> String {
        let answer = self.client.post(self.url()).body(sql.to_owned()).send().await;
        let answer =
            answer.unwrap_or_else(|error| panic!("ClickHouse did not answer: {error}; asked: {sql}"));
        let status = answer.status();
        let text = answer.text().await.expect("ClickHouse's answer");
        assert!(status.is_success(), "ClickHouse: {text}; asked: {sql}");
        text.trim_end().to_owned()
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends `kill -9`.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    /// Ends it in order; panics unless its status is 0.
    pub async fn stop(self) {
        let log = self.process.log();
        let status = self.process.terminate(STOP_LIMIT).await;
        let output = std::fs::read_to_string(log).unwrap_or_default();
        assert!(status.success(), "ClickHouse ended with {status}:\n{output}");
    }
}

/// ClickHouse merges the files of this folder into the file of users.
fn add_user(data: &Path) {
    let folder = data.join("weighbridge-users.d");
    std::fs::create_dir_all(&folder).expect("a folder for users");
    let text = format!(
        "<clickhouse><users><{USER}><password>{PASSWORD}</password><profile>default</profile><quota>default</quota>\
         <networks><ip>127.0.0.1</ip></networks></{USER}></users></clickhouse>"
    );
    std::fs::write(folder.join("user.xml"), text).expect("a file of users");
}

fn data(folder: &Path) -> PathBuf {
    folder.join("clickhouse")
}
