//! `doctor`: looks at a running gateway, says what it sees and which input to use, and prints the configuration.
//!
//! In: addresses of gateways (`http://host:port`, or of their metrics page) and files of access logs. Out: for each what it is, the input to
//! use, what is missing with its fix, how counts could double; and a configuration to paste. Guarantees: only `GET`s, each bounded
//! in time and size, and none at a path that asks a model; nothing is sent anywhere else and nothing is stored; of what came only
//! numbers are printed, and a model's name where the configuration needs it.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | everything given was recognised and counts as it stands |
//! | 1 | something was not recognised, or needs something switched on first |
//! | 2 | arguments that cannot be used |

mod ask;
mod findings;
mod logs;
mod products;
mod text;

use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use weighbridge_catalog::Day;

use crate::config::Config;
use crate::profile::rules::ProfileError;
use ask::{Asking, Visit};
use findings::{Finding, Input};
use products::Products;
use text::Files;

/// Exit code for arguments that cannot be used.
pub const EXIT_ARGUMENTS: u8 = 2;
/// How much of a log is looked at.
const LOG_BYTES: u64 = 512 * 1024;

/// What is looked at, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArguments {
    /// Addresses of gateways or of their metrics pages, and files of access logs.
    #[arg(required = true, value_name = "URL|FILE")]
    pub asked: Vec<String>,
    /// File with a bearer token, sent only to pages that ask for a key.
    #[arg(long)]
    pub bearer_token_file: Option<PathBuf>,
    /// PEM file with the certificates to trust instead of the system's.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// Seconds for each answer, 1 to 60.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout_s: u64,
}

/// Why `doctor` did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// An argument.
    #[error("{argument}: {fix}")]
    Argument {
        /// The argument.
        argument: String,
        /// What to write instead.
        fix: String,
    },
    /// The output.
    #[error("output: {0}")]
    Write(#[from] io::Error),
    /// A profile of this binary.
    #[error(transparent)]
    Rules(#[from] ProfileError),
    /// It was printed.
    #[error("{unknown} not recognised, {unready} not ready to be counted")]
    Unready {
        /// Not recognised.
        unknown: usize,
        /// Recognised, but something is missing.
        unready: usize,
    },
}

impl DoctorError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            DoctorError::Argument { .. } => "argument",
            DoctorError::Write(_) => "write",
            DoctorError::Rules(_) => "profile",
            DoctorError::Unready { .. } => "unready",
        }
    }
}

/// Looks at what is asked, as of `now_ms` (Unix milliseconds), and prints to `out`.
///
/// # Errors
/// See `DoctorError`.
pub async fn doctor(
    arguments: &DoctorArguments,
    now_ms: u64,
    out: &mut impl Write,
) -> Result<(), DoctorError> {
    let products = Products::load()?;
    let mut found = Vec::new();
    for asked in &arguments.asked {
        found.push(look(asked, arguments, &products, now_ms).await?);
    }
    relate(&mut found);
    for (asked, found) in arguments.asked.iter().zip(&found) {
        writeln!(out, "{}", text::told(asked, found))?;
    }
    let files = Files {
        bearer_token_file: arguments.bearer_token_file.as_deref(),
        ca_file: arguments.ca_file.as_deref(),
    };
    let to_configure: Vec<&Finding> =
        found.iter().flatten().filter(|finding| finding.same_as.is_none()).collect();
    for (place, finding) in to_configure.iter().enumerate() {
        writeln!(out, "# collector.yaml for {}", finding.asked)?;
        writeln!(out, "{}", text::config(finding, place + 1, to_configure.len(), files))?;
    }
    writeln!(
        out,
        "Only these addresses were asked, by GET; nothing was stored, and nothing left this machine for anywhere else."
    )?;
    let unknown = found.iter().filter(|found| found.is_err()).count();
    let unready = found.iter().flatten().filter(|finding| !finding.usable).count();
    if unknown + unready == 0 { Ok(()) } else { Err(DoctorError::Unready { unknown, unready }) }
}

async fn look(
    asked: &str,
    arguments: &DoctorArguments,
    products: &Products,
    now_ms: u64,
) -> Result<Result<Finding, Vec<String>>, DoctorError> {
    let wrong = |fix: String| DoctorError::Argument { argument: asked.to_owned(), fix };
    let day = Day::from_unix_seconds(now_ms / 1_000);
    if asked.contains("://") {
        let fix = "write http://host:port, without user and password; a key goes into --bearer-token-file";
        let url = ask::split(asked).ok_or_else(|| wrong(fix.to_owned()))?;
        let asking = Asking {
            bearer_token_file: arguments.bearer_token_file.clone(),
            ca_file: arguments.ca_file.clone(),
            timeout: Duration::from_secs(arguments.timeout_s),
        };
        let visit = Visit::begin(url, &asking).await;
        let mut visit = visit.map_err(|error| wrong(error.to_string()))?;
        visit.pages(&products.page_paths(), |body| findings::is_page(body, products)).await;
        for path in products.mark_paths() {
            if findings::is_told(&visit.site, products) {
                break;
            }
            visit.mark(&path).await;
        }
        if let Some(path) = findings::model_path(&visit.site, products) {
            visit.mark(path).await;
        }
        return Ok(findings::of_site(&visit.site, products, day));
    }
    let read = || -> io::Result<(Vec<u8>, PathBuf)> {
        let mut text = Vec::new();
        std::fs::File::open(asked)?.take(LOG_BYTES).read_to_end(&mut text)?;
        Ok((text, std::path::absolute(asked)?))
    };
    let (text, path) =
        read().map_err(|error| wrong(format!("{error}; write an address with http:// or a file")))?;
    Ok(logs::of_log(&path.to_string_lossy(), &text, products, day, now_ms))
}

/// What findings say of each other: a gateway given twice, and servers behind a gateway.
fn relate(found: &mut [Result<Finding, Vec<String>>]) {
    let all: Vec<Option<Finding>> = found.iter().map(|found| found.as_ref().ok().cloned()).collect();
    let gateway =
        all.iter().flatten().find(|finding| !finding.is_server).map(|finding| finding.product.clone());
    for (place, finding) in
        found.iter_mut().enumerate().filter_map(|(place, found)| Some((place, found.as_mut().ok()?)))
    {
        if let Some(gateway) = gateway.as_ref().filter(|_| finding.is_server) {
            finding.behind_gateway = true;
            finding.doubles.insert(
                0,
                format!("{gateway} was given too: what it asks of this server is one request, so `behind_gateway: true` is written below; leave it out if {gateway} does not ask this server"),
            );
        }
        let other = all.iter().enumerate().find_map(|(other, one)| {
            let one = one.as_ref().filter(|one| other != place && is_same(one, finding))?;
            let preferred = (precedence(one), other) < (precedence(finding), place);
            preferred.then_some((other, one))
        });
        if let Some((other, one)) = other {
            finding.same_as = Some(other);
            finding.doubles.insert(
                0,
                format!(
                    "{} is given twice: count {} only, as {} ({})",
                    one.product,
                    one.asked,
                    one.input.name(),
                    crate::config::Precedence::ORDER
                ),
            );
        }
    }
}

/// Whether two findings may be one gateway: the same address, or a log beside the product's page.
fn is_same(one: &Finding, other: &Finding) -> bool {
    match (&one.input, &other.input) {
        (Input::Page { url, .. }, Input::Page { url: other, .. }) => url == other,
        (Input::Tap { upstream, .. }, Input::Tap { upstream: other, .. }) => upstream == other,
        (Input::Log { file, .. }, Input::Log { file: other, .. }) => file == other,
        (Input::Page { .. }, Input::Log { .. }) | (Input::Log { .. }, Input::Page { .. }) => {
            one.product == other.product
        }
        _ => false,
    }
}

/// The place of a finding's input in the precedence; what needs something first comes after what counts.
fn precedence(finding: &Finding) -> (bool, Option<crate::config::Precedence>) {
    let config = Config::parse(&text::config(finding, 1, 1, Files::default()), |_| None);
    (!finding.usable, config.ok().map(|config| config.precedence()))
}
