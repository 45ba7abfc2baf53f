//! What passes the tap is what was sent, at once, in both directions, with its head.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/tap.rs"]
mod rig;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::*;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::test]
async fn bodies_pass_byte_for_byte_in_both_directions() {
    // The upstream sends back what it got, in pieces of other lengths.
    let echo = |request: Request<Incoming>| async move {
        let content_type = request.headers()["content-type"].clone();
        let got = request.into_body().collect().await.unwrap().to_bytes();
        let pieces: Vec<_> =
            got.chunks(7_001).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let body = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(pieces)));
        Response::builder().header("content-type", content_type).body(body).unwrap()
    };
    let rig = Rig::before(upstream(echo).await).await;
    let types = [
        "application/json",
        "text/event-stream",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
        "x/y",
    ];
    for (number, content_type) in types.into_iter().enumerate() {
        for length in [0, 1, 8_191, 300_000] {
            let sent = bytes(number as u64, length);
            let pieces: Vec<_> =
                sent.chunks(4_999).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
            let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
            let answer = post_as(&rig, content_type, body).send().await.unwrap();
            assert_eq!(answer.headers().get_all("content-type").iter().count(), 1);
            assert_eq!(answer.bytes().await.unwrap(), sent, "{content_type} {length}");
        }
    }
    assert_eq!(
        rig.counted(20).await,
        ["unlisted ok no 8", "unlisted ok yes 12"],
        "by the answer's content type"
    );
}

#[tokio::test]
async fn a_large_upload_passes_without_being_held() {
    let count = |request: Request<Incoming>| async move {
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        Response::new(full(length.to_string()))
    };
    let rig = Rig::before(upstream(count).await).await;
    let piece = vec![b' '; 1024 * 1024];
    let pieces = futures_util::stream::iter((0..200).map(move |_| Ok::<_, Infallible>(piece.clone())));
    let answer = post(&rig, reqwest::Body::wrap_stream(pieces)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), (200 * 1024 * 1024).to_string());
    rig.counted(1).await;
}

#[tokio::test]
async fn what_comes_passes_at_once() {
    let (rig, sender) = streaming().await;
    let answering = tokio::spawn(post(&rig, CHAT).send());
    let answer = answering.await.unwrap().unwrap();
    let mut pieces = answer.bytes_stream();
    for _ in 0..3 {
        // Nothing follows until the client has this one.
        sender.send(Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())))).await.unwrap();
        assert_eq!(pieces.next().await.unwrap().unwrap(), EVENT);
    }
    drop(sender);
    assert!(pieces.next().await.is_none());
    assert_eq!(rig.counted(1).await, ["gpt-4o ok yes 1"]);
}

#[tokio::test]
async fn a_slow_client_holds_back_the_upstream() {
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let endless = move |_| {
        let counter = Arc::clone(&counter);
        async move {
            let pieces = futures_util::stream::repeat_with(move || {
                counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))
            });
            events(BodyExt::boxed(StreamBody::new(pieces)))
        }
    };
    let rig = Rig::before(upstream(endless).await).await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(request.as_bytes()).await.unwrap();
    // It comes to rest although the client reads nothing: only the kernel's buffers are full.
    let (mut last, mut rests) = (0, 0);
    while rests < 20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        rests = if now == last && now > 0 { rests + 1 } else { 0 };
        last = now;
        assert!(now < 2_000, "{now} pieces of 64 KiB and no end");
    }
    drop(client);
    assert_eq!(rig.counted(1).await, ["unlisted cancelled yes 1"]);
}

#[tokio::test]
async fn heads_pass_and_none_is_added() {
    let (heads, mut seen) = mpsc::channel::<(Method, String, Version, HeaderMap)>(8);
    let tell = move |request: Request<Incoming>| {
        let heads = heads.clone();
        async move {
            let (head, _) = request.into_parts();
            heads.send((head.method, head.uri.to_string(), head.version, head.headers)).await.unwrap();
            Response::builder()
                .status(StatusCode::IM_A_TEAPOT)
                .header("x-twice", "1")
                .header("x-twice", "2")
                .header("connection", "x-hop")
                .header("x-hop", "gone")
                .header("date", "then")
                .header("content-length", "0")
                .body(full(""))
                .unwrap()
        }
    };
    let address = upstream(tell).await;
    let rig = Rig::with(&format!("upstream: 'http://{address}/base/'")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .request(Method::PATCH, rig.url("/v1/x%2Fy?a=b%20c&d"))
        .header("x-mine", "1")
        .header("x-mine", "2")
        .header("authorization", "Bearer secret")
        .header("connection", "x-private")
        .header("x-private", "gone")
        .header("expect", "100-continue")
        .body("abc");
    let answer = request.send().await.unwrap();
    let (method, uri, version, mut headers) = seen.recv().await.unwrap();
    assert_eq!(
        (method, uri.as_str(), version),
        (Method::PATCH, "/base/v1/x%2Fy?a=b%20c&d", Version::HTTP_11)
    );
    assert_eq!(headers.remove("host").unwrap(), address.to_string());
    assert_eq!(headers.get_all("x-mine").iter().collect::<Vec<_>>(), ["1", "2"]);
    headers.remove("x-mine");
    let rest: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let mut rest = rest;
    rest.sort();
    assert_eq!(rest, ["accept: */*", "authorization: Bearer secret", "content-length: 3"]);
    assert_eq!(answer.status(), 418);
    let mut told: Vec<_> =
        answer.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    told.sort();
    assert_eq!(told, ["content-length: 0", "date: then", "x-twice: 1", "x-twice: 2"]);
    assert_eq!(rig.skipped(), 1, "no inference");
}

#[tokio::test]
async fn compressed_answers_pass_compressed_and_are_counted() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(br#"{"model":"gpt-4o","usage":{"prompt_tokens":3,"completion_tokens":4}}"#).unwrap();
    let zipped = encoder.finish().unwrap();
    let body = zipped.clone();
    let answer = move |_| {
        let body = body.clone();
        async move {
            Response::builder()
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                .body(full(body))
                .unwrap()
        }
    };
    let rig = Rig::before(upstream(answer).await).await;
    let answer = post(&rig, "{}").send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.bytes().await.unwrap(), zipped);
    let totals = {
        rig.counted(1).await;
        rig.gate.edge().intake().counter().totals()
    };
    assert_eq!((totals.input_tokens, totals.output_tokens), (3, 4));
}

#[tokio::test]
async fn http2_clients_and_trailers_pass() {
    let trailing = |request: Request<Incoming>| async move {
        let te = request.headers().get("te").cloned();
        request.into_body().collect().await.unwrap();
        let (sender, body) = streamed();
        tokio::spawn(async move {
            sender.send(Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())))).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "yes".parse().unwrap());
            sender.send(Ok(Frame::trailers(trailers))).await.unwrap();
        });
        let mut answer = events(body);
        answer.headers_mut().insert("trailer", "x-end".parse().unwrap());
        answer.headers_mut().extend(te.map(|te| (http::header::TE, te)));
        answer
    };
    let rig = Rig::before(upstream(trailing).await).await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request = Request::post("http://tap/v1/chat/completions")
            .header("te", "trailers")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(CHAT.as_bytes())))
            .unwrap();
        answers.push(sender.send_request(request));
    }
    for answer in futures_util::future::join_all(answers).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-end"], "yes");
        assert_eq!(whole.to_bytes(), EVENT);
    }
    assert_eq!(rig.counted(3).await, ["gpt-4o ok yes 3"]);
}

#[tokio::test]
async fn a_preface_that_comes_in_pieces_is_http2() {
    let rig = Rig::before(upstream(|_| async { Response::new(full("{}")) }).await).await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    client.set_nodelay(true).unwrap();
    for piece in ["P", "RI * HT", "TP/2.0\r\n\r\nSM\r\n\r\n"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // An empty frame SETTINGS.
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut told = [0; 9];
    tokio::time::timeout(LIMIT, client.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(told[3], 4, "its own SETTINGS");
    // A method with the preface's first letters is HTTP/1.1.
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    for piece in ["P", "R", "OPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut told = String::new();
    tokio::time::timeout(LIMIT, client.read_to_string(&mut told)).await.unwrap().unwrap();
    assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("{}"), "{told}");
}

#[tokio::test]
async fn pieces_that_come_at_once_keep_their_order_and_their_trailers() {
    // Small ones, which go on as one, between large ones, which do not; cut anywhere by the network.
    let lengths = [1, 120, 16_383, 3, 16_384, 40_000, 7, 9_000, 9_000, 1];
    let sent: Vec<Vec<u8>> =
        lengths.iter().enumerate().map(|(number, length)| bytes(number as u64, *length)).collect();
    let mut wire =
        b"HTTP/1.1 200 OK\r\ntrailer: x-end\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in &sent {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\nx-end: yes\r\n\r\n");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Several exchanges over one connection.
        loop {
            let mut request = vec![0; 65_536];
            if stream.read(&mut request).await.unwrap() == 0 {
                return;
            }
            stream.write_all(&wire).await.unwrap();
        }
    });
    let rig = Rig::before(address).await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::post("/v1/chat/completions").header("host", "tap").header("te", "trailers");
        let request = request.body(Full::new(Bytes::from_static(CHAT.as_bytes()))).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let whole = tokio::time::timeout(LIMIT, answer.into_body().collect()).await.unwrap().unwrap();
        assert_eq!(whole.trailers().unwrap()["x-end"], "yes");
        assert_eq!(whole.to_bytes(), sent.concat());
    }
    assert_eq!(rig.counted(3).await, ["gpt-4o ok yes 3"]);
}

#[tokio::test]
async fn upgrades_pass_both_ways() {
    let upgrade = |mut request: Request<Incoming>| async move {
        assert_eq!(request.headers()["upgrade"], "shout");
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let mut io = TokioIo::new(upgraded);
            let mut said = [0; 5];
            io.read_exact(&mut said).await.unwrap();
            io.write_all(&said.to_ascii_uppercase()).await.unwrap();
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "shout")
            .body(full(""))
            .unwrap()
    };
    let rig = Rig::before(upstream(upgrade).await).await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request =
        "GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\nhello";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    tokio::time::timeout(LIMIT, client.read_to_end(&mut told)).await.unwrap().unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 101") && told.ends_with("\r\n\r\nHELLO"), "{told}");
}

#[tokio::test]
async fn heads_without_bodies_keep_their_lengths() {
    let head = |_| async { Response::builder().header("content-length", "77").body(full("")).unwrap() };
    let rig = Rig::before(upstream(head).await).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.head(rig.url("/v1/models")).send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], "77");
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_connect_is_not_for_it() {
    let rig = Rig::before(upstream(|_| async { Response::new(full("")) }).await).await;
    for (request, answer) in
        [("hello\r\n\r\n", "HTTP/1.1 400"), ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "HTTP/1.1 405")]
    {
        let mut client = TcpStream::connect(rig.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut told = Vec::new();
        tokio::time::timeout(LIMIT, client.read_to_end(&mut told)).await.unwrap().unwrap();
        assert!(told.starts_with(answer.as_bytes()), "{}", String::from_utf8_lossy(&told));
    }
}
