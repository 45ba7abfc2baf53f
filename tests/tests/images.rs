//! The container images, from the delivered binaries and the real container files: what is in them, as whom they run, and that
//! they do their work in a container that gives them nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weighbridge_tests::podman::{Container, Image};
use weighbridge_tests::processes::{free_port, http_client, root};
use weighbridge_tests::simple_ingest::SimpleIngest;

/// Bound of every wait.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the test's name server listens; nothing else uses this address of loopback.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 53);
const USER: &str = "65532\t65532\t65532\t65532";

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn answers(url: &str) -> bool {
    http_client().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// All files below a folder, by their path in the image; none may have special rights, or be writable by all.
fn files(folder: &Path, below: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode();
        assert_eq!(mode & 0o7000, 0, "{} has special rights", path.display());
        assert!(metadata.is_symlink() || mode & 0o002 == 0, "{} is writable by all", path.display());
        if metadata.is_dir() {
            files(folder, &path, found);
        } else {
            found.insert(format!("/{}", path.strip_prefix(folder).unwrap().display()));
        }
    }
}

/// Checks what an image holds: `binaries` and shared libraries, and otherwise only what is named here: no shell.
fn holds(image: &Image, binaries: &[&str]) -> BTreeSet<String> {
    assert_eq!(image.field("{{.Config.User}}"), "65532:65532");
    let mut found = BTreeSet::new();
    image.look(|folder| files(folder, folder, &mut found));
    for binary in binaries {
        assert!(found.remove(*binary), "{binary} is not in {found:?}");
    }
    for common in ["/etc/nsswitch.conf", "/etc/ssl/certs/ca-certificates.crt", "/usr/lib/ssl/cert.pem"] {
        assert!(found.remove(common), "{common} is not in {found:?}");
    }
    // Podman's own, where a container gets the machine's names.
    found.retain(|path| {
        !["/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/mtab"].contains(&path.as_str())
    });
    for library in &found {
        let is_library =
            library.contains(".so") && (library.starts_with("/lib") || library.starts_with("/usr/lib"));
        assert!(is_library, "{library} is neither the binary nor a shared library");
    }
    found
}

/// Answers every question for an IPv4 address with 127.0.0.1, as long as the test runs, and every other with none.
fn name_server() {
    let socket =
        UdpSocket::bind((NAME_SERVER, 53)).expect("port 53 of a loopback address; run the tests as root");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            let name_end = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
            let is_address = answer[name_end..name_end + 2] == [0, 1];
            // One question, no additional records; response, recursion available, no error.
            answer.truncate(name_end + 4);
            (answer[2], answer[3]) = (0x81, 0x80);
            answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
            if is_address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

fn span(id: u32) -> String {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"scope":{{"name":"litellm"}},"spans":[{{"kind":3,"spanId":"{id:016x}","traceId":"{id:032x}","startTimeUnixNano":"{now_s}000000000","endTimeUnixNano":"{now_s}000000000","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.provider.name","value":{{"stringValue":"openai"}}}},{{"key":"gen_ai.request.model","value":{{"stringValue":"gpt-4o"}}}}]}}]}}]}}]}}"#
    )
}

/// The option that mounts a configuration where the image looks for it, readable by its user.
fn mounted(folder: &Path, name: &str, config: &str) -> String {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(folder.join(name), config).unwrap();
    format!("--volume={}:/etc/weighbridge/{name}:ro", folder.join(name).display())
}

async fn serves(container: &Container, url: &str) {
    let deadline = Instant::now() + LIMIT;
    while !answers(url).await {
        assert!(Instant::now() < deadline, "{url} did not answer:\n{}", container.logs());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn post_span(port: u16, id: u32) {
    let request = http_client().post(format!("http://127.0.0.1:{port}/v1/traces"));
    let answer = request.header("content-type", "application/json").body(span(id)).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

// Ingest answers while Podman is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_counts_drains_and_ends_in_an_image_of_one_static_binary() {
    let image = Image::build("collector");
    assert!(holds(&image, &["/weighbridge-collector"]).is_empty(), "static");
    let version = image.output(&[], &["--version"]);
    assert!(said(&version).starts_with("weighbridge-collector "), "{version:?}");
    let folder = tempfile::tempdir().unwrap();
    let sample = root().join("deploy/config/collector.yaml");
    let mount = format!("--volume={}:/etc/weighbridge/collector.yaml:ro", sample.display());
    let validated = image.output(&[&mount], &["validate", "--config", "/etc/weighbridge/collector.yaml"]);
    assert!(validated.status.success() && said(&validated).contains("valid: counts"), "{validated:?}");

    name_server();
    let ingest = SimpleIngest::start().await;
    let [otlp, admin] = [(); 2].map(|()| free_port());
    let config = format!(
        "data_folder: /var/lib/weighbridge\nenvironment: production\nwindow_s: 3600\n\
         source: {{otlp: {{profile: litellm, signal: traces, grpc_listen: null, http_listen: '127.0.0.1:{otlp}'}}}}\n\
         uplink: {{endpoint: 'http://ingest.example.test:{}'}}\nadmin: {{listen: '0.0.0.0:{admin}'}}\n",
        ingest.port()
    );
    let mounted = mounted(folder.path(), "collector.yaml", &config);
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(&resolv, format!("nameserver {NAME_SERVER}\n")).unwrap();
    // As an emptyDir is: of root, writable by all.
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o777)).unwrap();
    let options = [
        &*mounted,
        &format!("--volume={}:/etc/resolv.conf:ro", resolv.display()),
        &format!("--volume={}:/var/lib/weighbridge", data.display()),
    ];
    let container = image.run(&options, &[]);
    serves(&container, &format!("http://127.0.0.1:{admin}/livez")).await;
    assert_eq!(container.status("Uid"), USER);
    assert_eq!(container.status("CapEff"), "0000000000000000");
    assert_eq!(container.status("NoNewPrivs"), "1");
    assert!(container.status("NSpid").ends_with("\t1"), "the first process of its container");
    for id in 1..=20 {
        post_span(otlp, id).await;
    }
    let admin = format!("127.0.0.1:{admin}");
    let drained = container.exec(&["/weighbridge-collector", "drain", "--admin", &admin, "--wait-s", "30"]);
    assert!(
        drained.status.success() && said(&drained).contains("is acknowledged"),
        "{drained:?}\n{}",
        container.logs()
    );
    assert_eq!(ingest.requests(), 20, "by a name that DNS knows");
    assert!(!container.exec(&["/bin/sh", "-c", "true"]).status.success(), "no shell");
    post_span(otlp, 99).await;
    assert_eq!(container.stop(), 0, "{}", container.logs());
    assert_eq!(ingest.requests(), 21);
}

#[tokio::test]
async fn the_aggregator_runs_with_exactly_its_libraries() {
    let image = Image::build("aggregator");
    let libraries = holds(&image, &["/weighbridge-aggregator"]);
    assert!(libraries.iter().any(|library| library.contains("libssl.so")), "{libraries:?}");
    let version = image.output(&[], &["--version"]);
    assert!(said(&version).starts_with("weighbridge-aggregator "), "{version:?}");
    let folder = tempfile::tempdir().unwrap();
    let [listen, admin, kafka] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let config = format!(
        "kafka: {{bootstrap_servers: '{kafka}'}}\ningest: {{listen: '{listen}'}}\nadmin: {{listen: '{admin}'}}\n"
    );
    let mounted = mounted(folder.path(), "aggregator.yaml", &config);
    let options = [&*mounted];
    let container = image.run(&options, &["ingest"]);
    serves(&container, &format!("http://{admin}/livez")).await;
    assert_eq!(
        (container.status("Uid").as_str(), container.status("CapEff").as_str()),
        (USER, "0000000000000000")
    );
    assert_eq!(container.stop(), 0, "{}", container.logs());
}

#[tokio::test]
async fn the_standalone_program_serves_with_its_own_clickhouse() {
    let image = Image::build("standalone");
    let libraries = holds(&image, &["/weighbridge"]);
    assert!(libraries.contains("/usr/lib/weighbridge/libchdb.so"), "{libraries:?}");
    let [grpc, http, admin, clickhouse] = [(); 4].map(|()| free_port().to_string());
    let arguments = ["serve", "--data", "/var/lib/weighbridge", "--grpc-port", &grpc, "--http-port", &http];
    let more = ["--admin-port", &admin, "--clickhouse-port", &clickhouse, "--window-s", "3600"];
    // A volume takes the owner of the image's folder.
    let container = image.run(&["--volume=/var/lib/weighbridge"], &[&arguments[..], &more].concat());
    serves(&container, &format!("http://127.0.0.1:{admin}/readyz")).await;
    assert_eq!(
        (container.status("Uid").as_str(), container.status("CapEff").as_str()),
        (USER, "0000000000000000")
    );
    post_span(http.parse().unwrap(), 7).await;
    let admin = format!("127.0.0.1:{admin}");
    let request = http_client().post(format!("http://{admin}/drain?wait_ms=30000"));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200, "acknowledged");
    let url = format!("http://127.0.0.1:{clickhouse}");
    let sql = "SELECT sum(requests) FROM weighbridge.ledger FINAL";
    until("the request in ClickHouse", async || {
        let answer = http_client().post(&url).body(sql).send().await.unwrap();
        answer.text().await.unwrap().trim() == "1"
    })
    .await;
    let split = container.exec(&["/weighbridge", "split", "--clickhouse", &url]);
    assert!(split.status.success(), "{}", said(&split));
    assert_eq!(container.stop(), 0, "{}", container.logs());
}
