//! Waiting before another try: exponential, full jitter, capped.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// Long enough to leave a struggling server alone, short enough to be back within the 10 s that a window may take longer.
const CAP: Duration = Duration::from_secs(10);

/// Grows with each `next` until `reset`.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { limit: FIRST }
    }
}

impl Backoff {
    /// How long to wait now: between half the present limit and the limit.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.limit.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.limit = (self.limit * 2).min(CAP);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST);
        let last = (0..20).map(|_| backoff.next()).last().unwrap();
        assert!(last >= CAP / 2 && last <= CAP);
    }
}
