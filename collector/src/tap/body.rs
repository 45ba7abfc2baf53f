//! Bodies that are looked at as they pass, and the guard that counts their exchange once, whatever ends it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::serve::Tap;
use super::upstream::Link;
use super::upstream_h2::Place;
use crate::profile::tap::{End, Exchange};

/// An exchange while it passes: its request goes with the upstream's connection, its answer with the client's.
#[derive(Clone, Debug)]
pub(super) struct Passing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Taken when it is counted.
    exchange: Option<Exchange>,
    /// The client broke off while it sent its request.
    is_client_gone: bool,
    /// The request has passed whole.
    is_sent: bool,
}

impl Passing {
    pub(super) fn new(exchange: Exchange) -> Passing {
        Passing(Arc::new(Mutex::new(State {
            exchange: Some(exchange),
            is_client_gone: false,
            is_sent: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the exchange what passes.
    pub(super) fn with(&self, show: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = &mut self.state().exchange {
            show(exchange);
        }
    }

    pub(super) fn request_end(&self) {
        let mut state = self.state();
        state.is_sent = true;
        if let Some(exchange) = &mut state.exchange {
            exchange.request_end();
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.state().is_sent
    }

    pub(super) fn is_client_gone(&self) -> bool {
        self.state().is_client_gone
    }
}

/// Counts an exchange when it is dropped: as one whose client left, unless another end was noted.
pub(super) struct Guard {
    passing: Passing,
    tap: Arc<Tap>,
    end: End,
    /// On a shared connection, until the answer has passed.
    place: Option<Place>,
}

impl Guard {
    pub(super) fn new(passing: Passing, tap: Arc<Tap>) -> Guard {
        Guard { passing, tap, end: End::ClientLeft, place: None }
    }

    pub(super) fn ends(&mut self, end: End) {
        self.end = end;
    }

    /// The answer comes over a shared connection.
    pub(super) fn holds(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// The answer has passed whole; its connection can be used again.
    pub(super) fn completes(&mut self, link: Option<Box<Link>>) {
        self.end = End::Complete;
        self.place = None;
        if let Some(link) = link {
            self.tap.keep(link);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let exchange = self.passing.state().exchange.take();
        if let Some(exchange) = exchange {
            self.tap.count(exchange, self.end);
        }
    }
}

/// A request's body on its way to the upstream.
pub(super) struct RequestBody {
    inner: Incoming,
    passing: Passing,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, passing: Passing) -> RequestBody {
        RequestBody { inner, passing }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    self.passing.with(|exchange| exchange.request_piece(piece));
                }
                if self.inner.is_end_stream() {
                    self.passing.request_end();
                }
            }
            Poll::Ready(Some(Err(_))) => self.passing.state().is_client_gone = true,
            Poll::Ready(None) => self.passing.request_end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Small pieces of an answer that are there together go on as one, of at most so many bytes.
const GATHERED: usize = 16 * 1024;
/// Room that is made for them at first, bytes: a read's worth of events.
const GATHERING: usize = 4 * 1024;

/// Counts how often a connection was driven. Whoever drives it asks a body several times in one turn; what was found to wait for the
/// upstream is not asked again before the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU32>);

impl Turns {
    /// The next turn begins.
    pub(super) fn next(&self) {
        // One task writes.
        self.0.store(self.now().wrapping_add(1), Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a body gives when it is asked.
pub(super) type Polled = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The upstream's answer on its way to the client.
pub(super) struct Answer {
    inner: Incoming,
    /// The connection it comes over, if that is driven from here.
    link: Option<Box<Link>>,
    /// Counts when the body ends or is dropped.
    guard: Guard,
    /// Of the client's connection, where that drives this body.
    turns: Option<Turns>,
    /// The turn in which there was nothing more.
    dry: Option<u32>,
    /// What came behind what was gathered.
    ahead: Option<Polled>,
}

impl Answer {
    /// What comes next, as it came.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        let turn = self.turns.as_ref().map(Turns::now);
        if turn.is_some() && self.dry == turn {
            // Whoever asks was registered when it was found.
            return Poll::Pending;
        }
        let polled = match &mut self.link {
            Some(link) => link.poll_body(context, &mut self.inner),
            None => Pin::new(&mut self.inner).poll_frame(context),
        };
        match &polled {
            // A body of known length is not asked again after its last frame, nor is any after trailers.
            Poll::Ready(Some(Ok(frame))) if self.inner.is_end_stream() || frame.is_trailers() => {
                self.guard.completes(self.link.take());
            }
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_))) => self.guard.ends(End::UpstreamBroke),
            Poll::Ready(None) => self.guard.completes(self.link.take()),
            Poll::Pending => self.dry = turn,
        }
        polled
    }

    /// What comes next; small pieces that are there together in one, which is written, framed and looked at once.
    fn poll_gathered(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        let first = match self.ahead.take() {
            Some(ahead) => ahead,
            None => ready!(self.poll_next(context)),
        };
        let mut whole = match small(first) {
            Ok(piece) => piece,
            Err(other) => {
                if let Some(Ok(frame)) = &other
                    && let Some(piece) = frame.data_ref()
                {
                    self.guard.passing.with(|exchange| exchange.answer_piece(piece));
                }
                return Poll::Ready(other);
            }
        };
        let mut gathered = BytesMut::new();
        while self.ahead.is_none() && !self.inner.is_end_stream() {
            let Poll::Ready(next) = self.poll_next(context) else { break };
            match small(next) {
                Ok(piece) if whole.len().max(gathered.len()) + piece.len() <= GATHERED => {
                    if gathered.is_empty() {
                        gathered.reserve(GATHERING.max(whole.len() + piece.len()));
                        gathered.extend_from_slice(&whole);
                    }
                    gathered.extend_from_slice(&piece);
                }
                Ok(piece) => self.ahead = Some(Some(Ok(Frame::data(piece)))),
                Err(other) => self.ahead = Some(other),
            }
        }
        if !gathered.is_empty() {
            whole = gathered.freeze();
        }
        self.guard.passing.with(|exchange| exchange.answer_piece(&whole));
        Poll::Ready(Some(Ok(Frame::data(whole))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.is_none(),
            None => self.inner.is_end_stream(),
        }
    }
}

/// A piece of a body that is worth copying; everything else comes back.
fn small(polled: Polled) -> Result<Bytes, Polled> {
    match polled {
        Some(Ok(frame)) if frame.data_ref().is_some_and(|piece| piece.len() < GATHERED) => {
            frame.into_data().map_err(|frame| Some(Ok(frame)))
        }
        other => Err(other),
    }
}

/// An answer's body on its way to the client.
pub(super) enum AnswerBody {
    /// The upstream's.
    Passing(Answer),
    /// The upstream's, which has broken off.
    Broken(Option<hyper::Error>),
    /// Our own, for want of one.
    Own(Full<Bytes>),
}

impl AnswerBody {
    /// `link`: the connection it comes over, if that is to be driven from here. `turns`: of the connection that asks for it.
    pub(super) fn new(
        inner: Incoming,
        link: Option<Box<Link>>,
        guard: Guard,
        turns: Option<Turns>,
    ) -> AnswerBody {
        AnswerBody::Passing(Answer { inner, link, guard, turns, dry: None, ahead: None })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        match &mut *self {
            AnswerBody::Broken(error) => Poll::Ready(error.take().map(Err)),
            AnswerBody::Own(text) => Pin::new(text).poll_frame(context).map_err(|never| match never {}),
            AnswerBody::Passing(answer) => {
                let polled = answer.poll_gathered(context);
                let Poll::Ready(Some(Err(error))) = polled else { return polled };
                // What came before it goes out first.
                *self = AnswerBody::Broken(Some(error));
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Passing(answer) => answer.is_end_stream(),
            AnswerBody::Broken(error) => error.is_none(),
            AnswerBody::Own(text) => text.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Passing(answer) => answer.inner.size_hint(),
            AnswerBody::Broken(_) => SizeHint::default(),
            AnswerBody::Own(text) => text.size_hint(),
        }
    }
}
