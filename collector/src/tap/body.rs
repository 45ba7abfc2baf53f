//! Bodies that are looked at as they pass, and the guard that counts their exchange once, whatever ends it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
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

/// An answer's body on its way to the client.
pub(super) enum AnswerBody {
    /// The upstream's.
    Passing {
        /// The body.
        inner: Incoming,
        /// The connection it comes over, if that is driven from here.
        link: Option<Box<Link>>,
        /// Counts when the body ends or is dropped.
        guard: Guard,
    },
    /// The upstream's, which has broken off.
    Broken(Option<hyper::Error>),
    /// Our own, for want of one.
    Own(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            AnswerBody::Broken(error) => Poll::Ready(error.take().map(Err)),
            AnswerBody::Own(text) => Pin::new(text).poll_frame(context).map_err(|never| match never {}),
            AnswerBody::Passing { inner, link, guard } => {
                let mut polled = Pin::new(&mut *inner).poll_frame(context);
                if polled.is_pending()
                    && let Some(link) = link
                {
                    link.poll(context);
                    polled = Pin::new(&mut *inner).poll_frame(context);
                }
                match &polled {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Some(piece) = frame.data_ref() {
                            guard.passing.with(|exchange| exchange.answer_piece(piece));
                        }
                        // A body of known length is not asked again after its last frame, nor is any after trailers.
                        if inner.is_end_stream() || frame.is_trailers() {
                            guard.completes(link.take());
                        }
                    }
                    Poll::Ready(Some(Err(_))) => guard.ends(End::UpstreamBroke),
                    Poll::Ready(None) => guard.completes(link.take()),
                    Poll::Pending => {}
                }
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
            AnswerBody::Passing { inner, .. } => inner.is_end_stream(),
            AnswerBody::Broken(error) => error.is_none(),
            AnswerBody::Own(text) => text.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Passing { inner, .. } => inner.size_hint(),
            AnswerBody::Broken(_) => SizeHint::default(),
            AnswerBody::Own(text) => text.size_hint(),
        }
    }
}
