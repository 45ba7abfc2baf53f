//! The wall clock, passed in so that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Fixed(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands still until `set`. Clones share it.
    pub fn fixed(unix_ms: u64) -> Clock {
        Clock(Source::Fixed(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Moves a fixed clock; nothing on the system's.
    pub fn set(&self, unix_ms: u64) {
        if let Source::Fixed(now) = &self.0 {
            now.store(unix_ms, Ordering::Relaxed);
        }
    }

    /// Unix milliseconds. A system clock before 1970 reads 0.
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
            Source::Fixed(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Unix seconds.
    pub fn unix_s(&self) -> u64 {
        self.unix_ms() / 1_000
    }
}
