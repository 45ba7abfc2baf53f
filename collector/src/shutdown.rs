//! The one signal that a process of the edge waits for: the first ends it in order, a second one at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told to end a second time: as if SIGTERM had ended it.
const EXIT_AT_ONCE: i32 = 128 + 15;

/// A token that SIGTERM or Ctrl-C cancels. Call it inside a runtime. A second signal ends the process without waiting: as with
/// `kill -9`, what is sealed is on disk.
///
/// # Errors
/// The system takes no signal handler.
pub fn on_signal() -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                on_signal.cancel();
            }
        }
        tracing::warn!("told to end a second time; ending at once");
        std::process::exit(EXIT_AT_ONCE);
    });
    Ok(shutdown)
}
