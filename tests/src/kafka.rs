//! A real Apache Kafka node for a test, on free ports, through `scripts/kafka/run.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::processes::{Process, free_port, root, tool};
use crate::tls::Identity;

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
    secured_port: Option<u16>,
}

/// A user of a secured broker, by SASL PLAIN and SCRAM-SHA-512.
pub const USER: &str = "weighbridge";
/// Its password.
pub const PASSWORD: &str = "a-password-with-9-parts";

impl Kafka {
    /// Starts a broker over `folder/kafka`, which is formatted when it is new.
    pub async fn start(folder: &Path) -> Self {
        Self::start_on(folder, (free_port(), free_port())).await
    }

    /// Starts a broker on the ports of `ports()`: for a restart.
    pub async fn start_on(folder: &Path, ports: (u16, u16)) -> Self {
        Self::run(folder, ports, &[], None).await
    }

    /// The same with further listeners.
    pub async fn start_with(folder: &Path, ports: (u16, u16), listeners: &[Listener]) -> Self {
        Self::run(folder, ports, listeners, None).await
    }

    /// Starts a broker that has, beside the plain listener, one for TLS with SASL (PLAIN, SCRAM-SHA-512), for `USER`.
    pub async fn start_secured(folder: &Path, identity: &Identity) -> Self {
        Self::run(folder, (free_port(), free_port()), &[], Some(identity)).await
    }

    async fn run(
        folder: &Path,
        (port, controller_port): (u16, u16),
        listeners: &[Listener],
        secured: Option<&Identity>,
    ) -> Self {
        tool("kafka/libs");
        let mut command = Command::new(root().join("scripts/kafka/run.sh"));
        command.arg(folder.join("kafka")).args([port.to_string(), controller_port.to_string()]);
        command.args(listeners.iter().map(|one| format!("{}={}={}", one.name, one.port, one.advertised)));
        let secured_port = secured.map(|identity| {
            let secured_port = free_port();
            command.arg(secured_properties(folder, [port, controller_port, secured_port], identity));
            command.arg(format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"));
            secured_port
        });
        let mut process = Process::start("kafka", &command, folder);
        let bootstrap = format!("127.0.0.1:{port}");
        process.wait_until("Kafka answered", START_LIMIT, || answers(bootstrap.clone())).await;
        Self { process, port, controller_port, secured_port }
    }

    /// What clients connect to.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What clients with TLS and SASL connect to.
    pub fn secured_bootstrap(&self) -> String {
        format!("localhost:{}", self.secured_port.expect("a secured broker"))
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

/// A file of properties for a listener with TLS and SASL.
fn secured_properties(folder: &Path, ports: [u16; 3], identity: &Identity) -> PathBuf {
    let [port, controller_port, secured_port] = ports;
    let read = |path: &Path| std::fs::read_to_string(path).expect("a PEM file");
    // One file with key and certificate is what Kafka takes.
    let keystore = folder.join("kafka-keystore.pem");
    std::fs::write(&keystore, read(&identity.key) + &read(&identity.certificate)).expect("the keystore");
    let login = "org.apache.kafka.common.security";
    let text = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},SECURED://127.0.0.1:{secured_port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURED://localhost:{secured_port}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL\n\
         inter.broker.listener.name=PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={}\n\
         listener.name.secured.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
         listener.name.secured.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;\n",
        keystore.display()
    );
    let file = folder.join("kafka-secured.properties");
    std::fs::write(&file, text).expect("the properties");
    file
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
