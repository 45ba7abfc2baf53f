//! A TCP proxy whose network breaks on demand.
//!
//! In: connections on a port of its own. Out: the same bytes to and from a target, as the `Network` in force lets them. A byte that
//! passes is passed in order: reordering is what TCP hides; disorder of reports is the fleet's. Connections that stood still
//! go on when the network is whole again, except those whose answers were swallowed: they are reset.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// They pass.
    Whole,
    /// They pass later.
    Slow(Duration),
    /// Connections end, new ones too: the other side went away in order.
    Cut,
    /// Connections are reset, new ones too.
    Reset,
    /// Nothing passes and nothing is told: a cable was pulled.
    Silent,
    /// What is asked arrives, what is answered does not: half open.
    Unanswered,
}

/// A proxy; it ends with the runtime.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Listens on `port` for `target`, both on 127.0.0.1.
    pub(super) async fn start(port: u16, target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port for a proxy");
        let address = listener.local_addr().expect("the port of a proxy");
        let (network, seen) = watch::channel(Network::Whole);
        tokio::spawn(accept(listener, target, seen));
        Proxy { address, network }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn accept(listener: TcpListener, target: u16, network: watch::Receiver<Network>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, target, network.clone()));
    }
}

async fn serve(client: TcpStream, target: u16, mut network: watch::Receiver<Network>) {
    let now = *network.borrow_and_update();
    let server = match now {
        Network::Cut => return,
        Network::Reset => return reset(&client),
        _ => TcpStream::connect(("127.0.0.1", target)).await,
    };
    // Nobody behind it: the client sees a connection that ends.
    let Ok(server) = server else { return };
    let no_delay = client.set_nodelay(true).and(server.set_nodelay(true));
    if no_delay.is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let ask = pump(from_client, to_server, false, network.clone());
    let answer = pump(from_server, to_client, true, network);
    tokio::pin!(ask, answer);
    // The end of one is the end of both: none of our protocols goes on half closed. What the network ends, each ends in its way.
    tokio::select! {
        end = &mut ask => if end == End::Network { answer.await; },
        end = &mut answer => if end == End::Network { ask.await; },
    }
}

fn reset(stream: &TcpStream) {
    // Closing with it sends RST. Where it fails the connection ends in order.
    let _ = stream.set_zero_linger();
}

/// Without the shutdown in order that dropping a half begins with.
fn end_by_reset(half: OwnedWriteHalf) {
    reset(half.as_ref());
    half.forget();
}

/// Why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The network: the other direction ends by it, too.
    Network,
    /// One of the two sides, or a gap in the answers.
    Side,
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_answer: bool,
    mut network: watch::Receiver<Network>,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    let mut swallowed = false;
    loop {
        let now = *network.borrow_and_update();
        match now {
            Network::Cut => return End::Network,
            Network::Reset => {
                end_by_reset(to);
                return End::Network;
            }
            Network::Silent => {
                if network.changed().await.is_err() {
                    return End::Side;
                }
                continue;
            }
            Network::Whole if swallowed => {
                end_by_reset(to);
                return End::Side;
            }
            Network::Whole | Network::Slow(_) | Network::Unanswered => {}
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = network.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return End::Side,
            },
        };
        let Ok(count @ 1..) = read else { return End::Side };
        let now = *network.borrow();
        match now {
            Network::Slow(pause) => tokio::time::sleep(pause).await,
            Network::Unanswered if is_answer => {
                swallowed = true;
                continue;
            }
            _ => {}
        }
        let Some(bytes) = buffer.get(..count) else { return End::Side };
        if to.write_all(bytes).await.is_err() {
            return End::Side;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that answers each byte with the next one.
    async fn successor() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        stream.write_u8(byte + 1).await.unwrap();
                    }
                });
            }
        });
        port
    }

    async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        stream.write_u8(byte).await?;
        timeout(LIMIT, stream.read_u8()).await.expect("an answer or an end")
    }

    #[tokio::test]
    async fn bytes_pass_wait_vanish_and_connections_break() {
        let proxy = Proxy::start(0, successor().await).await;
        let connect = async || TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let mut first = connect().await;
        assert_eq!(ask(&mut first, 1).await.unwrap(), 2);
        proxy.set(Network::Slow(Duration::from_millis(5)));
        assert_eq!(ask(&mut first, 2).await.unwrap(), 3);

        proxy.set(Network::Silent);
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.write_u8(10).await.unwrap();
        assert!(timeout(Duration::from_millis(100), first.read_u8()).await.is_err(), "nothing passes");
        proxy.set(Network::Whole);
        assert_eq!(timeout(LIMIT, first.read_u8()).await.unwrap().unwrap(), 11, "nothing was lost");

        proxy.set(Network::Unanswered);
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.write_u8(20).await.unwrap();
        assert!(
            timeout(Duration::from_millis(100), first.read_u8()).await.is_err(),
            "the answer is swallowed"
        );
        proxy.set(Network::Whole);
        assert!(timeout(LIMIT, first.read_u8()).await.unwrap().is_err(), "a gap in an answer never passes");

        let mut second = connect().await;
        assert_eq!(ask(&mut second, 1).await.unwrap(), 2);
        proxy.set(Network::Reset);
        let broken = timeout(LIMIT, second.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
        proxy.set(Network::Cut);
        let mut third = connect().await;
        let ended = timeout(LIMIT, third.read_u8()).await.unwrap();
        assert!(ended.is_err(), "new connections end");
    }
}
