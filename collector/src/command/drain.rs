//! `drain`: tells the running collector to send what it counts every second from now on, for a preStop hook (`crate::drain`).
//!
//! In: the address of its admin port, and how long to wait. Out: a line on standard error. `Ok` once the collector has taken the
//! order, also when ingest has not acknowledged everything by then: a gateway must not wait for that.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};

use crate::config::ScrapeTarget;
use crate::message::chain;
use crate::scrape::{self, ScrapeError};

/// Where the admin port listens by default, seen from the same pod or machine.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:9464";
/// Seconds to wait for ingest by default: a preStop hook is a part of the grace period.
pub const DEFAULT_WAIT_S: u64 = 2;
/// The collector answers within the wait that it is told, and this.
const MARGIN: Duration = Duration::from_secs(2);
/// Its answer is a line.
const MAX_ANSWER_BYTES: usize = 4096;

/// Why the order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// Not `host:port`.
    #[error("--admin {0} is no address; write host:port")]
    Address(String),
    /// Nobody there.
    #[error("no collector answers on {admin}: {reason}")]
    Unreachable {
        /// Its address.
        admin: String,
        /// What the system said.
        reason: String,
    },
    /// Someone there, who does not know it or refuses.
    #[error("{admin} answered {status}: {text}")]
    Refused {
        /// Its address.
        admin: String,
        /// HTTP status.
        status: StatusCode,
        /// Its words.
        text: String,
    },
    /// The client cannot be built.
    #[error(transparent)]
    Client(#[from] ScrapeError),
    /// The terminal.
    #[error("cannot say so: {0}")]
    Output(#[from] io::Error),
}

impl DrainError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            DrainError::Address(_) => "address",
            DrainError::Unreachable { .. } => "unreachable",
            DrainError::Refused { .. } => "refused",
            DrainError::Client(error) => error.code(),
            DrainError::Output(_) => "output",
        }
    }
}

/// Gives the order to the collector at `admin` and says on `told` what became of it.
///
/// # Errors
/// The order was not taken.
pub async fn drain(admin: &str, wait: Duration, told: &mut impl Write) -> Result<(), DrainError> {
    let target = ScrapeTarget {
        url: format!("http://{admin}"),
        model: String::new(),
        bearer_token_file: None,
        basic_auth: None,
        ca_file: None,
    };
    let request = Request::post(format!("{}/drain?wait_ms={}", target.url, wait.as_millis()));
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| DrainError::Address(admin.to_owned()))?;
    let client = scrape::client(&target)?;
    let unreachable = |reason: String| DrainError::Unreachable { admin: admin.to_owned(), reason };
    let asked = async {
        let answer = client.request(request).await.map_err(|error| unreachable(chain(&error)))?;
        let (parts, body) = answer.into_parts();
        let text = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let text = text.map(|body| body.to_bytes()).unwrap_or_default();
        Ok((parts.status, String::from_utf8_lossy(&text).trim().to_owned()))
    };
    let answered = tokio::time::timeout(wait + MARGIN, asked).await;
    let (status, text) =
        answered.unwrap_or_else(|_| Err(unreachable(format!("silent for {:?}", wait + MARGIN))))?;
    if !status.is_success() {
        return Err(DrainError::Refused { admin: admin.to_owned(), status, text });
    }
    Ok(writeln!(told, "weighbridge-collector: {text}")?)
}
