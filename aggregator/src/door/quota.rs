//! What one contributor may send to one instance: a bucket of reports and one of bytes, each filled within a minute.
//!
//! Pure: the caller says what time it is. With n instances behind a balancer a contributor may send up to n times as much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::registry::ContributorId;
use crate::config::Quota;

const MINUTE_S: f64 = 60.0;

/// How long until the report fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverQuota(pub(crate) Duration);

/// What is left to a contributor. Its streams share it.
#[derive(Debug)]
pub(super) struct Bucket {
    quota: Quota,
    reports: f64,
    bytes: f64,
    at: Instant,
}

impl Bucket {
    fn full(quota: Quota, now: Instant) -> Bucket {
        Bucket {
            quota,
            reports: quota.reports_per_minute as f64,
            bytes: quota.bytes_per_minute as f64,
            at: now,
        }
    }

    /// Takes a report out, or says when it will fit. A report that does not fit takes nothing.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Result<(), OverQuota> {
        let (reports_max, bytes_max) =
            (self.quota.reports_per_minute as f64, self.quota.bytes_per_minute as f64);
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE_S;
        self.at = self.at.max(now);
        self.reports = (self.reports + minutes * reports_max).min(reports_max);
        self.bytes = (self.bytes + minutes * bytes_max).min(bytes_max);
        // Never over the limit of one report, which the configuration keeps below the quota.
        let missing = ((1.0 - self.reports) / reports_max).max((bytes as f64 - self.bytes) / bytes_max);
        if missing > 0.0 {
            return Err(OverQuota(Duration::from_secs_f64(missing.min(1.0) * MINUTE_S)));
        }
        self.reports -= 1.0;
        self.bytes -= bytes as f64;
        Ok(())
    }
}

/// The buckets of all contributors; as many as the registry has had since this process started.
#[derive(Debug)]
pub(super) struct Quotas {
    quota: Quota,
    buckets: Mutex<HashMap<ContributorId, Arc<Mutex<Bucket>>>>,
}

impl Quotas {
    pub(super) fn new(quota: Quota) -> Quotas {
        Quotas { quota, buckets: Mutex::default() }
    }

    pub(super) fn bucket(&self, contributor: ContributorId) -> Arc<Mutex<Bucket>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = || Arc::new(Mutex::new(Bucket::full(self.quota, Instant::now())));
        Arc::clone(buckets.entry(contributor).or_insert_with(full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUOTA: Quota = Quota { reports_per_minute: 60, bytes_per_minute: 600_000 };

    #[test]
    fn a_minutes_worth_at_once_then_as_it_fills() {
        let start = Instant::now();
        let mut bucket = Bucket::full(QUOTA, start);
        for _ in 0..60 {
            bucket.take(10, start).unwrap();
        }
        assert_eq!(bucket.take(10, start), Err(OverQuota(Duration::from_secs(1))));
        let later = start + Duration::from_secs(2);
        bucket.take(10, later).unwrap();
        bucket.take(10, later).unwrap();
        assert!(bucket.take(10, later).is_err());
        let mut bucket = Bucket::full(QUOTA, start);
        bucket.take(600_000, start).unwrap();
        assert_eq!(bucket.take(300_000, start), Err(OverQuota(Duration::from_secs(30))));
        assert!(bucket.take(300_000, start + Duration::from_secs(31)).is_ok());
    }

    #[test]
    fn contributors_do_not_share_and_their_streams_do() {
        let quotas = Quotas::new(QUOTA);
        let (one, two) = (super::super::registry::Hex([1; 16]), super::super::registry::Hex([2; 16]));
        assert!(Arc::ptr_eq(&quotas.bucket(one), &quotas.bucket(one)));
        assert!(!Arc::ptr_eq(&quotas.bucket(one), &quotas.bucket(two)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_quota(steps in prop::collection::vec((0u64..5_000, 1usize..500_000), 1..200)) {
            let start = Instant::now();
            let (mut bucket, mut elapsed) = (Bucket::full(QUOTA, start), Duration::ZERO);
            let (mut reports, mut sum) = (0u64, 0u64);
            for (ms, bytes) in steps {
                elapsed += Duration::from_millis(ms);
                if bucket.take(bytes, start + elapsed).is_ok() {
                    reports += 1;
                    sum += bytes as u64;
                }
            }
            let minutes = 1.0 + elapsed.as_secs_f64() / MINUTE_S;
            prop_assert!(reports as f64 <= QUOTA.reports_per_minute as f64 * minutes + 1e-3);
            prop_assert!(sum as f64 <= QUOTA.bytes_per_minute as f64 * minutes + 1e-3);
        }
    }
}
