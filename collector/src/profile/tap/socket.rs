//! One WebSocket session over which requests are asked and answered, as it passes. Pure: the proxy feeds it.
//!
//! In: the heads of the handshake, then pieces of both directions. Out: one `Reply` for each request that ended, at its event, and
//! one for each that was open at the session's end. Guarantees: what counts is what the server told; of the client's frames only
//! the heads are read. A session that cannot be read from some point on counts, at its end, as the requests that were open then,
//! and at least as one, of unknown outcome.
//!
//! The served model is, by rank: what the operator wrote as `served_model`, what the session told last, the query's, the
//! deployment's name.

use std::collections::BTreeMap;

use http::header::{SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{Operation, Outcome, Streaming};

use super::super::{Mapper, cell_key};
use super::route::{Named, Path, Pattern};
use super::{End, Head, ProfileError, Server, TapProfile, UpstreamKind};
use crate::message::names_of;
use crate::observation::{Call, Observation};
use crate::source::tap::Told;
use crate::source::tap::events::{Ended, EventFields, Events};
use crate::source::tap::frames::{Frames, Side};

/// What an API says over WebSockets: the server's events are JSON, one a text message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SocketFile {
    routes: Vec<SocketRouteFile>,
    /// Places of an event's kind.
    kind: Vec<String>,
    /// Kinds of events that tell that a request begins.
    begins: Vec<String>,
    /// Kinds of events that tell that it has ended.
    ends: Vec<String>,
    /// Places of the status of a request that has ended.
    status: Vec<String>,
    /// What its words mean; others are unknown.
    outcomes: BTreeMap<String, String>,
    /// Places of the model's name, in whatever event.
    model: Vec<String>,
    /// Terms that add up; of each, the places where it may stand.
    input_tokens: Vec<Vec<String>>,
    output_tokens: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SocketRouteFile {
    /// The last steps of the path.
    path: String,
    operation: String,
    /// Parameter of the query that names the model.
    #[serde(default)]
    model: String,
    /// Parameter of the query that names a deployment, the operator's own word.
    #[serde(default)]
    alias: String,
}

/// The same, compiled.
#[derive(Debug)]
pub(super) struct SocketApi {
    routes: Vec<SocketRoute>,
    events: EventFields,
    outcomes: Vec<Outcome>,
    input_terms: u8,
    terms: u8,
}

#[derive(Debug)]
struct SocketRoute {
    pattern: Pattern,
    operation: Operation,
    model: String,
    alias: String,
}

impl SocketApi {
    /// `name` is the API's, for messages.
    pub(super) fn new(name: &str, file: SocketFile) -> Result<SocketApi, ProfileError> {
        let path = |source| ProfileError::Path { name: name.to_owned(), source };
        let value = |field, fix| ProfileError::Value { name: name.to_owned(), field, fix };
        let mut routes = Vec::new();
        for route in file.routes {
            let pattern = Pattern::parse(&route.path)
                .map_err(|source| ProfileError::Route { name: name.to_owned(), source })?;
            let operation = Operation::from_name(&route.operation).ok_or_else(|| {
                let names = names_of(Operation::ALL, |value| value.name());
                value("socket.routes.operation", format!("write one of {names}"))
            })?;
            routes.push(SocketRoute { pattern, operation, model: route.model, alias: route.alias });
        }
        let (words, outcomes): (Vec<String>, Vec<String>) = file.outcomes.into_iter().unzip();
        let outcome = |outcome: &String| {
            Outcome::from_name(outcome).ok_or_else(|| {
                let names = names_of(Outcome::ALL, |value| value.name());
                value("socket.outcomes", format!("{outcome}: write one of {names}"))
            })
        };
        let outcomes = outcomes.iter().map(outcome).collect::<Result<_, _>>()?;
        let mut events = EventFields::default();
        events.kinds(&file.kind, &file.begins, &file.ends).map_err(path)?;
        events.statuses(&file.status, &words).map_err(path)?;
        events.body().model(&file.model).map_err(path)?;
        let input_terms = file.input_tokens.len() as u8;
        let mut terms = 0;
        for term in file.input_tokens.iter().chain(&file.output_tokens) {
            let number = events.body().term(term).map_err(path)?;
            terms =
                1 + number.ok_or_else(|| value("socket", "write at most 8 terms of tokens".to_owned()))?;
        }
        Ok(SocketApi { routes, events, outcomes, input_terms, terms })
    }
}

impl Server {
    /// The API and route that a WebSocket's path belongs to: that with the most steps.
    fn socket(&self, path: &str) -> Option<(&'static SocketApi, &'static SocketRoute)> {
        let path = Path::new(path);
        let apis = self.apis.iter().filter_map(|api| api.socket.as_ref());
        let routes = apis.flat_map(|api| api.routes.iter().map(move |route| (api, route)));
        routes
            .filter(|(_, route)| route.pattern.matches(&path).is_some())
            .max_by_key(|(_, route)| route.pattern.steps())
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    server: &'static Server,
    api: &'static SocketApi,
    operation: Operation,
    named: Named,
    /// `None`: an extension was agreed on that is not known.
    events: Option<Events>,
    client: Frames,
}

impl Session {
    /// Begins with the head of a request that asks for it, if the profile's server answers requests there. `query` is that of its
    /// address.
    pub fn new(profile: TapProfile, head: Head<'_>, query: Option<&str>) -> Option<Session> {
        let TapProfile(server) = profile;
        if head.method != Method::GET || !is_websocket(head.headers) {
            return None;
        }
        let (api, route) = server.socket(head.path)?;
        let named = Named { model: parameter(query, &route.model), alias: parameter(query, &route.alias) };
        let client = Frames::new(Side::Client);
        Some(Session { server, api, operation: route.operation, named, events: None, client })
    }

    /// Goes on after the head of the answer, if that agrees to a WebSocket.
    pub fn answered(mut self, status: StatusCode, headers: &HeaderMap) -> Option<Session> {
        if status != StatusCode::SWITCHING_PROTOCOLS || !is_websocket(headers) {
            return None;
        }
        let extensions: Vec<&str> = words(headers, &SEC_WEBSOCKET_EXTENSIONS).collect();
        let is_deflated = match extensions.as_slice() {
            [] => Some(false),
            [extension] => {
                let name = extension.split(';').next().unwrap_or_default();
                name.trim().eq_ignore_ascii_case("permessage-deflate").then_some(true)
            }
            _ => None,
        };
        self.events = is_deflated.map(|is_deflated| Events::new(&self.api.events, is_deflated));
        Some(self)
    }

    /// A piece of what the server says; what ended in it.
    pub fn server_piece(&mut self, piece: &[u8]) -> Vec<Reply> {
        let ended = self.events.as_mut().map_or_else(Vec::new, |events| events.read(piece));
        ended.into_iter().map(|ended| self.ended(ended)).collect()
    }

    /// A piece of what the client says.
    pub fn client_piece(&mut self, piece: &[u8]) {
        self.client.read(piece, &mut ());
    }

    /// The client has said that it closes.
    pub fn has_client_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The server has said that it closes.
    pub fn has_server_closed(&self) -> bool {
        self.events.as_ref().is_some_and(Events::is_closed)
    }

    /// No request is open, as far as it can be told.
    pub fn is_quiet(&self) -> bool {
        self.events.as_ref().is_none_or(|events| events.is_lost() || events.open() == 0)
    }

    /// What was open when the session ended.
    pub fn end(self, end: End) -> Vec<Reply> {
        let (outcome, count) = match &self.events {
            Some(events) if !events.is_lost() => {
                let is_client = end == End::ClientLeft;
                (if is_client { Outcome::Cancelled } else { Outcome::ServerError }, events.open())
            }
            Some(events) => (Outcome::Unknown, events.open().max(1)),
            None => (Outcome::Unknown, 1),
        };
        let model = self.events.as_ref().and_then(Events::model).map(Into::into);
        let mut told = Told::default();
        told.model = model;
        (0..count).map(|_| self.reply(outcome, told.clone())).collect()
    }

    fn ended(&self, ended: Ended) -> Reply {
        let outcome = ended.status.and_then(|status| self.api.outcomes.get(status).copied());
        self.reply(outcome.unwrap_or(Outcome::Unknown), ended.told)
    }

    fn reply(&self, outcome: Outcome, told: Told) -> Reply {
        let (input, output) = (0..self.api.input_terms, self.api.input_terms..self.api.terms);
        let (input_tokens, output_tokens) = (told.sum(input).unwrap_or(0), told.sum(output).unwrap_or(0));
        let names = [told.model, self.named.model.clone(), self.named.alias.clone()];
        let model = names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default();
        Reply { server: self.server, operation: self.operation, outcome, model, input_tokens, output_tokens }
    }
}

/// A request of a session, whatever became of it.
#[derive(Debug)]
pub struct Reply {
    server: &'static Server,
    operation: Operation,
    outcome: Outcome,
    model: Box<str>,
    input_tokens: u64,
    output_tokens: u64,
}

impl Reply {
    /// What is counted. `address` is the upstream's; `served_model` the operator's word, or empty.
    pub fn observation(&self, address: &str, served_model: &str, mapper: &mut Mapper) -> Observation {
        let model = if served_model.is_empty() { &*self.model } else { served_model };
        let address = if self.server.file.upstream == UpstreamKind::Server { address } else { "" };
        let origin = Origin { provider: &self.server.file.provider, address };
        let classification = mapper.classifier.classify(model, origin);
        Observation {
            // What the server says over a WebSocket comes as it is made.
            key: cell_key(&classification, self.operation, Streaming::Yes, self.outcome),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            attempts: 1,
            fingerprint: None,
            call: Call::Whole,
        }
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    words(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// The members of a list in headers.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn parameter(query: Option<&str>, name: &str) -> Option<Box<str>> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.rfind(|(found, _)| !name.is_empty() && *found == name)?;
    percent_decode_str(value).decode_utf8().ok().map(|value| value.as_ref().into())
}
