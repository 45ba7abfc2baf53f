//! The network side of `doctor`: bounded `GET`s of one site, and nothing else.
//!
//! Asked are the root, the pages, and then marks one by one, until the product is told: LiteLLM counts every refused request as one
//! of its own. Guarantees: one request at a time, each bounded in time and size; redirects are not followed; the key is sent to a page that
//! asked for one, and nowhere else; a site that does not answer is asked once. What came is kept in memory for this run only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};

use crate::config::{DEFAULT_MAX_BODY_BYTES, ScrapeTarget};
use crate::message::chain;
use crate::scrape::{ACCEPTED, HttpClient, ScrapeError, authorization, client, gunzip};

/// Marks stand at the beginning of small answers.
const MARK_BYTES: usize = 64 * 1024;

/// How a site is asked.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    /// File with a bearer token, for pages that ask for one.
    pub bearer_token_file: Option<PathBuf>,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Bound of every request.
    pub timeout: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The key was sent with the request.
    pub with_key: bool,
    headers: HeaderMap,
    /// The body, as far as it is looked at.
    pub body: Vec<u8>,
}

impl Answer {
    /// The text of a header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

/// What a site answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    /// `http://host:port`.
    pub origin: String,
    /// What was given beyond it; empty for a base address.
    pub given_path: String,
    /// Answers by path.
    pub answers: BTreeMap<String, Answer>,
    /// A second answer of the path that gave the page.
    pub again: Option<Answer>,
    /// Why there is none.
    pub unreachable: Option<String>,
}

/// Splits an address into origin and path; `None` if it is none, or holds a user.
pub(super) fn split(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let path = if path == "/" { "" } else { path };
    Some((format!("{scheme}://{authority}"), path.to_owned()))
}

/// A site while it is asked.
pub(super) struct Visit {
    asker: Asker,
    has_key: bool,
    /// What it answered so far.
    pub(super) site: Site,
}

impl Visit {
    /// Asks a site for its root, which tells whether it is there.
    ///
    /// # Errors
    /// The certificates or the key cannot be read.
    pub(super) async fn begin(
        (origin, given_path): (String, String),
        asking: &Asking,
    ) -> Result<Visit, ScrapeError> {
        let target = ScrapeTarget {
            url: origin.clone(),
            model: String::new(),
            bearer_token_file: asking.bearer_token_file.clone(),
            basic_auth: None,
            ca_file: asking.ca_file.clone(),
        };
        // Read now, so that a wrong file is told as such.
        let has_key = authorization(&target)?.is_some();
        let asker = Asker { client: client(&target)?, target, timeout: asking.timeout };
        let mut visit = Visit { asker, has_key, site: Site { origin, given_path, ..Site::default() } };
        match visit.asker.get("/", MARK_BYTES, false).await {
            Ok(answer) => {
                visit.site.answers.insert("/".to_owned(), answer);
            }
            Err(error) => visit.site.unreachable = Some(error.to_string()),
        }
        Ok(visit)
    }

    /// Asks the given path and then `pages` in order until one is a page, and for that one twice.
    pub(super) async fn pages(&mut self, pages: &[String], is_page: impl Fn(&[u8]) -> bool) {
        let given = self.site.given_path.clone();
        let given = std::iter::once(&given).filter(|path| !path.is_empty());
        for path in given.chain(pages) {
            if self.site.unreachable.is_some() || self.site.answers.contains_key(path) {
                continue;
            }
            let Ok(mut answer) = self.asker.get(path, DEFAULT_MAX_BODY_BYTES, false).await else { continue };
            if matches!(answer.status, 401 | 403) && self.has_key {
                answer = self.asker.get(path, DEFAULT_MAX_BODY_BYTES, true).await.unwrap_or(answer);
            }
            let found = answer.status == 200 && is_page(&answer.body);
            let with_key = answer.with_key;
            self.site.answers.insert(path.clone(), answer);
            if found {
                self.site.again = self.asker.get(path, DEFAULT_MAX_BODY_BYTES, with_key).await.ok();
                return;
            }
        }
    }

    /// Asks one more path.
    pub(super) async fn mark(&mut self, path: &str) {
        if self.site.unreachable.is_none()
            && !self.site.answers.contains_key(path)
            && let Ok(answer) = self.asker.get(path, MARK_BYTES, false).await
        {
            self.site.answers.insert(path.to_owned(), answer);
        }
    }
}

struct Asker {
    client: HttpClient,
    target: ScrapeTarget,
    timeout: Duration,
}

impl Asker {
    async fn get(&self, path: &str, max_bytes: usize, with_key: bool) -> Result<Answer, ScrapeError> {
        let asked = tokio::time::timeout(self.timeout, self.once(path, max_bytes, with_key)).await;
        asked.unwrap_or(Err(ScrapeError::Timeout))
    }

    async fn once(&self, path: &str, max_bytes: usize, with_key: bool) -> Result<Answer, ScrapeError> {
        let unreachable = |error: &dyn std::error::Error| ScrapeError::Unreachable(chain(error));
        let mut request = Request::get(format!("{}{path}", self.target.url))
            .header(ACCEPT, ACCEPTED)
            .header(ACCEPT_ENCODING, "gzip");
        if with_key && let Some(value) = authorization(&self.target)? {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| unreachable(&error))?;
        let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = answer.into_parts();
        // A body that is too large or breaks off tells nothing; its status and headers do.
        let body =
            Limited::new(body, max_bytes).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let is_gzip = parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let body = if is_gzip { gunzip(&body, max_bytes).unwrap_or_default() } else { body.to_vec() };
        Ok(Answer { status: parts.status.as_u16(), with_key, headers: parts.headers, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_users_refused() {
        let split = |url: &str| split(url).map(|(origin, path)| format!("{origin} {path}"));
        assert_eq!(split("http://h:4000").unwrap(), "http://h:4000 ");
        assert_eq!(split("http://h:4000/").unwrap(), "http://h:4000 ");
        assert_eq!(split("https://h/metrics?x=1").unwrap(), "https://h /metrics?x=1");
        for wrong in ["h:4000", "ftp://h/", "http://", "http://user:secret@h/", "metrics"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
