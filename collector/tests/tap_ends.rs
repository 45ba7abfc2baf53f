//! Whoever leaves, breaks off or shuts down: both sides see it, and the exchange counts once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/tap.rs"]
mod rig;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use hyper::body::Frame;
use rig::*;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_upstream() {
    let (left, mut is_left) = mpsc::channel::<()>(1);
    let wait = move |_| {
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
    let rig = Rig::before(upstream(wait).await).await;
    let mut pieces = post(&rig, CHAT).send().await.unwrap().bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    tokio::time::timeout(LIMIT, is_left.recv()).await.expect("the upstream sees it").unwrap();
    assert_eq!(rig.counted(1).await, ["gpt-4o cancelled yes 1"]);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_cancelled() {
    let rig = Rig::before(upstream(|_| std::future::pending::<Answer>()).await).await;
    let asked = post(&rig, CHAT).timeout(Duration::from_millis(200)).send().await;
    assert!(asked.unwrap_err().is_timeout());
    assert_eq!(rig.counted(1).await, ["gpt-4o cancelled yes 1"]);
    // In the middle of its request.
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{\"model\":\"gpt-4o\",";
    client.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    assert_eq!(rig.counted(2).await, ["gpt-4o cancelled unknown 1"]);
}

/// A server that says these bytes to whoever connects, and closes.
async fn raw_upstream(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n";
    let rig = Rig::before(raw_upstream(broken).await).await;
    let answer = post(&rig, CHAT).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "no whole answer is made of half of one");
    assert_eq!(rig.counted(1).await, ["gpt-4o server_error yes 1"]);
}

#[tokio::test]
async fn what_came_before_an_answer_breaks_off_passes() {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\nzz";
    let rig = Rig::before(raw_upstream(broken).await).await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    tokio::time::timeout(LIMIT, client.read_to_end(&mut told)).await.unwrap().unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.ends_with("\r\n\r\n3\r\nabc\r\n"), "{told}");
    assert_eq!(rig.counted(1).await, ["unlisted server_error yes 1"]);
}

#[tokio::test]
async fn without_an_answer_there_is_502() {
    for upstream in [raw_upstream(b"").await, raw_upstream(b"SSH-2.0\r\n").await] {
        let rig = Rig::before(upstream).await;
        assert_eq!(post(&rig, CHAT).send().await.unwrap().status(), 502);
        assert_eq!(rig.counted(1).await, ["gpt-4o server_error yes 1"]);
    }
    // Nobody listens: what was asked for stays with the client.
    let rig = Rig::before("127.0.0.1:1".parse().unwrap()).await;
    assert_eq!(post(&rig, CHAT).send().await.unwrap().status(), 502);
    assert_eq!(rig.counted(1).await, ["unlisted server_error unknown 1"]);
}

#[tokio::test]
async fn open_exchanges_end_after_shutdown_and_new_ones_are_not_taken() {
    let (mut rig, go) = streaming().await;
    let mut pieces = post(&rig, CHAT).send().await.unwrap().bytes_stream();
    // Asks for nothing, and does not keep the tap.
    let _silent = TcpStream::connect(rig.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    rig.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(rig.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("no new connections");
    go.send(Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())))).await.unwrap();
    drop(go);
    assert_eq!(pieces.next().await.unwrap().unwrap(), EVENT);
    assert!(pieces.next().await.is_none(), "a whole end");
    tokio::time::timeout(LIMIT, rig.tasks.join_next()).await.expect("the tap ends").unwrap().unwrap();
    assert_eq!(rig.counted(1).await, ["gpt-4o ok yes 1"]);
}

#[tokio::test]
async fn exchanges_that_are_cut_at_the_end_are_counted() {
    let (mut rig, _never) = streaming().await;
    let _pieces = post(&rig, CHAT).send().await.unwrap().bytes_stream();
    rig.shutdown.cancel();
    rig.tasks.shutdown().await;
    assert_eq!(rig.counted(1).await, ["gpt-4o cancelled yes 1"]);
}

#[tokio::test]
async fn more_connections_than_places_wait() {
    let rig = {
        let address = upstream(|_| async { Response::new(full("{}")) }).await;
        Rig::with(&format!("upstream: 'http://{address}', max_connections: 1")).await
    };
    let first = TcpStream::connect(rig.address).await.unwrap();
    let second = tokio::spawn(post(&rig, "{}").send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished(), "no place");
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    rig.counted(1).await;
}
