//! One exchange: the request to the upstream, its answer to the client.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};

use super::body::{AnswerBody, Guard, Passing, RequestBody, Turns};
use super::upgraded::{Slot, Upgraded};
use super::upstream::{Link, NoAnswer, Over, Upstream};
use crate::config::TapSource;
use crate::profile::tap::{End, Exchange, Head, Reply, Session, TapProfile};
use crate::receiver::Gate;

/// Headers that belong to a connection, not to what it carries (RFC 9110, 7.6.1).
const OF_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Passes exchanges on, and counts them.
#[derive(Debug)]
pub(super) struct Tap {
    upstream: Upstream,
    profile: TapProfile,
    served_model: String,
    gate: Gate,
}

impl Tap {
    pub(super) fn new(source: &TapSource, upstream: Upstream, gate: Gate) -> Tap {
        Tap { upstream, profile: source.profile, served_model: source.served_model.clone(), gate }
    }

    pub(super) fn count(&self, exchange: Exchange, end: End) {
        self.gate.take_exchange(exchange, end, self.upstream.host(), &self.served_model);
    }

    pub(super) fn count_reply(&self, reply: &Reply) {
        self.gate.take_reply(reply, self.upstream.host(), &self.served_model);
    }

    pub(super) fn keep(&self, link: Box<Link>) {
        self.upstream.keep(link);
    }

    /// Closes connections to the upstream that are not used.
    pub(super) fn sweep(&self) {
        self.upstream.sweep();
    }

    pub(super) async fn exchange(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        turns: Option<Turns>,
        slot: &Slot,
    ) -> Response<AnswerBody> {
        if request.method() == Method::CONNECT {
            return own(StatusCode::METHOD_NOT_ALLOWED, "this is a reverse proxy: CONNECT is not for it\n");
        }
        let (exchange, session) = {
            let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
            let head = Head { method, path, headers };
            (Exchange::new(self.profile, head), Session::new(self.profile, head, request.uri().query()))
        };
        let passing = Passing::new(exchange);
        let mut guard = Guard::new(passing.clone(), Arc::clone(&self));
        let is_upgrade = wants_upgrade(request.headers());
        let client_side = is_upgrade.then(|| hyper::upgrade::on(&mut request));
        let Some(request) = self.forwarded(request, &passing, is_upgrade) else {
            guard.ends(End::Complete);
            return own(StatusCode::BAD_REQUEST, "the path is none\n");
        };
        let sent = if is_upgrade {
            self.upstream.send_upgrade(request).await.map(|answer| (answer, None))
        } else {
            self.upstream.send(request).await.map(|(answer, over)| match over {
                Over::Own(link) => (answer, Some(link)),
                Over::Shared(place) => {
                    guard.holds(place);
                    (answer, None)
                }
            })
        };
        let (mut answer, link) = match sent {
            Ok(answered) => answered,
            Err(error) => {
                let end = match &error {
                    _ if passing.is_client_gone() => End::ClientLeft,
                    NoAnswer::Unreachable(_) => End::Unreachable,
                    NoAnswer::Broken(_) => End::UpstreamBroke,
                };
                guard.ends(end);
                tracing::debug!(%error, ?end, "no answer of the upstream");
                return own(StatusCode::BAD_GATEWAY, "the upstream gave no answer\n");
            }
        };
        passing.with(|exchange| exchange.answer(answer.status().as_u16(), answer.headers()));
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            guard.ends(End::Complete);
            let server_side = hyper::upgrade::on(&mut answer);
            let session = session.and_then(|session| session.answered(answer.status(), answer.headers()));
            if let Some(client_side) = client_side {
                slot.put(Upgraded::new(client_side, server_side, session, self));
            }
            return answer.map(|inner| AnswerBody::new(inner, None, guard, turns));
        }
        remove_of_connection(answer.headers_mut());
        let link = match link {
            Some(link) if !passing.is_sent() => {
                link.detach();
                None
            }
            link => link,
        };
        if answer.body().is_end_stream() {
            guard.completes(link);
            return answer.map(|inner| AnswerBody::new(inner, None, guard, turns));
        }
        answer.map(|inner| AnswerBody::new(inner, link, guard, turns))
    }

    /// The request as the upstream gets it.
    fn forwarded(
        &self,
        request: Request<Incoming>,
        passing: &Passing,
        is_upgrade: bool,
    ) -> Option<Request<RequestBody>> {
        let (mut head, body) = request.into_parts();
        head.uri = self.upstream.target(head.uri.path_and_query()).ok()?;
        head.version = Version::HTTP_11;
        let upgrade = head.headers.get(UPGRADE).filter(|_| is_upgrade).cloned();
        remove_of_connection(&mut head.headers);
        head.headers.insert(HOST, self.upstream.authority().clone());
        head.headers.remove(EXPECT);
        if let Some(protocol) = upgrade {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, protocol);
        }
        // Keeps extensions of the server's side (its upgrade) out of the client's.
        head.extensions.clear();
        if body.is_end_stream() {
            passing.request_end();
        }
        Some(Request::from_parts(head, RequestBody::new(body, passing.clone())))
    }
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && named_by_connection(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn remove_of_connection(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            named_by_connection(headers).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            // What is about the message itself may not be taken away by naming it.
            if ![TE, TRAILER, PROXY_AUTHENTICATE].contains(&name) {
                headers.remove(name);
            }
        }
    }
    OF_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
    if headers.get(TE).is_some_and(|value| value != "trailers") {
        headers.remove(TE);
    }
}

fn own(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::Own(Full::new(Bytes::from_static(text.as_bytes()))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn headers_of_the_connection_stay_here() {
        let mut told = headers(&[
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("x-end", "2"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("authorization", "Bearer x"),
        ]);
        remove_of_connection(&mut told);
        assert_eq!(told, headers(&[("x-end", "2"), ("authorization", "Bearer x")]));
        let mut trailers = headers(&[("te", "trailers"), ("connection", "te")]);
        remove_of_connection(&mut trailers);
        assert_eq!(trailers, headers(&[("te", "trailers")]));
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert!(wants_upgrade(&headers(&[("connection", "Keep-Alive, Upgrade"), ("upgrade", "websocket")])));
        assert!(!wants_upgrade(&headers(&[("connection", "keep-alive"), ("upgrade", "websocket")])));
        assert!(!wants_upgrade(&headers(&[("connection", "upgrade")])));
    }
}
