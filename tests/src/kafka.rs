//! A real Apache Kafka node for a test, on free ports, through `scripts/kafka/run.sh`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::processes::{Process, free_port, root, tool};

/// Formatting and starting take 5 s on two idle cores; the machine may be building at the same time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Usually 2 s.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// One request to the broker.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// A port of the broker of its own, whose clients are told another one: that of a proxy before it.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Capital letters.
    pub name: String,
    /// Where the broker listens.
    pub port: u16,
    /// Where clients connect.
    pub advertised: u16,
}

/// A running broker. Its data folder outlives it, so a test can start it again.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    port: u16,
    controller_port: u16,
}

impl Kafka {
    /// Starts a broker over `folder/kafka`, which is formatted when it is new.
    pub async fn start(folder: &Path) -> Self {
        Self::start_on(folder, (free_port(), free_port())).await
    }

    /// Starts a broker on the ports of `ports()`: for a restart.
    pub async fn start_on(folder: &Path, ports: (u16, u16)) -> Self {
        Self::start_with(folder, ports, &[]).await
    }

    /// The same with further listeners.
    pub async fn start_with(
        folder: &Path,
        (port, controller_port): (u16, u16),
        listeners: &[Listener],
    ) -> Self {
        tool("kafka/libs");
        let mut command = Command::new(root().join("scripts/kafka/run.sh"));
        command.arg(folder.join("kafka")).args([port.to_string(), controller_port.to_string()]);
        let more = listeners.iter().map(|one| format!("{}={}={}", one.name, one.port, one.advertised));
        command.args(more);
        let mut process = Process::start("kafka", &command, folder);
        let bootstrap = format!("127.0.0.1:{port}");
        process.wait_until("Kafka answered", START_LIMIT, || answers(bootstrap.clone())).await;
        Self { process, port, controller_port }
    }

    /// What clients connect to.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The broker's and the controller's port.
    pub fn ports(&self) -> (u16, u16) {
        (self.port, self.controller_port)
    }

    /// A client configuration with the broker's address.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    /// Creates a topic. Panics when the broker refuses.
    pub async fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> =
            self.client_config().create().expect("Kafka admin client");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options =
            AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT)).request_timeout(Some(REQUEST_LIMIT));
        let results = admin.create_topics([&topic], &options).await.expect("Kafka did not answer");
        for result in results {
            result.unwrap_or_else(|(topic, code)| panic!("Kafka refused to create {topic}: {code}"));
        }
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends `kill -9`.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    /// Ends it in order.
    pub async fn stop(self) {
        // The JVM reports the signal in its status: 143.
        self.process.terminate(STOP_LIMIT).await;
    }
}

/// Whether the broker lists itself. The client is a blocking one, so it gets a thread of its own.
async fn answers(bootstrap: String) -> bool {
    let look = move || {
        if std::net::TcpStream::connect(&bootstrap).is_err() {
            return false;
        }
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("log_level", "0")
            .create()
            .expect("Kafka admin client");
        admin
            .inner()
            .fetch_metadata(None, Duration::from_secs(3))
            .is_ok_and(|found| !found.brokers().is_empty())
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}
