//! A report in words: what `preview` shows, what the contributor's ledger records, what `count` prints.
//!
//! All names in it come from the register and from `weighbridge_proto::names`, never from a gateway.

use serde::Serialize;
use weighbridge_catalog::{Catalogue, ModelId, ProviderId};
use weighbridge_proto::cells::Cell;
use weighbridge_proto::report::CheckedReport;

/// A report, decoded.
#[derive(Debug, Serialize)]
pub struct ReportView<'a> {
    /// Collector id, hexadecimal.
    pub collector_id: String,
    /// Start of the collector.
    pub boot_epoch: u64,
    /// Place within it.
    pub sequence: u64,
    /// Unix seconds.
    pub window_start_s: u64,
    /// Seconds.
    pub window_s: u32,
    /// Version of the register.
    pub catalogue_version: u32,
    /// Declared environment.
    pub environment: &'static str,
    /// Declared vantage.
    pub vantage: &'static str,
    /// Product.
    pub gateway_product: &'static str,
    /// The counts.
    pub cells: Vec<CellView<'a>>,
    /// Running totals of the boot epoch.
    pub total_requests: u64,
    /// See `total_requests`.
    pub total_attempts: u64,
    /// See `total_requests`.
    pub total_input_tokens: u64,
    /// See `total_requests`.
    pub total_output_tokens: u64,
    /// Requests whose report was dropped unsent.
    pub dropped_requests: u64,
}

/// A cell, decoded.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellView<'a> {
    /// Name in the register, or `unlisted`.
    pub model: &'a str,
    /// Family of the model, empty for `unlisted`.
    pub family: &'a str,
    /// Class of openness.
    pub openness: &'static str,
    /// Who runs the weights.
    pub hosting: &'static str,
    /// Name in the register, or `unlisted`.
    pub provider: &'a str,
    /// What was asked for.
    pub operation: &'static str,
    /// How it ended.
    pub outcome: &'static str,
    /// First choice or fallback.
    pub choice: &'static str,
    /// Whether the answer was streamed.
    pub streaming: &'static str,
    /// Client requests.
    pub requests: u64,
    /// Attempts.
    pub attempts: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// What stands for a number that the register does not have.
pub const UNLISTED: &str = "unlisted";

impl<'a> CellView<'a> {
    /// Names for the numbers of `cell`.
    pub fn of(cell: &Cell, catalogue: &'a Catalogue) -> CellView<'a> {
        let key = &cell.key;
        let model = Some(key.model).filter(|id| *id != ModelId::UNLISTED).and_then(|id| catalogue.model(id));
        let provider =
            Some(key.provider).filter(|id| *id != ProviderId::UNLISTED).and_then(|id| catalogue.provider(id));
        CellView {
            model: model.map_or(UNLISTED, |model| model.name()),
            family: model.map_or("", |model| model.family()),
            openness: key.openness.as_str(),
            hosting: key.hosting.as_str(),
            provider: provider.map_or(UNLISTED, |provider| provider.name),
            operation: key.operation.name(),
            outcome: key.outcome.name(),
            choice: key.choice.name(),
            streaming: key.streaming.name(),
            requests: cell.counts.requests,
            attempts: cell.counts.attempts,
            input_tokens: cell.counts.input_tokens,
            output_tokens: cell.counts.output_tokens,
        }
    }
}

impl<'a> ReportView<'a> {
    /// Names for the numbers of `report`.
    pub fn of(report: &CheckedReport, catalogue: &'a Catalogue) -> ReportView<'a> {
        ReportView {
            collector_id: format!("{:?}", report.identity.collector),
            boot_epoch: report.identity.boot_epoch.0,
            sequence: report.identity.sequence.0,
            window_start_s: report.window_start.0,
            window_s: report.window_s,
            catalogue_version: report.catalogue_version,
            environment: report.environment.name(),
            vantage: report.vantage.name(),
            gateway_product: report.gateway_product.name(),
            cells: report.cells.iter().map(|cell| CellView::of(cell, catalogue)).collect(),
            total_requests: report.totals.requests,
            total_attempts: report.totals.attempts,
            total_input_tokens: report.totals.input_tokens,
            total_output_tokens: report.totals.output_tokens,
            dropped_requests: report.dropped_requests,
        }
    }
}
