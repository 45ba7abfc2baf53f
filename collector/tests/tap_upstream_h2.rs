//! The tap before servers that speak HTTP/2: streams share connections, and what goes wrong costs what it must.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/tap.rs"]
mod rig;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rig::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A server of HTTP/2 without TLS.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    /// Connections it took.
    connections: Arc<AtomicUsize>,
    /// 1: every connection says goodbye; 2: it is cut.
    end: watch::Sender<u8>,
}

impl Server {
    /// `answer` also learns the number of the connection.
    async fn start<F, A>(max_streams: u32, answer: F) -> Server
    where
        F: Fn(Request<Incoming>, usize) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            end: watch::Sender::new(0),
        };
        let (connections, ends) = (Arc::clone(&server.connections), server.end.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer(request, number).await) }
                });
                let mut end = ends.subscribe();
                end.mark_unchanged();
                tokio::spawn(async move {
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(max_streams);
                    let mut connection =
                        std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = end.changed() => {}
                    }
                    if *end.borrow() == 1 {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                });
            }
        });
        server
    }

    async fn rig(&self) -> Rig {
        Rig::with(&format!("upstream: 'http://{}/base', upstream_protocol: http2", self.address)).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn streams_share_a_connection_and_pass_whole() {
    let echo = |request: Request<Incoming>, _| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.uri().path_and_query().unwrap(), "/base/v1/chat/completions");
        assert!(request.uri().authority().is_some() && !request.headers().contains_key("host"));
        assert_eq!(request.headers()["x-mine"], "1");
        let got = request.into_body().collect().await.unwrap().to_bytes();
        let mut pieces: Vec<Piece> =
            got.chunks(7_001).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        pieces.push(Ok(Frame::trailers(trailers)));
        let mut answer = events(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(pieces))));
        answer.headers_mut().insert("trailer", "x-end".parse().unwrap());
        answer
    };
    let server = Server::start(200, echo).await;
    let rig = server.rig().await;
    let ask = async |number: usize| {
        let sent = bytes(number as u64, [0, 1, 8_191, 400_000][number % 4]);
        let pieces: Vec<_> = sent.chunks(4_999).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let answer = post(&rig, body).header("x-mine", "1").send().await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
        assert!(answer.bytes().await.unwrap() == sent, "{number}");
    };
    join_all((0..24).map(ask)).await;
    assert_eq!(server.connections(), 1);
    // Trailers reach who speaks HTTP/2.
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post("http://tap/v1/chat/completions").header("x-mine", "1").body(full(CHAT)).unwrap();
    let whole = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-end"], "yes");
    assert_eq!(whole.to_bytes(), CHAT);
    assert_eq!(rig.counted(25).await, ["gpt-4o ok yes 1", "unlisted ok yes 24"]);
}

#[tokio::test]
async fn no_connection_has_more_streams_than_its_server_allows() {
    let open = Arc::new(Mutex::new(Vec::<usize>::new()));
    let seen = Arc::clone(&open);
    let (go, gate) = watch::channel(false);
    let wait = move |_, number: usize| {
        let (seen, mut gate) = (Arc::clone(&seen), gate.clone());
        async move {
            seen.lock().unwrap().push(number);
            gate.wait_for(|go| *go).await.unwrap();
            events(full(EVENT))
        }
    };
    let server = Server::start(2, wait).await;
    let rig = server.rig().await;
    let mut asks = Vec::new();
    for number in 1..=7 {
        asks.push(tokio::spawn(post(&rig, CHAT).send()));
        let arrived = async {
            while open.lock().unwrap().len() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, arrived).await.expect("it does not wait for another's end");
    }
    assert_eq!(*open.lock().unwrap(), [0, 0, 1, 1, 2, 2, 3]);
    go.send(true).unwrap();
    for ask in asks {
        assert_eq!(ask.await.unwrap().unwrap().text().await.unwrap(), EVENT);
    }
    // Their places are free again.
    assert_eq!(post(&rig, CHAT).send().await.unwrap().text().await.unwrap(), EVENT);
    assert_eq!(server.connections(), 4);
    assert_eq!(rig.counted(8).await, ["gpt-4o ok yes 8"]);
}

#[tokio::test]
async fn a_slow_client_holds_back_its_stream_and_no_other() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let endless = move |request: Request<Incoming>, _| {
        let counter = Arc::clone(&counter);
        async move {
            if request.headers().contains_key("x-short") {
                return events(full(EVENT));
            }
            let pieces = futures_util::stream::repeat_with(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))
            });
            events(BodyExt::boxed(StreamBody::new(pieces)))
        }
    };
    let server = Server::start(200, endless).await;
    let rig = server.rig().await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(rig.address).await.unwrap();
        let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
        client.write_all(request.as_bytes()).await.unwrap();
        slow.push(client);
    }
    let (mut last, mut rests) = (0, 0);
    while rests < 20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let now = sent.load(Ordering::Relaxed);
        rests = if now == last && now > 0 { rests + 1 } else { 0 };
        last = now;
        assert!(now < 4_000, "{now} pieces of 64 KiB and no end");
    }
    let answer = post(&rig, CHAT).header("x-short", "1").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), EVENT);
    assert_eq!(server.connections(), 1);
    drop(slow);
    assert_eq!(rig.counted(9).await, ["gpt-4o ok yes 1", "unlisted cancelled yes 8"]);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_upstream() {
    let (left, mut is_left) = mpsc::channel::<()>(1);
    let wait = move |_, _| {
        let left = left.clone();
        async move {
            let (sender, body) = streamed();
            tokio::spawn(async move {
                while sender.send(Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())))).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                left.send(()).await.unwrap();
            });
            events(body)
        }
    };
    let server = Server::start(200, wait).await;
    let rig = server.rig().await;
    let mut pieces = post(&rig, CHAT).send().await.unwrap().bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    tokio::time::timeout(LIMIT, is_left.recv()).await.expect("the upstream sees it").unwrap();
    assert_eq!(rig.counted(1).await, ["gpt-4o cancelled yes 1"]);
}

#[tokio::test]
async fn a_goodbye_costs_nothing_and_a_break_what_was_open() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let (go, gate) = watch::channel(false);
    let stream = move |_, _| {
        let (counter, mut gate) = (Arc::clone(&counter), gate.clone());
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            let (sender, body) = streamed();
            tokio::spawn(async move {
                let event = || Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())));
                let _ = sender.send(event()).await;
                if gate.wait_for(|go| *go).await.is_ok() {
                    let _ = sender.send(event()).await;
                }
            });
            events(body)
        }
    };
    let server = Server::start(200, stream).await;
    let rig = server.rig().await;
    let begin = async || {
        let mut pieces = post(&rig, CHAT).send().await.unwrap().bytes_stream();
        assert_eq!(pieces.next().await.unwrap().unwrap(), EVENT);
        pieces
    };
    let mut first = begin().await;
    server.end.send(1).unwrap();
    // What comes after the goodbye goes over another connection; what was open before ends in its own time.
    let mut second = begin().await;
    while server.connections() == 1 {
        drop(second);
        second = begin().await;
    }
    go.send(true).unwrap();
    for pieces in [&mut first, &mut second] {
        assert_eq!(pieces.next().await.unwrap().unwrap(), EVENT);
        assert!(pieces.next().await.is_none());
    }
    let before = asked.load(Ordering::SeqCst);
    go.send(false).unwrap();
    let mut open = begin().await;
    server.end.send(2).unwrap();
    assert!(open.next().await.unwrap().is_err(), "no whole answer is made of half of one");
    assert_eq!(asked.load(Ordering::SeqCst), before + 1, "it is not asked again");
    go.send(true).unwrap();
    let after = post(&rig, CHAT).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(after, EVENT.repeat(2), "both events, in one piece or two");
    let requests = asked.load(Ordering::SeqCst) as u64;
    let cells = rig.counted(requests).await;
    assert!(cells.contains(&"gpt-4o server_error yes 1".to_owned()), "{cells:?}");
}

#[tokio::test]
async fn without_a_connection_there_is_502_for_all_who_wait() {
    let rig = Rig::with("upstream: 'http://127.0.0.1:1', upstream_protocol: http2").await;
    let answers = join_all((0..20).map(|_| post(&rig, CHAT).send())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 502));
    rig.counted(20).await;
    // A server that speaks HTTP/1.1 only.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let rig = Rig::with(&format!("upstream: 'http://{address}', upstream_protocol: http2")).await;
    assert_eq!(post(&rig, CHAT).send().await.unwrap().status(), 502);
    rig.counted(1).await;
}

/// A server with TLS that offers these protocols and tells which version it was asked in.
async fn tls_server(folder: &Path, protocols: &[&str]) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(|mut request: Request<Incoming>| async move {
                let mut answer = Response::new(full(format!("{:?}", request.version())));
                if request.headers().contains_key("upgrade") {
                    tokio::spawn(async move {
                        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                        TokioIo::new(upgraded).write_all(b"HELLO").await.unwrap();
                    });
                    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    answer.headers_mut().insert("connection", "upgrade".parse().unwrap());
                    answer.headers_mut().insert("upgrade", "shout".parse().unwrap());
                    *answer.body_mut() = full("");
                }
                Ok::<_, Infallible>(answer)
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn with_tls_the_server_chooses() {
    let cases: [(&[&str], &str, &str); 5] = [
        (&["h2", "http/1.1"], "auto", "HTTP/2.0"),
        (&["http/1.1"], "auto", "HTTP/1.1"),
        (&[], "auto", "HTTP/1.1"),
        (&["h2", "http/1.1"], "http1", "HTTP/1.1"),
        (&["h2"], "http2", "HTTP/2.0"),
    ];
    for (protocols, wanted, spoken) in cases {
        let folder = tempfile::tempdir().unwrap();
        let address = tls_server(folder.path(), protocols).await;
        let rig = Rig::with(&format!(
            "upstream: 'https://localhost:{}', upstream_protocol: {wanted}, ca_file: '{}'",
            address.port(),
            folder.path().join("ca.pem").display()
        ))
        .await;
        let answers = join_all((0..3).map(|_| post(&rig, CHAT).send())).await;
        for answer in answers {
            assert_eq!(answer.unwrap().text().await.unwrap(), spoken, "{protocols:?} {wanted}");
        }
        if protocols.contains(&"http/1.1") {
            // An upgrade is asked for in HTTP/1.1 whatever else is spoken.
            let mut client = TcpStream::connect(rig.address).await.unwrap();
            let request = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n";
            client.write_all(request.as_bytes()).await.unwrap();
            let mut told = Vec::new();
            tokio::time::timeout(LIMIT, client.read_to_end(&mut told)).await.unwrap().unwrap();
            let told = String::from_utf8(told).unwrap();
            assert!(told.starts_with("HTTP/1.1 101") && told.ends_with("HELLO"), "{told}");
        }
        rig.counted(3).await;
    }
}
