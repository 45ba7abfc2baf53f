//! Connections after an upgrade: bytes pass both ways, and WebSockets that carry requests are looked at.
//!
//! In: both sides of the upgrade. Out: their bytes, unchanged and as they come, with backpressure, until both have ended or one
//! has broken; each request of a session to `Gate`, at its event. Guarantees: a request that is open when the server says no more
//! counts once, by who ended the session: the side that closed first, in the WebSocket or below it. After `shutdown` a session is
//! cut as soon as no request is open; dropping it counts what is open as left by the client.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::serve::Tap;
use crate::profile::tap::{End, Reply, Session};

/// Bytes that wait in one direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// Where an exchange leaves what its connection becomes.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Box<Upgraded>>>>);

impl Slot {
    pub(super) fn put(&self, upgraded: Upgraded) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(upgraded));
    }

    pub(super) fn take(&self) -> Option<Box<Upgraded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Both sides of an upgrade.
pub(super) struct Upgraded {
    client: OnUpgrade,
    server: OnUpgrade,
    watch: Watch,
}

impl Upgraded {
    /// `session` is there if it carries requests.
    pub(super) fn new(
        client: OnUpgrade,
        server: OnUpgrade,
        session: Option<Session>,
        tap: Arc<Tap>,
    ) -> Upgraded {
        Upgraded { client, server, watch: Watch { session, tap, end: None } }
    }

    /// Passes bytes until both sides have ended, one has broken, or `shutdown` cuts it.
    pub(super) async fn pass(self, shutdown: CancellationToken) {
        let Upgraded { client, server, mut watch } = self;
        let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        let (mut up, mut down) = (Direction::new(), Direction::new());
        let mut cut = pin!(shutdown.cancelled());
        let mut is_cut = false;
        poll_fn(|context| {
            if !up.is_ended {
                match up.poll(context, &mut client, &mut server, |piece| watch.client_piece(piece)) {
                    Poll::Ready(Ok(()) | Err(Broken::From)) => watch.ends(End::ClientLeft),
                    Poll::Ready(Err(Broken::To)) => watch.ends(End::UpstreamBroke),
                    Poll::Pending => {}
                }
            }
            if !down.is_ended {
                match down.poll(context, &mut server, &mut client, |piece| watch.server_piece(piece)) {
                    Poll::Ready(Ok(()) | Err(Broken::From)) => watch.ends(End::UpstreamBroke),
                    Poll::Ready(Err(Broken::To)) => watch.ends(End::ClientLeft),
                    Poll::Pending => {}
                }
                if down.is_ended {
                    watch.finish();
                }
            }
            let is_over = up.is_ended && down.is_ended || up.is_broken || down.is_broken;
            is_cut = is_cut || cut.as_mut().poll(context).is_ready();
            let may_be_cut = is_cut && down.is_empty() && watch.is_quiet();
            if is_over || may_be_cut { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Looks at what passes, and counts what was open at its end when it is dropped.
struct Watch {
    session: Option<Session>,
    tap: Arc<Tap>,
    /// Who ended it first.
    end: Option<End>,
}

impl Watch {
    fn ends(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    fn client_piece(&mut self, piece: &[u8]) {
        if let Some(session) = &mut self.session {
            session.client_piece(piece);
            if session.has_client_closed() {
                self.ends(End::ClientLeft);
            }
        }
    }

    fn server_piece(&mut self, piece: &[u8]) {
        if let Some(session) = &mut self.session {
            let replies = session.server_piece(piece);
            let has_closed = session.has_server_closed();
            self.count(&replies);
            if has_closed {
                self.ends(End::UpstreamBroke);
                self.finish();
            }
        }
    }

    /// The server says no more: what is open now has ended.
    fn finish(&mut self) {
        if let Some(session) = self.session.take() {
            self.count(&session.end(self.end.unwrap_or(End::ClientLeft)));
        }
    }

    fn is_quiet(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_quiet)
    }

    fn count(&self, replies: &[Reply]) {
        replies.iter().for_each(|reply| self.tap.count_reply(reply));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Which side of a direction broke.
enum Broken {
    From,
    To,
}

/// One direction.
struct Direction {
    buffer: Box<[u8]>,
    /// Which bytes of it are to be written.
    begin: usize,
    end: usize,
    is_at_end: bool,
    is_unflushed: bool,
    is_ended: bool,
    is_broken: bool,
}

impl Direction {
    fn new() -> Direction {
        Direction {
            buffer: vec![0; BUFFER_BYTES].into(),
            begin: 0,
            end: 0,
            is_at_end: false,
            is_unflushed: false,
            is_ended: false,
            is_broken: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn poll<F, T>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        see: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Broken>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let passed = ready!(self.pass(context, Pin::new(from), Pin::new(to), see));
        self.is_ended = true;
        self.is_broken = passed.is_err();
        Poll::Ready(passed)
    }

    /// Reads only when what was read before is written: that is the backpressure.
    fn pass(
        &mut self,
        context: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
        mut see: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Broken>> {
        loop {
            while self.begin < self.end {
                match ready!(to.as_mut().poll_write(context, &self.buffer[self.begin..self.end])) {
                    Ok(written @ 1..) => self.begin += written,
                    Ok(0) | Err(_) => return Poll::Ready(Err(Broken::To)),
                }
                self.is_unflushed = true;
            }
            if self.is_at_end {
                return to.poll_shutdown(context).map_err(|_| Broken::To);
            }
            let mut room = ReadBuf::new(&mut self.buffer);
            match from.as_mut().poll_read(context, &mut room) {
                Poll::Ready(Ok(())) => {
                    (self.begin, self.end) = (0, room.filled().len());
                    self.is_at_end = self.end == 0;
                    see(room.filled());
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::From)),
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(to.as_mut().poll_flush(context)).map_err(|_| Broken::To)?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
