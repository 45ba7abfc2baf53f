//! WebSockets through the tap: bytes pass both ways, and each response of a session counts once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/tap.rs"]
mod rig;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rig::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// A server of WebSockets, which speaks through `speak`; `extension` is what it agrees to.
async fn server<F, S>(extension: &'static str, speak: F) -> std::net::SocketAddr
where
    F: Fn(TokioIo<Upgraded>) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    upstream(move |mut request: Request<Incoming>| {
        let speak = speak.clone();
        async move {
            let key = request.headers()["sec-websocket-key"].as_bytes().to_owned();
            tokio::spawn(async move {
                speak(TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap())).await;
            });
            let mut answer = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-accept", derive_accept_key(&key));
            if !extension.is_empty() {
                answer = answer.header("sec-websocket-extensions", extension);
            }
            answer.body(full("")).unwrap()
        }
    })
    .await
}

type Socket<S> = WebSocketStream<S>;

async fn socket(io: TokioIo<Upgraded>) -> Socket<TokioIo<Upgraded>> {
    WebSocketStream::from_raw_socket(io, Role::Server, None).await
}

async fn client(rig: &Rig, path: &str) -> Socket<TcpStream> {
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let url = format!("ws://{}{path}", rig.address);
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, text: impl Into<String>) {
    socket.send(Message::text(text.into())).await.unwrap();
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> String {
    let heard = tokio::time::timeout(LIMIT, socket.next()).await.unwrap();
    heard.unwrap().unwrap().into_text().unwrap().to_string()
}

const SESSION: &str = r#"{"type":"session.created","session":{"type":"realtime","model":"gpt-4o-realtime-preview-2024-12-17"}}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"status":"in_progress","usage":null}}"#;
/// How the register calls it.
const MODEL: &str = "gpt-4o-realtime";

fn done(status: &str) -> String {
    format!(
        r#"{{"type":"response.done","response":{{"object":"realtime.response","status":"{status}","usage":{{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}}}}"#
    )
}

/// Says what the session is, and answers each text with it, `.` with nothing, `!` with the end of the connection.
async fn parrot(io: TokioIo<Upgraded>) {
    let mut socket = socket(io).await;
    say(&mut socket, SESSION).await;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "!" => return,
            Message::Text(text) if text != "." => say(&mut socket, text.to_string()).await,
            _ => {}
        }
    }
}

#[tokio::test]
async fn each_response_of_a_session_counts_by_its_status() {
    let rig = Rig::before(server("", parrot).await).await;
    let mut client = client(&rig, "/v1/realtime?model=gpt-4o-realtime-preview").await;
    assert_eq!(hear(&mut client).await, SESSION);
    for status in ["completed", "incomplete", "cancelled", "failed", "odd"] {
        for text in [
            CREATED.to_owned(),
            r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#.into(),
            done(status),
        ] {
            say(&mut client, &*text).await;
            assert_eq!(hear(&mut client).await, text);
        }
    }
    client.close(None).await.unwrap();
    while client.next().await.is_some() {}
    let totals = {
        let told = rig.counted(5).await;
        let expected = ["cancelled yes 1", "ok yes 2", "server_error yes 1", "unknown yes 1"]
            .map(|told| format!("{MODEL} {told}"));
        assert_eq!(told, expected);
        rig.gate.edge().intake().counter().totals()
    };
    assert_eq!((totals.input_tokens, totals.output_tokens, totals.attempts), (25, 35, 5));
    assert_eq!(rig.skipped(), 1, "the handshake is no request");
}

#[tokio::test]
async fn models_and_apis_are_told_by_session_query_and_path() {
    let quiet = |io| async {
        let mut socket = socket(io).await;
        for text in [CREATED, r#"{"type":"response.completed","response":{"status":"completed","model":""}}"#]
        {
            say(&mut socket, text).await;
        }
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    };
    let cases = [
        ("/v1/realtime?x=1&model=gpt%2D4o-realtime-preview", "gpt-4o-realtime ok yes 1"),
        // Azure's preview knows only response.done: what is open when the client closes was cancelled.
        ("/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-4o", "gpt-4o cancelled yes 1"),
        ("/v1/responses", "unlisted ok yes 1"),
    ];
    for (path, expected) in cases {
        let rig = Rig::before(server("", quiet).await).await;
        let mut client = client(&rig, path).await;
        for _ in 0..2 {
            hear(&mut client).await;
        }
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
        assert_eq!(rig.counted(1).await, [expected], "{path}");
    }
}

#[tokio::test]
async fn who_ends_a_session_ends_what_is_open() {
    let rig = Rig::before(server("", parrot).await).await;
    let open = async || {
        let mut client = client(&rig, "/v1/realtime").await;
        assert_eq!(hear(&mut client).await, SESSION);
        for text in [CREATED, CREATED, &done("completed")] {
            say(&mut client, text).await;
            assert_eq!(hear(&mut client).await, text);
        }
        client
    };
    let with = |outcome: &str| [format!("{MODEL} {outcome} yes 1"), format!("{MODEL} ok yes 1")];
    // The client closes, and the server agrees; the client is gone; the server is gone.
    let mut polite = open().await;
    polite.close(None).await.unwrap();
    while polite.next().await.is_some() {}
    assert_eq!(rig.counted(2).await, with("cancelled"));
    drop(open().await);
    assert_eq!(rig.counted(4).await, with("cancelled"));
    let mut broken = open().await;
    say(&mut broken, "!").await;
    assert!(broken.next().await.unwrap().is_err());
    drop(broken);
    let mut expected = with("server_error");
    expected.sort();
    assert_eq!(rig.counted(6).await, expected);
}

#[tokio::test]
async fn a_server_that_closes_first_ends_what_is_open() {
    let close = |io| async {
        let mut socket = socket(io).await;
        say(&mut socket, CREATED).await;
        socket.close(None).await.unwrap();
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    };
    let rig = Rig::before(server("", close).await).await;
    let mut client = client(&rig, "/v1/realtime?model=gpt-4o").await;
    while client.next().await.is_some_and(|message| message.is_ok()) {}
    drop(client);
    assert_eq!(rig.counted(1).await, ["gpt-4o server_error yes 1"]);
}

#[tokio::test]
async fn bytes_pass_unchanged_in_both_directions_at_once() {
    let echo = |mut io: TokioIo<Upgraded>| async move {
        let mut buffer = vec![0; 4_999];
        while let Ok(length @ 1..) = io.read(&mut buffer).await {
            io.write_all(&buffer[..length]).await.unwrap();
        }
    };
    let rig = Rig::before(server("", echo).await).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let request = "GET /v1/realtime?model=gpt-4o HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(
        String::from_utf8(head).unwrap().contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
    );
    let (mut reader, mut writer) = stream.into_split();
    let sent = bytes(7, 3_000_000);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    tokio::time::timeout(LIMIT, reader.read_to_end(&mut got)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
    // What is no WebSocket any more counts as one request of unknown outcome.
    assert_eq!(rig.counted(1).await, ["gpt-4o unknown yes 1"]);
}

#[tokio::test]
async fn a_slow_client_holds_back_the_server() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let endless = move |io: TokioIo<Upgraded>| {
        let counter = Arc::clone(&counter);
        async move {
            let mut socket = socket(io).await;
            let text =
                format!(r#"{{"type":"response.output_audio.delta","delta":"{}"}}"#, "A".repeat(60_000));
            while socket.send(Message::text(text.clone())).await.is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let rig = Rig::before(server("", endless).await).await;
    let client = client(&rig, "/v1/realtime").await;
    // It comes to rest although the client reads nothing: only the kernel's buffers are full.
    let (mut last, mut rests) = (0, 0);
    while rests < 20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let now = sent.load(Ordering::Relaxed);
        rests = if now == last && now > 0 { rests + 1 } else { 0 };
        last = now;
        assert!(now < 2_000, "{now} messages of 60 kB and no end");
    }
    drop(client);
}

/// A compressed text message.
fn compressed(compress: &mut Compress, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1_024);
    compress.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    let length = u16::try_from(out.len()).unwrap().to_be_bytes();
    [&[0xc1, 126], length.as_slice(), &out].concat()
}

#[tokio::test]
async fn compressed_sessions_are_read_and_unknown_extensions_count_as_one() {
    let speak = |mut io: TokioIo<Upgraded>| async move {
        let mut compress = Compress::new(Compression::default(), false);
        for text in [SESSION, CREATED, &done("completed"), CREATED, &done("completed")] {
            io.write_all(&compressed(&mut compress, text)).await.unwrap();
        }
        io.write_all(&[0x88, 0]).await.unwrap();
    };
    let agreed = [
        ("permessage-deflate; server_no_context_takeover", vec![format!("{MODEL} ok yes 2")]),
        ("x-own", vec!["gpt-4o unknown yes 1".to_owned()]),
        ("permessage-deflate, x-own", vec!["gpt-4o unknown yes 1".to_owned()]),
        ("", vec!["gpt-4o unknown yes 1".to_owned()]),
    ];
    for (extension, expected) in agreed {
        let rig = Rig::before(server(extension, speak).await).await;
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let request = "GET /v1/realtime?model=gpt-4o HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\
            sec-websocket-key: x\r\nsec-websocket-extensions: permessage-deflate, x-own\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut told)).await.unwrap().unwrap();
        drop(stream);
        let requests = if expected[0].ends_with('2') { 2 } else { 1 };
        assert_eq!(rig.counted(requests).await, expected, "{extension}");
    }
}

#[tokio::test]
async fn a_session_ends_after_shutdown_when_nothing_is_open() {
    let mut rig = Rig::before(server("", parrot).await).await;
    let mut quiet = client(&rig, "/v1/realtime").await;
    let mut busy = client(&rig, "/v1/realtime").await;
    for client in [&mut quiet, &mut busy] {
        assert_eq!(hear(client).await, SESSION);
    }
    say(&mut busy, CREATED).await;
    assert_eq!(hear(&mut busy).await, CREATED);
    rig.shutdown.cancel();
    assert!(quiet.next().await.unwrap().is_err(), "nothing is open: cut");
    say(&mut busy, done("completed")).await;
    assert_eq!(hear(&mut busy).await, done("completed"));
    assert!(busy.next().await.unwrap().is_err(), "its response has ended: cut");
    tokio::time::timeout(LIMIT, rig.tasks.join_next()).await.expect("the tap ends").unwrap().unwrap();
    assert_eq!(rig.counted(1).await, [format!("{MODEL} ok yes 1")]);
    // Ending the task cuts what is open.
    let mut rig = Rig::before(server("", parrot).await).await;
    let mut busy = client(&rig, "/v1/realtime").await;
    for text in [SESSION, CREATED] {
        if text == CREATED {
            say(&mut busy, text).await;
        }
        assert_eq!(hear(&mut busy).await, text);
    }
    rig.tasks.shutdown().await;
    assert_eq!(rig.counted(1).await, [format!("{MODEL} cancelled yes 1")]);
}

#[tokio::test]
async fn refused_sessions_and_other_sockets_are_no_requests() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let refuse = move |_: Request<Incoming>| {
        *count.lock().unwrap() += 1;
        async { Response::builder().status(StatusCode::UNAUTHORIZED).body(full("")).unwrap() }
    };
    let rig = Rig::before(upstream(refuse).await).await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let url = format!("ws://{}/v1/realtime", rig.address);
    assert!(tokio_tungstenite::client_async(url, stream).await.is_err());
    let rig = Rig::before(server("", parrot).await).await;
    let mut other = client(&rig, "/v1/realtime/other").await;
    assert_eq!(hear(&mut other).await, SESSION);
    say(&mut other, done("completed")).await;
    assert_eq!(hear(&mut other).await, done("completed"));
    other.close(None).await.unwrap();
    while other.next().await.is_some() {}
    assert_eq!(rig.gate.edge().intake().counter().totals().requests, 0);
}
