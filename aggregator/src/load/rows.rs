//! A batch: the rows of many reports as columns, one block per table and day, and what must happen before its offsets count.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Instant;

use weighbridge_proto::cells::Cell;
use weighbridge_proto::report::CheckedReport;

use crate::native::{Block, Columns as _, Group, Uneven, Uuid, columns};
use crate::record::Sender;
use crate::sabotage::{self, Guarantee};

/// 2020-01-01 and 2100-01-01, Unix seconds. Ingest refuses what is outside; here it is poison. A ClickHouse DateTime ends in 2106.
const WINDOWS_FROM: u64 = 1_577_836_800;
const WINDOWS_UNTIL: u64 = 4_102_444_800;
const SECONDS_PER_DAY: u64 = 86_400;

pub(crate) const ENVIRONMENT: &str =
    "Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4)";
pub(crate) const VANTAGE: &str = "Enum8('gateway' = 1, 'server' = 2, 'client' = 3)";
pub(crate) const GATEWAY_PRODUCT: &str = "Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42)";
pub(crate) const OPENNESS: &str = "Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5)";
pub(crate) const HOSTING: &str =
    "Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4)";
pub(crate) const OPERATION: &str = "Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6)";
pub(crate) const CHOICE: &str = "Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2)";
pub(crate) const STREAMING: &str = "Enum8('no' = 0, 'yes' = 1, 'unknown' = 2)";
pub(crate) const OUTCOME: &str = "Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5)";

columns! {
    /// What a row of `reports` and every row of the report in `ledger` have in common. `ingested_at` is the server's.
    ReportColumns {
        window_start: u32 = "DateTime('UTC')",
        collector_id: Uuid = "UUID",
        boot_epoch: u64 = "UInt64",
        sequence: u64 = "UInt64",
        contributor: Uuid = "UUID",
        window_s: u32 = "UInt32",
        catalogue_version: u32 = "UInt32",
        environment: i8 = ENVIRONMENT,
        vantage: i8 = VANTAGE,
        gateway_product: i8 = GATEWAY_PRODUCT,
        kafka_partition: u16 = "UInt16",
        kafka_offset: u64 = "UInt64",
    }
}

columns! {
    /// What only `reports` has.
    TotalColumns {
        cells: u16 = "UInt16",
        total_requests: u64 = "UInt64",
        total_attempts: u64 = "UInt64",
        total_input_tokens: u64 = "UInt64",
        total_output_tokens: u64 = "UInt64",
        dropped_requests: u64 = "UInt64",
    }
}

columns! {
    /// What only `ledger` has.
    CellColumns {
        cell: u16 = "UInt16",
        model: u32 = "UInt32",
        provider: u16 = "UInt16",
        openness: i8 = OPENNESS,
        hosting: i8 = HOSTING,
        operation: i8 = OPERATION,
        choice: i8 = CHOICE,
        streaming: i8 = STREAMING,
        outcome: i8 = OUTCOME,
        requests: u64 = "UInt64",
        attempts: u64 = "UInt64",
        input_tokens: u64 = "UInt64",
        output_tokens: u64 = "UInt64",
    }
}

/// Where a report was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A window that no table can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideCalendar;

/// The rows of one day.
#[derive(Debug, Default)]
pub(crate) struct Day {
    pub(crate) reports: ReportColumns,
    pub(crate) totals: TotalColumns,
    pub(crate) cells: CellColumns,
    /// Of each report its place in the tables' order and its cells.
    names: Vec<(TableKey, Range<usize>)>,
}

/// What both tables are ordered by. ClickHouse compares the second half of a UUID first.
type TableKey = (u32, u64, u64, u64, u64);

fn table_key(report: &CheckedReport, sender: Sender) -> TableKey {
    let id = u128::from_be_bytes(sender.collector.0);
    let identity = report.identity;
    let start = report.window_start.0 as u32;
    (start, id as u64, (id >> 64) as u64, identity.boot_epoch.0, identity.sequence.0)
}

impl Day {
    /// The inserts of `ledger` and of `reports`, in the order of the tables: what comes sorted, ClickHouse need not sort.
    pub(crate) fn blocks(&self) -> Result<[Block<'_>; 2], Uneven> {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_unstable_by_key(|report| self.names[*report].0);
        let cells = order.iter().map(|&index| Group { index, rows: self.names[index].1.clone() });
        let reports = order.iter().map(|&index| Group { index, rows: index..index + 1 });
        Ok([
            Block::new("ledger", cells.collect(), &[&self.reports], &[&self.cells])?,
            Block::new("reports", reports.collect(), &[], &[&self.reports, &self.totals])?,
        ])
    }
}

/// A record that cannot be loaded, to be set aside before its offset counts as done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) place: Place,
    pub(crate) reason: &'static str,
    pub(crate) key: Option<Vec<u8>>,
    /// A value as `record` describes it, or what was read instead of one.
    pub(crate) value: Vec<u8>,
    /// The header `senders` that belongs to the value.
    pub(crate) senders: Option<Vec<u8>>,
}

/// Everything between two flushes.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) days: BTreeMap<u32, Day>,
    pub(crate) poison: Vec<Poison>,
    /// Per partition the offset after the last record in this batch. All earlier ones are in this batch or before it.
    pub(crate) next_offsets: HashMap<i32, i64>,
    pub(crate) reports: usize,
    pub(crate) cells: usize,
    /// Latest time that Kafka gave a record in this batch, Unix milliseconds.
    pub(crate) newest_record_ms: Option<i64>,
    pub(crate) since: Instant,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            days: BTreeMap::new(),
            poison: Vec::new(),
            next_offsets: HashMap::new(),
            reports: 0,
            cells: 0,
            newest_record_ms: None,
            since: Instant::now(),
        }
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.next_offsets.is_empty()
    }

    /// Rows of both tables.
    pub(crate) fn rows(&self) -> usize {
        self.cells + self.reports
    }

    /// Bytes held, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let poison: usize = self.poison.iter().map(|poison| poison.value.len()).sum();
        let report =
            ReportColumns::ROW_BYTES + TotalColumns::ROW_BYTES + size_of::<(TableKey, Range<usize>)>();
        self.cells * CellColumns::ROW_BYTES + self.reports * report + poison
    }

    /// The record at `place` is in this batch, rows or poison.
    pub(crate) fn took(&mut self, place: Place, record_ms: Option<i64>) {
        self.next_offsets.insert(place.partition, place.offset + 1);
        self.newest_record_ms = self.newest_record_ms.max(record_ms);
    }

    /// Adds the rows of a report. Without a sender it is stored under its own collector id and no contributor.
    pub(crate) fn add(
        &mut self,
        report: &CheckedReport,
        sender: Option<Sender>,
        place: Place,
    ) -> Result<(), OutsideCalendar> {
        let start = report.window_start.0;
        if !(WINDOWS_FROM..WINDOWS_UNTIL).contains(&start) {
            return Err(OutsideCalendar);
        }
        // In range: WINDOWS_UNTIL is below 2^32, a report has at most 10,000 cells, a topic at most some thousand partitions.
        let day = self.days.entry((start / SECONDS_PER_DAY) as u32).or_default();
        let sender = sender.unwrap_or(Sender { contributor: [0; 16], collector: report.identity.collector });
        let first = day.names.last().map_or(0, |(_, cells)| cells.end);
        day.names.push((table_key(report, sender), first..first + report.cells.len()));
        day.add_report(report, sender, place);
        day.add_cells(&report.cells);
        self.reports += 1;
        self.cells += report.cells.len();
        Ok(())
    }
}

impl Day {
    fn add_report(&mut self, report: &CheckedReport, sender: Sender, place: Place) {
        let has_key = !sabotage::breaks(Guarantee::RowKeyWithSequence);
        let rows = &mut self.reports;
        rows.window_start.push(report.window_start.0 as u32);
        rows.collector_id.push(Uuid(sender.collector.0));
        rows.boot_epoch.push(report.identity.boot_epoch.0);
        rows.sequence.push(if has_key { report.identity.sequence.0 } else { 0 });
        rows.contributor.push(Uuid(sender.contributor));
        rows.window_s.push(report.window_s);
        rows.catalogue_version.push(report.catalogue_version);
        rows.environment.push(report.environment as i8);
        rows.vantage.push(report.vantage as i8);
        rows.gateway_product.push(report.gateway_product as i8);
        rows.kafka_partition.push(place.partition as u16);
        rows.kafka_offset.push(place.offset as u64);
        let totals = &mut self.totals;
        totals.cells.push(report.cells.len() as u16);
        totals.total_requests.push(report.totals.requests);
        totals.total_attempts.push(report.totals.attempts);
        totals.total_input_tokens.push(report.totals.input_tokens);
        totals.total_output_tokens.push(report.totals.output_tokens);
        totals.dropped_requests.push(report.dropped_requests);
    }

    /// Column by column: the cells of one report stay in the cache.
    fn add_cells(&mut self, cells: &[Cell]) {
        let rows = &mut self.cells;
        rows.cell.extend((0..cells.len()).map(|index| index as u16));
        rows.model.extend(cells.iter().map(|cell| cell.key.model.0));
        rows.provider.extend(cells.iter().map(|cell| cell.key.provider.0));
        rows.openness.extend(cells.iter().map(|cell| cell.key.openness as i8));
        rows.hosting.extend(cells.iter().map(|cell| cell.key.hosting as i8));
        rows.operation.extend(cells.iter().map(|cell| cell.key.operation as i8));
        rows.choice.extend(cells.iter().map(|cell| cell.key.choice as i8));
        rows.streaming.extend(cells.iter().map(|cell| cell.key.streaming as i8));
        rows.outcome.extend(cells.iter().map(|cell| cell.key.outcome as i8));
        rows.requests.extend(cells.iter().map(|cell| cell.counts.requests));
        rows.attempts.extend(cells.iter().map(|cell| cell.counts.attempts));
        rows.input_tokens.extend(cells.iter().map(|cell| cell.counts.input_tokens));
        rows.output_tokens.extend(cells.iter().map(|cell| cell.counts.output_tokens));
    }
}
