//! Scrapes `/metrics` pages: the network side of Prometheus sources.
//!
//! In: targets with their addresses and credentials. Out: pages, handed to `Gate`. Each target is asked every `interval_s`, spread
//! over the interval, every second while draining, because the gateway and its page may be gone before SIGTERM comes, and once more
//! at shutdown, so that the last window is whole.
//! Guarantees: pages are bounded before and after decompression, every request by `timeout_s`; a target that fails is told once
//! when it begins to fail and once when it answers again, by its place in the configuration; nothing of a page, and no credential, is
//! logged. Secrets are read from their files at every request, so a rotation needs no restart.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{PrometheusSource, ScrapeTarget};
use crate::count::MetTarget;
use crate::deliver::state_file::StateFile;
use crate::discard::Refusal;
use crate::message::chain;
use crate::profile::prometheus::Target;
use crate::profile::rules::{self, NativeOnly};
use crate::receiver::Gate;
use crate::tls::{TlsError, client_config};

/// Text first: OpenMetrics tells when a series began, the older format is understood by all.
pub(crate) const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Interval while draining.
const DRAINING_INTERVAL: Duration = Duration::from_secs(1);

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// A file with a credential or certificates.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificates.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The address.
    #[error("url is none")]
    Address,
    /// A credential.
    #[error("the credential holds a letter that no header may hold")]
    Credential,
    /// No connection, or it broke.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within scrape timeout_s")]
    Timeout,
    /// An answer that is no page.
    #[error("answered {0}{1}")]
    Status(StatusCode, &'static str),
    /// Histograms that the text format cannot hold.
    #[error("answered {status}, as it does when its histograms are native only: {fix}")]
    NativeHistograms {
        /// The answer.
        status: StatusCode,
        /// What to write in the gateway's configuration.
        fix: String,
    },
    /// The page.
    #[error("{0}")]
    Refused(Refusal),
}

impl ScrapeError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            ScrapeError::File { .. } => "file",
            ScrapeError::Tls(_) => "tls",
            ScrapeError::Address => "address",
            ScrapeError::Credential => "credential",
            ScrapeError::Unreachable(_) => "unreachable",
            ScrapeError::Timeout => "timeout",
            ScrapeError::Status(..) => "status",
            ScrapeError::NativeHistograms { .. } => "native_histograms",
            ScrapeError::Refused(refusal) => refusal.name(),
        }
    }
}

/// What the scraper did.
#[derive(Debug, Default)]
pub struct ScrapeStats {
    /// Pages counted.
    pub pages: AtomicU64,
    /// Requests that gave no page.
    pub failed: AtomicU64,
}

/// An HTTP client that trusts what a target says.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// The client for `target`.
///
/// # Errors
/// Its certificates cannot be read.
pub(crate) fn client(target: &ScrapeTarget) -> Result<HttpClient, ScrapeError> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(client_config(target.ca_file.as_deref(), &target.url)?)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Asks one target.
#[derive(Clone)]
pub struct Scraper {
    client: HttpClient,
    target: ScrapeTarget,
    uri: Uri,
    timeout: Duration,
    max_bytes: usize,
    native_only: Option<NativeOnly>,
}

impl Scraper {
    /// Reads the certificates of `target`.
    ///
    /// # Errors
    /// They cannot be read, or the address is none.
    pub fn new(target: &ScrapeTarget, timeout: Duration, max_bytes: usize) -> Result<Scraper, ScrapeError> {
        let uri = target.url.parse().map_err(|_| ScrapeError::Address)?;
        let client = client(target)?;
        Ok(Scraper { client, target: target.clone(), uri, timeout, max_bytes, native_only: None })
    }

    /// Tells a page with native histograms only apart from other faults.
    #[must_use]
    pub fn with_native_only(self, native_only: Option<NativeOnly>) -> Scraper {
        Scraper { native_only, ..self }
    }

    /// The page, decompressed.
    ///
    /// # Errors
    /// See `ScrapeError`.
    pub async fn page(&self) -> Result<Vec<u8>, ScrapeError> {
        tokio::time::timeout(self.timeout, self.ask()).await.unwrap_or(Err(ScrapeError::Timeout))
    }

    async fn ask(&self) -> Result<Vec<u8>, ScrapeError> {
        let mut request =
            Request::get(self.uri.clone()).header(ACCEPT, ACCEPTED).header(ACCEPT_ENCODING, "gzip");
        if let Some(value) = authorization(&self.target)? {
            request = request.header(AUTHORIZATION, value);
        }
        let unreachable = |error: &dyn std::error::Error| ScrapeError::Unreachable(chain(error));
        let request = request.body(Empty::new()).map_err(|error| unreachable(&error))?;
        let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if let Some(native) = self.native_only.as_ref().filter(|native| native.status == status.as_u16()) {
            return Err(ScrapeError::NativeHistograms { status, fix: native.fix.clone() });
        }
        if status != StatusCode::OK {
            let fix = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    "; give the target bearer_token_file or basic_auth"
                }
                StatusCode::NOT_FOUND => "; write the path of the metrics page in url",
                _ => "",
            };
            return Err(ScrapeError::Status(status, fix));
        }
        let encoding = answer.headers().get(CONTENT_ENCODING).cloned();
        let body = Limited::new(answer.into_body(), self.max_bytes).collect().await;
        // The only other fault is a broken connection, which is told the same way by the next request.
        let body = body.map_err(|_| ScrapeError::Refused(Refusal::TooLarge))?.to_bytes();
        match encoding.as_ref().map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(body.to_vec()),
            Some(b"gzip") => gunzip(&body, self.max_bytes).map_err(ScrapeError::Refused),
            Some(_) => Err(ScrapeError::Refused(Refusal::Encoding)),
        }
    }
}

pub(crate) fn gunzip(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut page = Vec::new();
    let limit = max_bytes as u64 + 1;
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut page).map_err(|_| Refusal::Encoding)?;
    if page.len() > max_bytes { Err(Refusal::TooLarge) } else { Ok(page) }
}

fn read_secret(path: &Path) -> Result<String, ScrapeError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScrapeError::File { path: path.to_path_buf(), source })?;
    Ok(text.trim().to_owned())
}

pub(crate) fn authorization(target: &ScrapeTarget) -> Result<Option<HeaderValue>, ScrapeError> {
    let text = match (&target.bearer_token_file, &target.basic_auth) {
        (Some(path), _) => format!("Bearer {}", read_secret(path)?),
        (None, Some(basic)) => {
            let pair = format!("{}:{}", basic.username, read_secret(&basic.password_file)?);
            format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
        }
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ScrapeError::Credential)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// When scraping ends, and when its end comes near.
#[derive(Clone, Debug)]
pub struct Ends {
    /// After one more page.
    pub shutdown: CancellationToken,
    /// From then on every second (`drain`).
    pub draining: CancellationToken,
}

/// Scrapes every target until it is told to end, and once more then.
///
/// # Errors
/// A target's certificates cannot be read.
pub fn start(
    tasks: &mut JoinSet<()>,
    source: &PrometheusSource,
    gate: &Gate,
    state_file: &StateFile,
    stats: &Arc<ScrapeStats>,
    ends: &Ends,
) -> Result<(), ScrapeError> {
    let interval = Duration::from_secs(source.interval_s);
    // The profile was read when the configuration was checked.
    let native_only = rules::named(&source.profile).ok().and_then(|profile| profile.prometheus.native_only);
    for (place, target) in source.targets.iter().enumerate() {
        let scraper = Scraper::new(target, Duration::from_secs(source.timeout_s), gate.max_body_bytes())?
            .with_native_only(native_only.clone());
        let (gate, stats, ends) = (gate.clone(), Arc::clone(stats), ends.clone());
        let state_file = state_file.clone();
        // Spread, so that not all pages are in memory at once.
        let delay = interval / source.targets.len() as u32 * place as u32;
        let ticks = tokio::time::interval_at(tokio::time::Instant::now() + delay, interval);
        tasks.spawn(async move { run(place, scraper, ticks, &gate, &state_file, &stats, &ends).await });
    }
    Ok(())
}

async fn run(
    place: usize,
    scraper: Scraper,
    mut ticks: tokio::time::Interval,
    gate: &Gate,
    state_file: &StateFile,
    stats: &ScrapeStats,
    ends: &Ends,
) {
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut is_failing, mut is_several, mut is_draining) = (false, false, false);
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = ends.draining.cancelled(), if !is_draining => {
                is_draining = true;
                ticks = tokio::time::interval(ticks.period().min(DRAINING_INTERVAL));
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                continue;
            }
            () = ends.shutdown.cancelled() => true,
        };
        let target = Target { url: &scraper.target.url, model: &scraper.target.model };
        let keep = |met: &MetTarget, mark: u64| {
            if let Err(error) = state_file.add(met, mark) {
                tracing::warn!(target = place, %error, "the target's first values are not kept; a crash before the next report would lose a part");
            }
        };
        let counted = match scraper.page().await {
            Ok(page) => gate.take_page(&page, target, keep).map_err(ScrapeError::Refused),
            Err(error) => Err(error),
        };
        match counted {
            Ok(is_one) => {
                stats.pages.fetch_add(1, Ordering::Relaxed);
                if is_failing {
                    tracing::info!(target = place, "the target answers again");
                }
                is_failing = false;
                if !is_one && !is_several {
                    tracing::error!(
                        target = place,
                        "counters jump back and forth: several processes behind one address; not counted any more. \
                         Scrape each process (pod or localhost), never a load balancer"
                    );
                }
                is_several = !is_one;
            }
            Err(error) => {
                stats.failed.fetch_add(1, Ordering::Relaxed);
                if !is_failing {
                    tracing::warn!(target = place, code = error.code(), %error, "no page; what is counted meanwhile comes with the next one");
                }
                is_failing = true;
            }
        }
        if is_last {
            return;
        }
    }
}
