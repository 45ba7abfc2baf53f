//! One start of a simulated collector: seals reports with their running totals, as the real one does.

use bytes::Bytes;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_proto::cells::{self, Cell, CellKey, Counts};
use weighbridge_proto::report;
use weighbridge_proto::v1::{Choice, Operation, Outcome, Report, Streaming, Vantage};

/// See above.
#[derive(Debug)]
pub struct Start {
    /// The collector.
    pub id: u128,
    /// Names the start.
    pub boot_epoch: u64,
    /// Of the next report.
    pub sequence: u64,
    /// Counted in the reports so far.
    pub totals: Counts,
}

impl Start {
    /// Nothing is sealed yet.
    pub fn new(id: u128, boot_epoch: u64) -> Start {
        Start { id, boot_epoch, sequence: 0, totals: Counts::default() }
    }

    /// Seals the next report, with a cell for each model.
    pub fn seal(
        &mut self,
        (window_start_s, window_s): (u64, u32),
        counted: impl IntoIterator<Item = (u32, Counts)>,
    ) -> Bytes {
        let cells: Vec<Cell> =
            counted.into_iter().map(|(model, counts)| Cell { key: key(model), counts }).collect();
        cells.iter().for_each(|cell| self.totals.add(&cell.counts));
        let report = Report {
            schema: report::SCHEMA,
            collector_id: Bytes::copy_from_slice(&self.id.to_be_bytes()),
            boot_epoch: self.boot_epoch,
            sequence: self.sequence,
            window_start_s,
            window_s,
            catalogue_version: 2_026_112_301,
            environment: 1,
            vantage: Vantage::Gateway.into(),
            gateway_product: 2,
            cells: cells::pack(&cells),
            total_requests: self.totals.requests,
            total_attempts: self.totals.attempts,
            total_input_tokens: self.totals.input_tokens,
            total_output_tokens: self.totals.output_tokens,
            ..Report::default()
        };
        self.sequence += 1;
        report::seal(&report)
    }
}

fn key(model: u32) -> CellKey {
    CellKey {
        model: ModelId(model),
        provider: ProviderId(1),
        openness: Openness::ALL[model as usize % Openness::ALL.len()],
        hosting: Hosting::FirstParty,
        operation: Operation::Chat,
        choice: Choice::First,
        streaming: Streaming::No,
        outcome: Outcome::Ok,
    }
}
