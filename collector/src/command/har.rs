//! Recorded exchanges, as `count --source tap` takes them: HTTP archives (HAR 1.2), which browsers, mitmproxy and others save.
//!
//! In: a file. Out: each entry to the intake, as if it had passed through the tap; the address of its request is taken for the
//! upstream's. A status of 0 is an exchange that ended without an answer. Bodies stand in an archive decompressed, so
//! `content-encoding` is not heeded. A file that is no archive is refused whole; an entry with a method or a header that is none
//! is refused alone.

use std::borrow::Cow;

use data_encoding::BASE64;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use serde::Deserialize;

use crate::discard::Refusal;
use crate::intake::Intake;
use crate::profile::tap::{End, Exchange, Head, TapProfile};

#[derive(Deserialize)]
struct Archive<'a> {
    #[serde(borrow)]
    log: Log<'a>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    request: Request<'a>,
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    headers: Vec<Header<'a>>,
    #[serde(borrow, rename = "postData")]
    body: Option<Body<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    status: u16,
    #[serde(borrow, default)]
    headers: Vec<Header<'a>>,
    #[serde(borrow)]
    content: Option<Body<'a>>,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default, rename = "mimeType")]
    content_type: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    encoding: Cow<'a, str>,
}

/// Counts the exchanges of an archive with a server of `profile` at `now_ms`, Unix milliseconds.
///
/// # Errors
/// It is no archive; nothing of it was counted.
pub fn count(intake: &mut Intake, profile: TapProfile, archive: &[u8], now_ms: u64) -> Result<(), Refusal> {
    let archive = serde_json::from_slice::<Archive<'_>>(archive).map_err(|_| Refusal::Malformed);
    let archive = archive.inspect_err(|refusal| intake.refuse_payload(*refusal))?;
    for entry in &archive.log.entries {
        match exchange(profile, entry) {
            Ok((exchange, end, host)) => intake.take_exchange(exchange, end, &host, "", now_ms),
            Err(refusal) => intake.refuse_payload(refusal),
        }
    }
    Ok(())
}

fn exchange(profile: TapProfile, entry: &Entry<'_>) -> Result<(Exchange, End, String), Refusal> {
    let Entry { request, response } = entry;
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| Refusal::Malformed)?;
    let uri: Uri = request.url.parse().map_err(|_| Refusal::Malformed)?;
    let request_headers = headers(&request.headers, request.body.as_ref())?;
    let mut exchange =
        Exchange::new(profile, Head { method: &method, path: uri.path(), headers: &request_headers });
    if let Some(body) = &request.body {
        exchange.request_piece(&bytes(body)?);
    }
    exchange.request_end();
    let host = uri.host().unwrap_or_default().to_owned();
    if response.status == 0 {
        return Ok((exchange, End::ClientLeft, host));
    }
    exchange.answer(response.status, &headers(&response.headers, response.content.as_ref())?);
    if let Some(body) = &response.content {
        exchange.answer_piece(&bytes(body)?);
    }
    Ok((exchange, End::Complete, host))
}

fn headers(list: &[Header<'_>], body: Option<&Body<'_>>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    // HTTP/2's `:authority` and the like are no headers.
    for header in list.iter().filter(|header| !header.name.starts_with(':')) {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Refusal::Malformed)?;
        headers.append(name, HeaderValue::from_str(&header.value).map_err(|_| Refusal::Malformed)?);
    }
    headers.remove(CONTENT_ENCODING);
    if let Some(body) = body.filter(|body| !body.content_type.is_empty())
        && !headers.contains_key(CONTENT_TYPE)
    {
        headers
            .insert(CONTENT_TYPE, HeaderValue::from_str(&body.content_type).map_err(|_| Refusal::Malformed)?);
    }
    Ok(headers)
}

fn bytes<'a>(body: &'a Body<'_>) -> Result<Cow<'a, [u8]>, Refusal> {
    match &*body.encoding {
        "" => Ok(Cow::Borrowed(body.text.as_bytes())),
        "base64" => BASE64.decode(body.text.as_bytes()).map(Cow::Owned).map_err(|_| Refusal::Encoding),
        _ => Err(Refusal::Encoding),
    }
}
