//! Sealing, checking and naming a report.
//!
//! `seal` turns a `Report` into the immutable bytes that are spooled, sent, forwarded and stored; `check` turns received bytes
//! back into a report whose every field is within its range, or says which is not. Neither reads a clock: the span around the
//! receiver's clock is checked by the receiver.

use bytes::Bytes;
use prost::Message as _;

use crate::cells::{self, COUNT_LIMIT, Cell, CellsError};
use crate::v1::{Environment, GatewayProduct, Refusal, Report, Vantage};

/// Layout of `Report.cells` that this build writes; it reads all up to it.
pub const SCHEMA: u32 = 1;
/// Length of a collector id, bytes.
pub const COLLECTOR_ID_BYTES: usize = 16;
/// Shortest window, seconds.
pub const MIN_WINDOW_S: u32 = 10;
/// Longest window, seconds.
pub const MAX_WINDOW_S: u32 = 3_600;
/// Largest encoded report: `MAX_CELLS` cells of 28 bytes and the header, rounded up.
pub const MAX_REPORT_BYTES: usize = 512 * 1024;

/// Tag of field 17, fixed32; the checksum stands last.
const CHECKSUM_TAG: [u8; 2] = [0x8d, 0x01];
const CHECKSUM_BYTES: usize = 6;

/// `Report` as it is checked: the cells stay as they are encoded until they are unpacked, which is most of the work of decoding one.
/// Only the packed form of the field is taken, the one that `seal` writes.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(bytes = "vec", tag = "2")]
    collector_id: Vec<u8>,
    #[prost(fixed64, tag = "3")]
    boot_epoch: u64,
    #[prost(uint64, tag = "4")]
    sequence: u64,
    #[prost(uint64, tag = "5")]
    window_start_s: u64,
    #[prost(uint32, tag = "6")]
    window_s: u32,
    #[prost(uint32, tag = "7")]
    catalogue_version: u32,
    #[prost(int32, tag = "8")]
    environment: i32,
    #[prost(int32, tag = "9")]
    vantage: i32,
    #[prost(int32, tag = "10")]
    gateway_product: i32,
    #[prost(bytes = "vec", tag = "11")]
    cells: Vec<u8>,
    #[prost(uint64, tag = "12")]
    total_requests: u64,
    #[prost(uint64, tag = "13")]
    total_attempts: u64,
    #[prost(uint64, tag = "14")]
    total_input_tokens: u64,
    #[prost(uint64, tag = "15")]
    total_output_tokens: u64,
    #[prost(uint64, tag = "16")]
    dropped_requests: u64,
    #[prost(fixed32, tag = "17")]
    crc32c: u32,
}

/// The name of a report. Equal names mean equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The collector.
    pub collector: CollectorId,
    /// One start of it.
    pub boot_epoch: BootEpoch,
    /// Position within the epoch.
    pub sequence: Sequence,
}

/// 16 random bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectorId(pub [u8; COLLECTOR_ID_BYTES]);

impl std::fmt::Debug for CollectorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Unix milliseconds of a collector's start << 20 | 20 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootEpoch(pub u64);

/// 0, 1, 2, ... within a boot epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Start of a window, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowStart(pub u64);

/// A report whose every field was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedReport {
    /// Its name.
    pub identity: Identity,
    /// Start of the window.
    pub window_start: WindowStart,
    /// Length of the window, seconds.
    pub window_s: u32,
    /// Register version, `yyyymmdd * 100 + counter`.
    pub catalogue_version: u32,
    /// Declared environment.
    pub environment: Environment,
    /// Declared vantage.
    pub vantage: Vantage,
    /// Declared gateway product.
    pub gateway_product: GatewayProduct,
    /// The counts, ascending by key.
    pub cells: Vec<Cell>,
    /// Running totals of the epoch.
    pub totals: cells::Counts,
    /// Requests dropped unsent in the epoch.
    pub dropped_requests: u64,
}

/// Why bytes are not a report. Each has a `Refusal` for the receipt and a stable code for metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not a `weighbridge.v1.Report`.
    #[error("report: does not decode as weighbridge.v1.Report")]
    Undecodable,
    /// Over `MAX_REPORT_BYTES`.
    #[error("report: {0} bytes, at most {MAX_REPORT_BYTES} are taken")]
    TooLarge(usize),
    /// The checksum is missing, not last, or wrong.
    #[error("report: crc32c is missing or does not match")]
    Checksum,
    /// Written by a newer collector.
    #[error("report: schema {0} is newer than {SCHEMA}; upgrade the aggregator")]
    Schema(u32),
    /// Not 16 bytes, or all zero.
    #[error("report: collector_id must be 16 random bytes")]
    CollectorId,
    /// `window_s` or `window_start_s`.
    #[error("report: window_s must be {MIN_WINDOW_S} to {MAX_WINDOW_S} and divide window_start_s")]
    Window,
    /// An enumeration or total of the header.
    #[error("report: {0} is unset or out of range")]
    Header(&'static str),
    /// The packed cells.
    #[error("report: {0}")]
    Cells(#[from] CellsError),
}

impl ReportError {
    /// What the receipt says.
    pub fn refusal(&self) -> Refusal {
        match self {
            ReportError::Undecodable | ReportError::Header(_) => Refusal::Header,
            ReportError::TooLarge(_) => Refusal::Size,
            ReportError::Checksum => Refusal::Checksum,
            ReportError::Schema(_) => Refusal::Schema,
            ReportError::CollectorId => Refusal::CollectorId,
            ReportError::Window => Refusal::Window,
            ReportError::Cells(_) => Refusal::Cells,
        }
    }

    /// Stable label for metrics and dead letters.
    pub fn code(&self) -> &'static str {
        match self {
            ReportError::Undecodable => "undecodable",
            other => other.refusal().name(),
        }
    }
}

/// Encodes `report` and appends its checksum, whatever `report.crc32c` holds.
pub fn seal(report: &Report) -> Bytes {
    let unsealed = Report { crc32c: 0, ..report.clone() };
    let mut bytes = unsealed.encode_to_vec();
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&CHECKSUM_TAG);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.into()
}

/// Name of a sealed report that was not changed since, for matching receipts; `None` if the bytes are damaged.
pub fn identity(bytes: &[u8]) -> Option<Identity> {
    verify_checksum(bytes).ok()?;
    let report = Envelope::decode(bytes).ok()?;
    identity_of(&report.collector_id, report.boot_epoch, report.sequence).ok()
}

/// Decodes and checks received bytes.
///
/// # Errors
/// The first thing that is wrong, see `ReportError`.
pub fn check(bytes: &[u8]) -> Result<CheckedReport, ReportError> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(ReportError::TooLarge(bytes.len()));
    }
    let report = Envelope::decode(bytes).map_err(|_| ReportError::Undecodable)?;
    verify_checksum(bytes)?;
    if report.schema == 0 || report.schema > SCHEMA {
        return Err(if report.schema == 0 {
            ReportError::Header("schema")
        } else {
            ReportError::Schema(report.schema)
        });
    }
    let identity = identity_of(&report.collector_id, report.boot_epoch, report.sequence)?;
    let in_range = (MIN_WINDOW_S..=MAX_WINDOW_S).contains(&report.window_s);
    if !in_range || report.window_start_s % u64::from(report.window_s) != 0 {
        return Err(ReportError::Window);
    }
    let totals = cells::Counts {
        requests: report.total_requests,
        attempts: report.total_attempts,
        input_tokens: report.total_input_tokens,
        output_tokens: report.total_output_tokens,
    };
    let sums = [
        totals.requests,
        totals.attempts,
        totals.input_tokens,
        totals.output_tokens,
        report.dropped_requests,
    ];
    if sums.iter().any(|sum| *sum >= COUNT_LIMIT) {
        return Err(ReportError::Header("total"));
    }
    Ok(CheckedReport {
        identity,
        window_start: WindowStart(report.window_start_s),
        window_s: report.window_s,
        catalogue_version: Some(report.catalogue_version)
            .filter(|version| *version > 0)
            .ok_or(ReportError::Header("catalogue_version"))?,
        environment: header_enum("environment", report.environment, Environment::from_number)?,
        vantage: header_enum("vantage", report.vantage, Vantage::from_number)?,
        gateway_product: header_enum("gateway_product", report.gateway_product, GatewayProduct::from_number)?,
        cells: cells::unpack_encoded(&report.cells)?,
        totals,
        dropped_requests: report.dropped_requests,
    })
}

fn identity_of(id: &[u8], boot_epoch: u64, sequence: u64) -> Result<Identity, ReportError> {
    let id: [u8; COLLECTOR_ID_BYTES] = id.try_into().map_err(|_| ReportError::CollectorId)?;
    if id == [0; COLLECTOR_ID_BYTES] {
        return Err(ReportError::CollectorId);
    }
    Ok(Identity {
        collector: CollectorId(id),
        boot_epoch: BootEpoch(boot_epoch),
        sequence: Sequence(sequence),
    })
}

fn header_enum<T>(
    field: &'static str,
    number: i32,
    get: impl Fn(u64) -> Option<T>,
) -> Result<T, ReportError> {
    u64::try_from(number).ok().and_then(get).ok_or(ReportError::Header(field))
}

fn verify_checksum(bytes: &[u8]) -> Result<(), ReportError> {
    let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(ReportError::Checksum)?;
    let (body, tail) = bytes.split_at(body);
    let (tag, checksum) = tail.split_at(CHECKSUM_TAG.len());
    if tag == CHECKSUM_TAG && checksum == crc32c::crc32c(body).to_le_bytes() {
        Ok(())
    } else {
        Err(ReportError::Checksum)
    }
}
