//! Payloads to counts: reads one payload whole, then counts it.
//!
//! In: the decompressed bytes of one request with their encoding, and the caller's time. Out: how many items were counted,
//! skipped and refused. Guarantees: a payload that cannot be read whole changes no count; an item that is wrong is refused
//! alone, the others count. Pure: no clock, no I/O.

mod stage;

use std::hash::BuildHasher as _;

use weighbridge_catalog::{CatalogueVersion, Day};
use weighbridge_proto::v1::GatewayProduct;

use crate::classifier::Classifier;
use crate::count::{Counter, MetTarget, PageRow, StagedPoint};
use crate::discard::{Refusal, Skip, Tally};
use crate::observation::Observation;
use crate::profile::prometheus::{PagePlan, Target};
use crate::profile::tap::{End, Exchange, Reply, TapProfile};
use crate::profile::{Dialect, Discard, Mapper};
use crate::source::access_log::{LogPosition, Scanner};
use crate::source::otlp::SeriesHasher;

/// Accepted span of times around the collector's clock, milliseconds: a day back (exporters queue while we are away),
/// ten minutes ahead.
pub const CLOCK_BEHIND_MS: u64 = 24 * 3_600 * 1_000;
/// See `CLOCK_BEHIND_MS`.
pub const CLOCK_AHEAD_MS: u64 = 10 * 60 * 1_000;

/// What a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// OTLP traces.
    Traces,
    /// OTLP metrics.
    Metrics,
    /// Records that a gateway posts.
    Webhook,
    /// `/metrics` pages; they come by `take_page`.
    Prometheus,
    /// Lines of an access log.
    AccessLog,
    /// An access log as OTLP logs.
    Logs,
    /// Envoy's gRPC access log.
    Als,
    /// Exchanges through the tap; they come by `take_exchange`.
    Tap,
}

/// How a payload is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
    /// Lines of a file, each a JSON object or not: never one document.
    JsonLines,
}

/// The caller's clock.
#[derive(Clone, Copy, Debug)]
pub enum Now {
    /// Unix milliseconds; items further away than the accepted span are refused.
    At(u64),
    /// A capture is replayed at this time, Unix milliseconds: items of any time count.
    Replay(u64),
}

impl Now {
    fn ms(self) -> u64 {
        match self {
            Now::At(ms) | Now::Replay(ms) => ms,
        }
    }

    /// Times of 0 are not told, so they are not checked.
    fn check(self, unix_nano: u64) -> Result<(), Refusal> {
        let Now::At(now_ms) = self else { return Ok(()) };
        let ms = unix_nano / 1_000_000;
        let is_near = ms >= now_ms.saturating_sub(CLOCK_BEHIND_MS) && ms <= now_ms + CLOCK_AHEAD_MS;
        if unix_nano == 0 || is_near { Ok(()) } else { Err(Refusal::ClockSkew) }
    }
}

/// What became of a payload's items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items counted, or found to be duplicates by the counter.
    pub counted: u64,
    /// Items that are no request of ours.
    pub skipped: u64,
    /// Items refused.
    pub refused: u64,
    /// Why the first of them was refused.
    pub first_refusal: Option<Refusal>,
}

/// Whose telemetry or log is read, and by which rules.
#[derive(Debug)]
enum Input {
    /// Events, points and log lines that are pushed here or read from a file.
    Pushed(Dialect),
    /// Pages that are scraped.
    Pages(Box<PagePlan>),
}

/// Reads and counts the payloads of one gateway.
#[derive(Debug)]
pub struct Intake {
    input: Input,
    mapper: Mapper,
    /// Of an access log, from its first line on.
    scanner: Option<Scanner<'static>>,
    counter: Counter,
    staged: Vec<Observation>,
    staged_points: Vec<StagedPoint>,
    rows: Vec<PageRow>,
    read_to: Option<LogPosition>,
}

/// Hashed to see whether two versions hash alike.
const HASH_MARK: &[u8] = b"weighbridge series";

/// Staged observations kept between payloads; more is given back.
const STAGED_KEPT: usize = 1_024;

impl Intake {
    /// An intake for the telemetry of a `Profile` or the lines of a `LogProfile`. `started_unix_nano` as for `Counter::new`.
    pub fn new(dialect: impl Into<Dialect>, classifier: Classifier, started_unix_nano: u64) -> Intake {
        let key = foldhash::fast::RandomState::default().hash_one(started_unix_nano);
        Intake::of_events(dialect, classifier, key, started_unix_nano)
    }

    /// As `new`, with the `key` of the hashes: the one of the last start, so that its state can be restored.
    pub fn of_events(
        dialect: impl Into<Dialect>,
        classifier: Classifier,
        key: u64,
        started_unix_nano: u64,
    ) -> Intake {
        Intake::of(Input::Pushed(dialect.into()), classifier, key, started_unix_nano)
    }

    /// An intake for the pages of a gateway. `key` is that of the hashes: the one of the last start, so that series are known
    /// again. `started_unix_nano` as for `Counter::new`.
    pub fn of_pages(plan: PagePlan, classifier: Classifier, key: u64, started_unix_nano: u64) -> Intake {
        Intake::of(Input::Pages(Box::new(plan)), classifier, key, started_unix_nano)
    }

    fn of(input: Input, classifier: Classifier, key: u64, started_unix_nano: u64) -> Intake {
        Intake {
            input,
            mapper: Mapper { classifier, hasher: SeriesHasher::with_seed(key), links: Vec::new() },
            scanner: None,
            counter: Counter::new(started_unix_nano),
            staged: Vec::new(),
            staged_points: Vec::new(),
            rows: Vec::new(),
            read_to: None,
        }
    }

    /// Counts the requests of these names on pages only, see `PagePlan::with_entry_models`.
    #[must_use]
    pub fn with_entry_models(mut self, names: &[String]) -> Intake {
        if let Input::Pages(plan) = self.input {
            self.input = Input::Pages(Box::new(plan.with_entry_models(names)));
        }
        self
    }

    /// The counts.
    pub fn counter(&mut self) -> &mut Counter {
        &mut self.counter
    }

    /// Version of the register that classifies.
    pub fn catalogue_version(&self) -> CatalogueVersion {
        self.mapper.classifier.catalogue().version()
    }

    /// Classifies from now on for `day`.
    pub fn set_day(&mut self, day: Day) {
        self.mapper.classifier.set_day(day);
    }

    /// Whether what it counts comes once: neither counters that are scraped nor a file that can be read again.
    pub fn counts_events(&self) -> bool {
        matches!(self.input, Input::Pushed(_)) && self.read_to.is_none()
    }

    /// Whether it counts access logs, in whatever form they come.
    pub fn counts_logs(&self) -> bool {
        matches!(self.input, Input::Pushed(Dialect::AccessLog(_)))
    }

    /// Whose exchanges it counts, if it counts the tap's.
    pub fn tap_profile(&self) -> Option<TapProfile> {
        match self.input {
            Input::Pushed(Dialect::Tap(profile)) => Some(profile),
            _ => None,
        }
    }

    /// How far the log file was read that is counted.
    pub fn read_to(&self) -> Option<LogPosition> {
        self.read_to
    }

    /// Notes how far the log file was read, with what was counted of it.
    pub fn set_read_to(&mut self, position: LogPosition) {
        self.read_to = Some(position);
    }

    /// Notes a payload of a signal that this collector does not count.
    pub fn skip_payload(&mut self) {
        let tally = self.counter.tally_mut();
        tally.receive();
        tally.skip(Skip::OtherSignal);
    }

    /// Notes a payload that was refused before it could be read.
    pub fn refuse_payload(&mut self, refusal: Refusal) {
        let tally = self.counter.tally_mut();
        tally.receive();
        tally.refuse(refusal);
    }

    /// Reads `payload` and counts it at `now`.
    ///
    /// # Errors
    /// The payload cannot be read; it was counted as refused and changed nothing else.
    pub fn take(
        &mut self,
        signal: Signal,
        encoding: Encoding,
        payload: &[u8],
        now: Now,
    ) -> Result<Accepted, Refusal> {
        let mut tally = Tally::default();
        let mut accepted = Accepted::default();
        self.staged.clear();
        self.staged_points.clear();
        self.mapper.links.clear();
        let dialect = match &self.input {
            Input::Pushed(dialect) => Some(*dialect),
            // They come by `take_page`.
            Input::Pages(_) => None,
        };
        let read = match (dialect, signal) {
            (Some(Dialect::Telemetry(profile)), Signal::Traces) => {
                self.stage_traces(profile, encoding, payload, now, &mut tally, &mut accepted)
            }
            (Some(Dialect::Telemetry(profile)), Signal::Metrics) => {
                self.stage_metrics(profile, encoding, payload, now, &mut tally, &mut accepted)
            }
            (Some(Dialect::Telemetry(profile)), Signal::Webhook) if encoding != Encoding::Protobuf => {
                self.stage_records(profile, payload, now, &mut tally, &mut accepted)
            }
            (Some(Dialect::AccessLog(profile)), _) => {
                self.stage_log(signal, encoding, payload, (profile.rules(), now), &mut tally, &mut accepted)
            }
            _ => Err(Refusal::ContentType),
        };
        if let Err(refusal) = read {
            self.refuse_payload(refusal);
            return Err(refusal);
        }
        for observation in &self.staged {
            self.counter.observe(observation, now.ms());
        }
        // After the attempts, which end before what stands around them; roots last.
        for is_root in [false, true] {
            for link in self.mapper.links.iter().filter(|link| link.parent.is_none() == is_root) {
                self.counter.link(*link, now.ms());
            }
        }
        if !self.staged_points.is_empty() {
            self.counter.observe_points(&self.staged_points, now.ms());
        }
        self.counter.tally_mut().add(&tally);
        self.staged.shrink_to(STAGED_KEPT);
        self.staged_points.shrink_to(STAGED_KEPT);
        self.mapper.links.shrink_to(STAGED_KEPT);
        Ok(accepted)
    }

    /// Reads a `/metrics` page of `target` and counts what it gained since the page before, at `now_nano` (Unix
    /// nanoseconds by the caller's clock). A target that is seen for the first time is lent to `met` before it is counted, with
    /// the mark that belongs to it, so that it can be kept. False: the target's counters jump back and forth, and it is
    /// not counted any more.
    ///
    /// # Errors
    /// The page cannot be read; it was counted as refused and changed nothing else.
    pub fn take_page(
        &mut self,
        page: &[u8],
        target: Target<'_>,
        now_nano: u64,
        met: impl FnOnce(&MetTarget, u64),
    ) -> Result<bool, Refusal> {
        let mark = self.mapper.hash_bytes(HASH_MARK);
        let Intake { input, mapper, counter, rows, .. } = self;
        let Input::Pages(plan) = input else {
            self.skip_payload();
            return Ok(true);
        };
        let mut tally = Tally::default();
        rows.clear();
        let read = plan.read(page, target, mapper, &mut tally, rows);
        if let Err(refusal) = read {
            self.refuse_payload(refusal);
            return Err(refusal);
        }
        counter.tally_mut().add(&tally);
        Ok(counter.observe_page(rows, now_nano, |target| met(target, mark)))
    }

    /// Counts an exchange through the tap that ended at `now_ms` (Unix milliseconds by the caller's clock). `address` is the
    /// upstream's, `served_model` the operator's word for what it serves.
    pub fn take_exchange(
        &mut self,
        exchange: Exchange,
        end: End,
        address: &str,
        served_model: &str,
        now_ms: u64,
    ) {
        self.counter.tally_mut().receive();
        match exchange.observation(end, address, served_model, &mut self.mapper) {
            Ok(observation) => self.counter.observe(&observation, now_ms),
            Err(Discard::Skip(reason)) => self.counter.tally_mut().skip(reason),
            Err(Discard::Refuse(refusal)) => self.counter.tally_mut().refuse(refusal),
        }
    }

    /// Counts a request of a WebSocket session that ended at `now_ms`; the rest as `take_exchange`.
    pub fn take_reply(&mut self, reply: &Reply, address: &str, served_model: &str, now_ms: u64) {
        self.counter.tally_mut().receive();
        let observation = reply.observation(address, served_model, &mut self.mapper);
        self.counter.observe(&observation, now_ms);
    }

    /// Everything that the next start must know, to be handed to `restore`: series, records counted last, calls on hold.
    /// `None` for a file of lines, which is read again from the position of the last report.
    pub fn state(&self) -> Option<Vec<u8>> {
        // A mark of the hash function: with another one no series would be known again, and all would count anew.
        let mark = self.mapper.hash_bytes(HASH_MARK);
        match self.input {
            Input::Pages(_) => Some(self.counter.series_state(mark)),
            Input::Pushed(_) if self.read_to.is_some() => None,
            Input::Pushed(_) => Some(self.counter.events_state(mark)),
        }
    }

    /// Takes over at `now_ms` what `state` gave before a restart. False: it is of another version, and nothing was taken; the
    /// first point of each series is a baseline then.
    pub fn restore(&mut self, state: &[u8], now_ms: u64) -> bool {
        let mark = self.mapper.hash_bytes(HASH_MARK);
        match self.input {
            Input::Pages(_) => self.counter.restore_series(state, mark),
            Input::Pushed(_) => self.counter.restore_events(state, mark, now_ms),
        }
    }

    /// What reports call the product.
    pub fn gateway_product(&self) -> GatewayProduct {
        match &self.input {
            Input::Pushed(dialect) => dialect.gateway_product(),
            Input::Pages(plan) => plan.gateway_product(),
        }
    }
}
