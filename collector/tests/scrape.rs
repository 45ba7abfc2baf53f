//! The scraper against servers on loopback: formats, credentials, faults; and the whole collector over restarts.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;
use weighbridge_collector::config::{BasicAuth, ScrapeTarget};
use weighbridge_collector::scrape::{ScrapeError, Scraper};

const PAGE: &str = "vllm:request_params_n_count{model_name=\"qwen3-32b\"} 3\n";
const LIMIT: usize = 1_000_000;

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn target(url: String) -> ScrapeTarget {
    ScrapeTarget { url, model: String::new(), bearer_token_file: None, basic_auth: None, ca_file: None }
}

async fn page(target: &ScrapeTarget) -> Result<String, ScrapeError> {
    let page = Scraper::new(target, Duration::from_secs(2), LIMIT)?.page().await?;
    Ok(String::from_utf8(page).unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn plain_and_gzip_pages_and_faults_with_their_fix() {
    let zipped = |bytes: Vec<u8>| ([(header::CONTENT_ENCODING, "gzip")], bytes);
    let router = Router::new()
        .route("/plain", get(|| async { PAGE }))
        .route("/gzip", get(move || async move { zipped(gzip(PAGE.as_bytes())) }))
        .route("/broken", get(move || async move { zipped(b"no gzip".to_vec()) }))
        .route("/bomb", get(move || async move { zipped(gzip(&vec![b'#'; 4 * LIMIT])) }))
        .route("/large", get(|| async { "#".repeat(LIMIT + 1) }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }))
        .route("/moved", get(|| async { StatusCode::FOUND }));
    let base = format!("http://{}", serve(router).await);
    let ask = async |path: &str| page(&target(format!("{base}/{path}"))).await;
    assert_eq!(ask("plain").await.unwrap(), PAGE);
    assert_eq!(ask("gzip").await.unwrap(), PAGE);
    for (path, code) in
        [("broken", "encoding"), ("bomb", "too_large"), ("large", "too_large"), ("slow", "timeout")]
    {
        assert_eq!(ask(path).await.unwrap_err().code(), code, "{path}");
    }
    assert!(ask("absent").await.unwrap_err().to_string().contains("write the path of the metrics page"));
    assert_eq!(ask("moved").await.unwrap_err().code(), "status");
    assert_eq!(
        page(&target("http://127.0.0.1:1/metrics".to_owned())).await.unwrap_err().code(),
        "unreachable"
    );
}

#[tokio::test]
async fn credentials_are_read_from_their_files_at_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let echo = |headers: HeaderMap| async move {
        match headers.get(header::AUTHORIZATION) {
            Some(value) => value.to_str().unwrap().to_owned().into_response(),
            None => StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    let url = format!("http://{}/", serve(Router::new().route("/", get(echo))).await);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "one\n").unwrap();
    let bearer = ScrapeTarget { bearer_token_file: Some(secret.clone()), ..target(url.clone()) };
    let scraper = Scraper::new(&bearer, Duration::from_secs(2), LIMIT).unwrap();
    assert_eq!(scraper.page().await.unwrap(), b"Bearer one");
    std::fs::write(&secret, "two").unwrap();
    assert_eq!(scraper.page().await.unwrap(), b"Bearer two");
    let basic = BasicAuth { username: "user".to_owned(), password_file: secret };
    let basic = ScrapeTarget { basic_auth: Some(basic), ..target(url.clone()) };
    assert_eq!(page(&basic).await.unwrap(), "Basic dXNlcjp0d28=");
    let error = page(&target(url.clone())).await.unwrap_err().to_string();
    assert!(error.contains("give the target bearer_token_file or basic_auth"), "{error}");
    let absent = ScrapeTarget { bearer_token_file: Some(folder.path().join("absent")), ..target(url) };
    assert_eq!(page(&absent).await.unwrap_err().code(), "file");
}

#[tokio::test]
async fn tls_trusts_the_ca_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/metrics", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{PAGE}",
                PAGE.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let trusted = ScrapeTarget { ca_file: Some(ca_file), ..target(url.clone()) };
    assert_eq!(page(&trusted).await.unwrap(), PAGE);
    assert_eq!(page(&target(url)).await.unwrap_err().code(), "unreachable");
}

/// The real program over one target with windows of 10 s. Its ingest is not there: reports stay in spool and ledger.
struct Collector {
    child: Child,
}

impl Collector {
    fn start(folder: &Path, url: &str) -> Collector {
        let text = format!(
            "data_folder: {}\nenvironment: production\nwindow_s: 10\n\
             source: {{prometheus: {{profile: vllm, interval_s: 5, timeout_s: 1, targets: [{{url: '{url}'}}]}}}}\n\
             uplink: {{endpoint: 'http://127.0.0.1:1', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:0'}}\n",
            folder.display()
        );
        let config = folder.join("collector.yaml");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
        let child =
            command.args(["run", "--config"]).arg(config).env("WEIGHBRIDGE_LOG", "error").spawn().unwrap();
        Collector { child }
    }

    /// SIGTERM, and an end in order.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn requests_in_ledger(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default();
    let cells = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["cells"].take();
    text.lines()
        .flat_map(|line| cells(line).as_array().unwrap().clone())
        .map(|cell| cell["requests"].as_u64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_neither_loses_nor_repeats_what_the_counters_gain() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (requests, asked) = (Arc::new(AtomicU64::new(100)), Arc::new(AtomicU64::new(0)));
    let (value, scrapes) = (Arc::clone(&requests), Arc::clone(&asked));
    let answer = move || {
        let (value, scrapes) = (Arc::clone(&value), Arc::clone(&scrapes));
        async move {
            scrapes.fetch_add(1, Ordering::SeqCst);
            format!(
                "vllm:request_params_n_count{{model_name=\"qwen3-32b\"}} {}\n",
                value.load(Ordering::SeqCst)
            )
        }
    };
    let url = format!("http://{}/metrics", serve(Router::new().route("/metrics", get(answer))).await);
    // The page was taken when the next one is asked for.
    let scraped = async |times: u64| {
        let until = asked.load(Ordering::SeqCst) + times;
        for _ in 0..300 {
            if asked.load(Ordering::SeqCst) >= until {
                return tokio::time::sleep(Duration::from_millis(300)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not scraped within 30 s");
    };

    // First contact is a baseline, and stays it when the very first window is never sealed.
    let collector = Collector::start(folder, &url);
    scraped(1).await;
    requests.fetch_add(2, Ordering::SeqCst);
    collector.kill();

    // What comes then counts, the last of it by the final scrape.
    let collector = Collector::start(folder, &url);
    scraped(1).await;
    requests.fetch_add(3, Ordering::SeqCst);
    collector.stop();
    assert_eq!(requests_in_ledger(folder), 5);

    // Away: 7. Then 2.
    requests.fetch_add(7, Ordering::SeqCst);
    let collector = Collector::start(folder, &url);
    scraped(1).await;
    requests.fetch_add(2, Ordering::SeqCst);
    collector.stop();
    assert_eq!(requests_in_ledger(folder), 14);

    // Killed after it had scraped 11 and before they were sealed, or after: they count once either way.
    for growth in [11, 13, 17] {
        let collector = Collector::start(folder, &url);
        scraped(1).await;
        requests.fetch_add(growth, Ordering::SeqCst);
        scraped(1 + growth % 2).await;
        collector.kill();
    }
    let collector = Collector::start(folder, &url);
    scraped(1).await;
    collector.stop();
    assert_eq!(requests_in_ledger(folder), 14 + 11 + 13 + 17);
}
