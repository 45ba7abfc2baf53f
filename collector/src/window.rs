//! Windows: cuts the counts into reports. Pure; the caller passes the time and asks what to seal.
//!
//! In: payloads and the time. Out: sealed reports, one a window or more, also for windows without traffic, so that silence is told
//! apart from loss. Guarantees: sequences run 0, 1, 2, ... without gaps; an item counts in the window that is open when it
//! is counted, by the collector's clock; `window_start` is a multiple of the length. A clock that steps (back, or ahead over
//! several windows) ends the open window and begins one at the new time; no count is lost or moved by it. A checkpoint is the
//! open window sealed as it is: it becomes the window's report if the process is killed, and is replaced by the next one if not.
//! `flush` seals the open window before its end, so that a window may have several reports, told apart by their sequence.

use bytes::Bytes;
use weighbridge_catalog::Day;
use weighbridge_proto::cells::{self, Cell, Counts};
use weighbridge_proto::report::{self, BootEpoch, CollectorId, Identity, Sequence};
use weighbridge_proto::v1::{Environment, GatewayProduct, Report, Vantage};

use crate::intake::Intake;
use crate::source::access_log::LogPosition;

/// Default window, seconds: a minute keeps a stream's framing under a megabyte a day.
pub const DEFAULT_WINDOW_S: u32 = 60;

/// What every report of a collector says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The collector.
    pub collector: CollectorId,
    /// This start of it.
    pub boot_epoch: BootEpoch,
    /// Length of a window, seconds, 10 to 3,600.
    pub window_s: u32,
    /// Declared environment.
    pub environment: Environment,
    /// Declared vantage.
    pub vantage: Vantage,
    /// Product whose telemetry is read.
    pub gateway_product: GatewayProduct,
}

/// A report that will not change any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// Its name.
    pub identity: Identity,
    /// Its bytes, as spooled and sent.
    pub bytes: Bytes,
    /// What the counter knew when it was sealed: kept with the report, so that a restart goes on from it.
    pub state: Option<Vec<u8>>,
    /// How far the log file was read when it was sealed, for sources that are files.
    pub read_to: Option<LogPosition>,
}

/// A new boot epoch: Unix milliseconds << 20 | 20 random bits.
pub fn boot_epoch(now_ms: u64, random: u32) -> BootEpoch {
    BootEpoch((now_ms << 20) | u64::from(random & 0xf_ffff))
}

/// Counts of one gateway, cut into windows.
#[derive(Debug)]
pub struct Edge {
    intake: Intake,
    header: Header,
    window: Window,
    /// The counter's revision at the last checkpoint.
    checkpointed: u64,
    /// The counter's totals in the last report.
    sealed: Counts,
}

impl Edge {
    /// Begins the first window at `now_ms` (Unix milliseconds).
    pub fn new(intake: Intake, header: Header, now_ms: u64) -> Edge {
        let window = Window { start: aligned(now_ms, header.window_s), sequence: 0, dropped_requests: 0 };
        Edge { intake, header, window, checkpointed: 0, sealed: Counts::default() }
    }

    /// Where payloads go.
    pub fn intake(&mut self) -> &mut Intake {
        &mut self.intake
    }

    /// Requests that were counted and whose report was dropped unsent; the next reports say so.
    pub fn add_dropped(&mut self, requests: u64) {
        self.window.dropped_requests += requests;
    }

    /// Milliseconds until the open window is due, 0 if it is.
    pub fn due_in_ms(&self, now_ms: u64) -> u64 {
        let start_ms = self.window.start * 1_000;
        let end_ms = start_ms + u64::from(self.header.window_s) * 1_000;
        if now_ms < start_ms { 0 } else { end_ms.saturating_sub(now_ms) }
    }

    /// Seals the open window if it is due at `now_ms`, and begins the window that holds `now_ms`.
    pub fn tick(&mut self, now_ms: u64) -> Option<Sealed> {
        self.intake.counter().expire_calls(now_ms);
        if self.due_in_ms(now_ms) > 0 {
            return None;
        }
        let sealed = self.seal();
        self.window.start = aligned(now_ms, self.header.window_s);
        self.intake.set_day(Day::from_unix_seconds(self.window.start));
        Some(sealed)
    }

    /// Seals the open window before its end, if anything was counted since the last report. It stays open.
    pub fn flush(&mut self) -> Option<Sealed> {
        (self.intake.counter().totals() != self.sealed).then(|| self.seal())
    }

    /// Ends every call on hold and seals the open window before its end, at shutdown.
    pub fn finish(&mut self) -> Sealed {
        self.intake.counter().finish_calls();
        self.seal()
    }

    /// The open window as it is, if anything came since the last checkpoint. `None` for sources that can be read again.
    pub fn checkpoint(&mut self) -> Option<Sealed> {
        let revision = self.intake.counter().revision();
        if revision == self.checkpointed || !self.intake.counts_events() {
            return None;
        }
        self.checkpointed = revision;
        let cells = self.intake.counter().cells();
        let mut sealed = seal(&self.header, &self.window, &cells, &mut self.intake);
        sealed.state = self.intake.state();
        Some(sealed)
    }

    fn seal(&mut self) -> Sealed {
        let cells = self.intake.counter().take_cells();
        let mut sealed = seal(&self.header, &self.window, &cells, &mut self.intake);
        sealed.state = self.intake.state();
        self.window.sequence += 1;
        self.checkpointed = self.intake.counter().revision();
        self.sealed = self.intake.counter().totals();
        sealed
    }
}

/// The window that is open.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Unix seconds, a multiple of the length.
    pub start: u64,
    /// Place of its report within the boot epoch.
    pub sequence: u64,
    /// Requests of the boot epoch whose report was dropped unsent.
    pub dropped_requests: u64,
}

/// The report of `window` with `cells` and the running totals of `intake`.
pub fn seal(header: &Header, window: &Window, cells: &[Cell], intake: &mut Intake) -> Sealed {
    let totals = intake.counter().totals();
    let identity = Identity {
        collector: header.collector,
        boot_epoch: header.boot_epoch,
        sequence: Sequence(window.sequence),
    };
    let report = Report {
        schema: report::SCHEMA,
        collector_id: Bytes::copy_from_slice(&identity.collector.0),
        boot_epoch: identity.boot_epoch.0,
        sequence: identity.sequence.0,
        window_start_s: window.start,
        window_s: header.window_s,
        catalogue_version: intake.catalogue_version().0,
        environment: header.environment.into(),
        vantage: header.vantage.into(),
        gateway_product: header.gateway_product.into(),
        cells: cells::pack(cells),
        total_requests: totals.requests,
        total_attempts: totals.attempts,
        total_input_tokens: totals.input_tokens,
        total_output_tokens: totals.output_tokens,
        dropped_requests: window.dropped_requests,
        crc32c: 0,
    };
    Sealed { identity, bytes: report::seal(&report), state: None, read_to: intake.read_to() }
}

/// Start of the window that holds `now_ms`, Unix seconds.
pub fn aligned(now_ms: u64, window_s: u32) -> u64 {
    let seconds = now_ms / 1_000;
    seconds - seconds % u64::from(window_s)
}
