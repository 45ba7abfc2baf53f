//! The door as ingest uses it: who is let in, under which name a report is stored, when a stream has to end.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tracing::{info, warn};
use weighbridge_proto::report::CollectorId;

use super::pseudonym::{Epoch, PseudonymKey};
use super::quota::{Bucket, OverQuota, Quotas};
use super::registry::{self, ContributorId};
use super::roster::{Presented, Refused, Roster};
use super::tls::TlsFiles;
use super::{DoorError, Peer, token};
use crate::admin::{Instruments, Labelled};
use crate::clock::Clock;
use crate::config::{self, DoorMode};
use crate::record::Sender;

/// How often the files are looked at. Mounted secrets change by a symbolic link several folders up, which a look sees and a
/// watch on the file does not.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A stream looks at the clock at least this often: it may be set.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

const FILES: &[&str] = &["contributors", "certificate"];

/// Why a connection was not secured.
#[derive(Clone, Copy, Debug)]
pub(super) enum HandshakeFailure {
    Tls,
    Timeout,
}

impl HandshakeFailure {
    const NAMES: &'static [&'static str] = &["tls", "timeout"];
}

#[derive(Debug)]
struct Metrics {
    refused: Labelled,
    ended: Labelled,
    handshakes_failed: Labelled,
    reloads: Labelled,
    reload_failures: Labelled,
    contributors: Gauge,
}

impl Metrics {
    fn register(to: &Instruments) -> Metrics {
        Metrics {
            refused: to.labelled(
                "weighbridge_ingest_door_refused",
                "Streams that were not opened, by what was wrong with their credentials",
                "reason",
                Refused::NAMES,
            ),
            ended: to.labelled(
                "weighbridge_ingest_door_ended",
                "Open streams that were ended because their credentials ceased to hold, by reason",
                "reason",
                Refused::NAMES,
            ),
            handshakes_failed: to.labelled(
                "weighbridge_ingest_door_handshakes_failed",
                "Connections that were not secured: TLS refused by one of the sides, or not finished in time",
                "reason",
                HandshakeFailure::NAMES,
            ),
            reloads: to.labelled(
                "weighbridge_ingest_door_reloads",
                "Changed files that were read and are in force",
                "file",
                FILES,
            ),
            reload_failures: to.labelled(
                "weighbridge_ingest_door_reload_failures",
                "Changed files that cannot be read; what was in force before still is",
                "file",
                FILES,
            ),
            contributors: to.gauge(
                "weighbridge_ingest_door_contributors",
                "Contributors in the registry that are not revoked",
            ),
        }
    }
}

/// What a file was when it was looked at. Renaming over it changes the inode.
type Stamp = Vec<Option<(u64, u64, i64, i64, u64)>>;

fn stamp<'a>(paths: impl Iterator<Item = &'a Path>) -> Stamp {
    let of = |file: std::fs::Metadata| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len());
    paths.map(|path| std::fs::metadata(path).ok().map(of)).collect()
}

/// What is in force, and what was last tried.
#[derive(Debug, Default)]
struct Seen {
    in_force: Stamp,
    failed: Option<Stamp>,
}

/// See the module.
pub(crate) struct Guard {
    mode: DoorMode,
    contributors_file: Option<PathBuf>,
    roster: watch::Sender<Arc<Roster>>,
    pseudonyms: Option<PseudonymKey>,
    tls: Option<(TlsFiles, watch::Sender<Arc<ServerConfig>>)>,
    seen: Mutex<(Seen, Seen)>,
    quotas: Quotas,
    clock: Clock,
    metrics: Metrics,
}

impl Guard {
    /// Reads everything; what is missing or wrong is an error now and not later.
    pub(crate) fn new(
        door: &config::Door,
        on_loopback: bool,
        clock: Clock,
        instruments: &Instruments,
    ) -> Result<Guard, DoorError> {
        let tls = TlsFiles::new(door);
        check_exposure(door.mode, on_loopback, tls.is_some())?;
        let metrics = Metrics::register(instruments);
        let (mut registry_seen, mut tls_seen) = (Seen::default(), Seen::default());
        let (mut roster, mut pseudonyms, mut contributors_file) = (Roster::default(), None, None);
        if door.mode == DoorMode::Registered {
            let path =
                door.contributors_file.clone().ok_or(DoorError::Unset("ingest.door.contributors_file"))?;
            let key = door
                .pseudonym_key_file
                .as_deref()
                .ok_or(DoorError::Unset("ingest.door.pseudonym_key_file"))?;
            registry_seen.in_force = stamp([path.as_path()].into_iter());
            roster = Roster::new(&registry::read(&path)?);
            pseudonyms = Some(PseudonymKey::read(key)?);
            contributors_file = Some(path);
            metrics.contributors.set(roster.contributors() as i64);
        }
        let tls = match tls {
            None => None,
            Some(files) => {
                tls_seen.in_force = stamp(files.paths());
                let config = files.load()?;
                Some((files, watch::Sender::new(config)))
            }
        };
        Ok(Guard {
            mode: door.mode,
            contributors_file,
            roster: watch::Sender::new(Arc::new(roster)),
            pseudonyms,
            tls,
            seen: Mutex::new((registry_seen, tls_seen)),
            quotas: Quotas::new(door.quota),
            clock,
            metrics,
        })
    }

    /// Reads changed files again until `stop`.
    pub(crate) async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let guard = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || guard.look()).await.is_err() {
                return;
            }
        }
    }

    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (registry_seen, tls_seen) = &mut *seen;
        if let Some(path) = &self.contributors_file {
            self.reload("contributors", registry_seen, stamp([path.as_path()].into_iter()), || {
                let roster = Roster::new(&registry::read(path)?);
                self.metrics.contributors.set(roster.contributors() as i64);
                self.roster.send_replace(Arc::new(roster));
                Ok(())
            });
        }
        if let Some((files, config)) = &self.tls {
            self.reload("certificate", tls_seen, stamp(files.paths()), || {
                config.send_replace(files.load()?);
                Ok(())
            });
        }
    }

    /// Tried again at every look until it succeeds; said once for each state of the file.
    fn reload(
        &self,
        file: &'static str,
        seen: &mut Seen,
        now: Stamp,
        read: impl FnOnce() -> Result<(), DoorError>,
    ) {
        if now == seen.in_force {
            return;
        }
        match read() {
            Ok(()) => {
                info!(file, "read anew");
                self.metrics.reloads.get_or_create(&[("file", file)]).inc();
                *seen = Seen { in_force: now, failed: None };
            }
            Err(error) if seen.failed.as_ref() != Some(&now) => {
                warn!(
                    file,
                    code = error.code(),
                    "changed and cannot be read; the state before stays in force: {error}"
                );
                self.metrics.reload_failures.get_or_create(&[("file", file)]).inc();
                seen.failed = Some(now);
            }
            Err(_) => {}
        }
    }

    /// With the certificate of now; none: connections are plain.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.tls.as_ref().map(|(_, config)| TlsAcceptor::from(Arc::clone(&config.borrow())))
    }

    pub(super) fn handshake_failed(&self, failure: HandshakeFailure) {
        let name = HandshakeFailure::NAMES[failure as usize];
        self.metrics.handshakes_failed.get_or_create(&[("reason", name)]).inc();
    }

    /// Who opens a stream.
    pub(crate) fn admit(self: &Arc<Self>, metadata: &MetadataMap, peer: Peer) -> Result<Pass, Refused> {
        if self.mode != DoorMode::Registered {
            return Ok(Pass(None));
        }
        let admitted = self.presented(metadata, peer).and_then(|presented| {
            let admitted = self.roster.borrow().admit(&presented, self.clock.unix_s())?;
            Ok((presented, admitted.contributor))
        });
        match admitted {
            Ok((presented, contributor)) => Ok(Pass(Some(Member {
                guard: Arc::clone(self),
                roster: self.roster.subscribe(),
                presented,
                contributor,
                bucket: self.quotas.bucket(contributor),
            }))),
            Err(refused) => {
                self.metrics.refused.get_or_create(&[("reason", refused.name())]).inc();
                Err(refused)
            }
        }
    }

    /// A second `Authorization` is as unknown as a wrong one: which of them counts would be anybody's guess.
    fn presented(&self, metadata: &MetadataMap, peer: Peer) -> Result<Presented, Refused> {
        let mut values = metadata.get_all("authorization").iter();
        let token = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                Some(token::Presented::read(value.as_encoded_bytes()).ok_or(Refused::Unknown)?)
            }
            (Some(_), Some(_)) => return Err(Refused::Unknown),
        };
        Ok(Presented { token, key: peer.key })
    }
}

fn check_exposure(mode: DoorMode, on_loopback: bool, secured: bool) -> Result<(), DoorError> {
    match mode {
        DoorMode::Loopback if !on_loopback => Err(DoorError::Exposed(
            "ingest.door.mode is loopback, the default, and ingest.listen is another address; write mode: registered, or mode: open on a network where everybody is trusted",
        )),
        DoorMode::Registered if !on_loopback && !secured => Err(DoorError::Exposed(
            "tokens would cross the network in plain text; set ingest.door.certificate_file and key_file",
        )),
        _ => Ok(()),
    }
}

/// What a stream holds from its beginning to its end. Empty: nobody is asked who he is.
pub(crate) struct Pass(Option<Member>);

struct Member {
    guard: Arc<Guard>,
    roster: watch::Receiver<Arc<Roster>>,
    presented: Presented,
    contributor: ContributorId,
    bucket: Arc<Mutex<Bucket>>,
}

/// Who a stream is, for its reports.
pub(crate) struct Identified(Option<Known>);

struct Known {
    guard: Arc<Guard>,
    contributor: ContributorId,
    bucket: Arc<Mutex<Bucket>>,
    /// What the last report was stored under: a stream is one collector's, as a rule, for weeks of windows.
    last: Option<(CollectorId, Epoch, Sender)>,
}

impl Identified {
    /// Takes a report out of the contributor's quota.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), OverQuota> {
        let Some(known) = &self.0 else { return Ok(()) };
        known.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, Instant::now())
    }

    /// Under which names a report is stored; none: under its own.
    pub(crate) fn sender(&mut self, collector: CollectorId, window_start_s: u64) -> Option<Sender> {
        let known = self.0.as_mut()?;
        let key = known.guard.pseudonyms.as_ref()?;
        let epoch = Epoch::of(window_start_s);
        match known.last {
            Some((same, then, sender)) if (same, then) == (collector, epoch) => Some(sender),
            _ => {
                let sender = key.sender(known.contributor, collector, epoch);
                known.last = Some((collector, epoch, sender));
                Some(sender)
            }
        }
    }
}

impl Pass {
    pub(crate) fn identified(&self) -> Identified {
        Identified(self.0.as_ref().map(|member| Known {
            guard: Arc::clone(&member.guard),
            contributor: member.contributor,
            bucket: Arc::clone(&member.bucket),
            last: None,
        }))
    }

    /// Waits until the credentials cease to hold.
    pub(crate) async fn ceases(self) -> Refused {
        let Some(mut member) = self.0 else { return std::future::pending().await };
        let guard = Arc::clone(&member.guard);
        let refused = member.ceases().await;
        guard.metrics.ended.get_or_create(&[("reason", refused.name())]).inc();
        refused
    }
}

impl Member {
    async fn ceases(&mut self) -> Refused {
        loop {
            let now_s = self.guard.clock.unix_s();
            let admitted = self.roster.borrow_and_update().admit(&self.presented, now_s);
            let until_s = match admitted {
                Err(refused) => return refused,
                Ok(admitted) if admitted.contributor != self.contributor => return Refused::Unknown,
                Ok(admitted) => admitted.expires_at_s,
            };
            let left = until_s.map(|until_s| Duration::from_secs(until_s.saturating_sub(now_s)));
            tokio::select! {
                // The sender lives in the guard that this member holds.
                _ = self.roster.changed() => {}
                () = sleep(left.map_or(CLOCK_INTERVAL, |left| left.min(CLOCK_INTERVAL))) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
