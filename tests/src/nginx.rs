//! The real nginx for a test, over the fake provider, with a JSON access log as its profile documents it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::processes::{Process, free_port, tool};
use crate::scenario::canaries;

/// It starts in milliseconds; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// How long it waits for the provider: less than `SLOW_ANSWER`, more than any other answer takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
}

impl Nginx {
    /// Starts it in front of the provider at `upstream` (`host:port`), with its log in `log`.
    pub async fn start(folder: &Path, upstream: &str, log: &Path) -> Nginx {
        let port = free_port();
        let own = folder.join("nginx");
        std::fs::create_dir(&own).expect("a folder for nginx");
        let config = folder.join("nginx.conf");
        let text = include_str!("nginx.conf")
            .replace("$FOLDER", &own.display().to_string())
            .replace("$FILE", &log.display().to_string())
            .replace("$UPSTREAM", upstream)
            .replace("$PORT", &port.to_string())
            .replace("$KEY", canaries::KEY)
            .replace("$TIMEOUT", &TIMEOUT.as_secs().to_string());
        std::fs::write(&config, text).expect("nginx's configuration");
        let mut command = Command::new(tool("nginx/usr/sbin/nginx"));
        command.args(["-e", "stderr", "-p"]).arg(&own).arg("-c").arg(&config);
        let mut process = Process::start("nginx", &command, folder);
        process.wait_for_http(&format!("http://127.0.0.1:{port}/ready"), LIMIT).await;
        Nginx { process, port }
    }

    /// The base address, without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.terminate(LIMIT).await;
    }
}
