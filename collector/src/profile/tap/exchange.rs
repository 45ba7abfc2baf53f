//! One exchange: a request and its answer, as they pass. Pure: the proxy and `count` feed it.
//!
//! In: method, path, headers, and pieces of the two bodies in the order they pass. Out, once, at its end: an observation, or the
//! reason why it is none. Guarantees: nothing but `Told` is kept of a body; a request of a known API counts once, whatever
//! becomes of it; what is not understood counts under an unknown model.
//!
//! The served model is, by rank: what the operator wrote as `served_model`, the answer's, the path's, the request's, the
//! deployment's name. A request that was answered with 401, 403 or 404 reached no model.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{Choice, Outcome, Streaming};

use super::super::{Discard, Mapper, cell_key};
use super::{Api, Route, Server, StreamFile, TapProfile, UpstreamKind, route::Named};
use crate::classifier::Classifier;
use crate::discard::Skip;
use crate::observation::{self, Call, Observation};
use crate::source::tap::framing::Framing;
use crate::source::tap::{Look, Told};

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer passed whole.
    Complete,
    /// The client left before its end.
    ClientLeft,
    /// The upstream broke off in the middle of its answer, or gave none.
    UpstreamBroke,
    /// There was no connection to the upstream.
    Unreachable,
}

/// The first line and the headers of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a http::Method,
    /// Its path; a query after it is not looked at.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// What was read of a body: it passes, or it has passed.
#[derive(Debug, Default)]
enum Body {
    #[default]
    None,
    Passing(Box<Look>),
    Passed(Told),
}

impl Body {
    fn read(&mut self, piece: &[u8]) {
        if let Body::Passing(look) = self {
            look.read(piece);
        }
    }

    fn told(&mut self) -> Told {
        match std::mem::take(self) {
            Body::None => Told::default(),
            Body::Passing(look) => look.finish().0,
            Body::Passed(told) => told,
        }
    }
}

/// A request and its answer.
#[derive(Debug)]
pub struct Exchange {
    server: &'static Server,
    route: Option<(&'static Api, &'static Route, Named)>,
    request: Body,
    answer: Body,
    head: Option<Answered>,
}

/// What the head of an answer told.
#[derive(Debug)]
struct Answered {
    status: u16,
    framing: Option<Framing>,
    provider: Option<Box<str>>,
    retries: u64,
    target: Option<u64>,
    is_cache_hit: bool,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Exchange {
    /// Begins with the head of a request to a server of `profile`.
    pub fn new(profile: TapProfile, head: Head<'_>) -> Exchange {
        let TapProfile(server) = profile;
        let route = if head.method == http::Method::POST { server.route(head.path) } else { None };
        let request = match &route {
            Some((api, ..)) => look(&api.request, head.headers),
            None => Body::None,
        };
        Exchange { server, route, request, answer: Body::None, head: None }
    }

    /// Whether its bodies are looked at.
    pub fn is_inference(&self) -> bool {
        self.route.is_some()
    }

    /// A piece of the request's body.
    pub fn request_piece(&mut self, piece: &[u8]) {
        self.request.read(piece);
    }

    /// The request's body has passed.
    pub fn request_end(&mut self) {
        if matches!(self.request, Body::Passing(_)) {
            self.request = Body::Passed(self.request.told());
        }
    }

    /// The head of the answer.
    pub fn answer(&mut self, status: u16, headers: &HeaderMap) {
        let Some((api, ..)) = &self.route else { return };
        let text = |name: &Option<String>| name.as_ref().and_then(|name| headers.get(name)?.to_str().ok());
        let number = |name: &Option<String>| text(name).and_then(|text| text.trim().parse().ok());
        let names = &self.server.file.headers;
        let cache = text(&names.cache).unwrap_or_default();
        self.head = Some(Answered {
            status,
            framing: Framing::of(header(headers, &CONTENT_TYPE)),
            provider: text(&names.provider).map(Into::into),
            retries: number(&names.retries).unwrap_or(0),
            target: text(&names.target).and_then(last_number),
            is_cache_hit: self.server.file.cache_hits.iter().any(|hit| hit.eq_ignore_ascii_case(cache)),
            input_tokens: number(&api.headers.input_tokens),
            output_tokens: number(&api.headers.output_tokens),
        });
        self.answer = look(&api.answer, headers);
    }

    /// A piece of the answer's body.
    pub fn answer_piece(&mut self, piece: &[u8]) {
        self.answer.read(piece);
    }

    /// What this exchange was, after its end. `address` is the upstream's; `served_model` the operator's word, or empty.
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn observation(
        mut self,
        end: End,
        address: &str,
        served_model: &str,
        mapper: &mut Mapper,
    ) -> Result<Observation, Discard> {
        let is_asked_whole = matches!(self.request, Body::Passed(_));
        let (asked, told) = (self.request.told(), self.answer.told());
        let Some((api, route, named)) = self.route else { return Err(Skip::NotInference.into()) };
        let head = self.head.as_ref();
        if head.is_some_and(|head| head.is_cache_hit) {
            return Err(Skip::CacheHit.into());
        }
        if told.is_marked {
            return Err(Skip::NotInference.into());
        }
        let status = head.map(|head| head.status);
        let outcome = outcome(end, status, told.is_error);
        let is_unserved = matches!(status, Some(401 | 403 | 404)) && told.model.is_none();
        let ranked = [
            Some(served_model),
            told.model.as_deref(),
            named.model.as_deref(),
            asked.model.as_deref(),
            named.alias.as_deref(),
        ];
        let model = ranked.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default();
        let classification = if is_unserved {
            Classifier::unserved()
        } else {
            let label = head.and_then(|head| head.provider.as_deref()).unwrap_or(&self.server.file.provider);
            let address = if self.server.file.upstream == UpstreamKind::Server { address } else { "" };
            mapper.classifier.classify(model, Origin { provider: label, address })
        };
        let streaming = streaming(route.stream, asked.stream, is_asked_whole, head);
        let mut key = cell_key(&classification, route.operation, streaming, outcome);
        key.choice = match head.and_then(|head| head.target) {
            None => Choice::Unknown,
            Some(0) => Choice::First,
            Some(_) => Choice::Fallback,
        };
        let input = told.sum(0..api.input_terms).or(head.and_then(|head| head.input_tokens));
        let output = told.sum(api.input_terms..api.terms).or(head.and_then(|head| head.output_tokens));
        let attempts = if is_unserved { 0 } else { 1 + head.map_or(0, |head| head.retries) };
        Ok(Observation {
            key,
            input_tokens: input.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
            attempts,
            // It passed here once: there are no copies.
            fingerprint: None,
            call: Call::Whole,
        })
    }
}

fn look(fields: &'static crate::source::tap::BodyFields, headers: &HeaderMap) -> Body {
    let (content_type, encoding) = (header(headers, &CONTENT_TYPE), header(headers, &CONTENT_ENCODING));
    Body::Passing(Box::new(Look::new(fields, content_type, encoding)))
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `config.targets[1]` is 1.
fn last_number(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let start = text.rfind(|letter: char| !letter.is_ascii_digit()).map_or(0, |at| at + 1);
    text.get(start..)?.parse().ok()
}

/// A client that left is cancelled whatever the status; an answer that broke off is an error of the server.
fn outcome(end: End, status: Option<u16>, is_error: bool) -> Outcome {
    match (end, status) {
        (End::ClientLeft, Some(status)) if status >= 400 => observation::outcome(false, Some(status), ""),
        (End::ClientLeft, _) => Outcome::Cancelled,
        (End::UpstreamBroke | End::Unreachable, _) => Outcome::ServerError,
        (End::Complete, Some(status)) if status < 400 && is_error => Outcome::ServerError,
        (End::Complete, status) => observation::outcome(false, status, ""),
    }
}

/// By the answer, else by what was asked for; unknown if the request did not pass whole and said nothing so far.
fn streaming(
    rule: StreamFile,
    asked: Option<bool>,
    is_asked_whole: bool,
    head: Option<&Answered>,
) -> Streaming {
    let framing = head.filter(|head| head.status < 400).and_then(|head| head.framing);
    let is_stream = match (rule, framing) {
        (StreamFile::Yes, _) => true,
        (StreamFile::No, _) => false,
        (_, Some(Framing::Events | Framing::Lines | Framing::AwsEvents)) => true,
        (_, Some(Framing::Json)) => false,
        (_, None) if !is_asked_whole && asked.is_none() => return Streaming::Unknown,
        (StreamFile::Asked, None) => asked == Some(true),
        (StreamFile::DefaultYes, None) => asked != Some(false),
    };
    if is_stream { Streaming::Yes } else { Streaming::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_by_their_place() {
        let cases =
            [("config.targets[1]", Some(1)), ("0", Some(0)), ("config", None), ("", None), ("a12", Some(12))];
        for (text, place) in cases {
            assert_eq!(last_number(text), place, "{text}");
        }
    }

    #[test]
    fn outcomes_follow_the_end_then_the_status() {
        let cases = [
            (End::Complete, Some(200), false, Outcome::Ok),
            (End::Complete, Some(200), true, Outcome::ServerError),
            (End::Complete, Some(429), true, Outcome::RateLimited),
            (End::Complete, Some(400), true, Outcome::ClientError),
            (End::Complete, Some(503), false, Outcome::ServerError),
            (End::ClientLeft, Some(200), false, Outcome::Cancelled),
            (End::ClientLeft, None, false, Outcome::Cancelled),
            (End::ClientLeft, Some(429), false, Outcome::RateLimited),
            (End::UpstreamBroke, Some(200), false, Outcome::ServerError),
            (End::Unreachable, None, false, Outcome::ServerError),
        ];
        for (end, status, is_error, expected) in cases {
            assert_eq!(outcome(end, status, is_error), expected, "{end:?} {status:?} {is_error}");
        }
    }
}
