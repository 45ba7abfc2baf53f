//! `preview`: exactly what would leave, decoded and raw. Opens no socket and writes no file.
//!
//! In: captured payloads and a configuration. Out: the report that they would be sealed into: the decoded report as JSON, then
//! the same bytes in hexadecimal as they would go over the wire. The collector id and the boot epoch are made up for the
//! preview; everything else is what `run` would send.

use std::io::{self, Write};
use std::path::PathBuf;

use weighbridge_proto::report::{self, COLLECTOR_ID_BYTES, CollectorId};

use super::count::{CaptureError, CaptureSource, count_files};
use crate::config::{Config, Source};
use crate::intake::Signal;
use crate::report_view::ReportView;
use crate::window::{Header, Sealed, boot_epoch, seal};

/// Bytes a line of the hexadecimal part.
const LINE_BYTES: usize = 32;

/// Prints the report that `files` would become under `config` at `now_ms`.
///
/// # Errors
/// A file cannot be read, or the output cannot be written.
pub fn preview(
    config: &Config,
    files: &[PathBuf],
    now_ms: u64,
    out: &mut impl Write,
) -> Result<(), CaptureError> {
    let source = match config.signal() {
        Signal::Traces => CaptureSource::OtlpTraces,
        Signal::Metrics => CaptureSource::OtlpMetrics,
        Signal::Webhook => CaptureSource::Webhook,
        Signal::Prometheus => CaptureSource::Prometheus,
        Signal::AccessLog => CaptureSource::AccessLog,
        Signal::Logs => CaptureSource::OtlpLogs,
        Signal::Als => CaptureSource::Als,
        Signal::Tap => CaptureSource::Tap,
    };
    let aliases = config.aliases(weighbridge_catalog::embedded()).map_err(io::Error::other)?;
    let mut intake = source.intake(config.profile(), aliases, now_ms)?;
    if let Source::Prometheus(prometheus) = &config.source {
        intake = intake.with_entry_models(&prometheus.entry_models);
    }
    let mut counted = count_files(source, intake, files, now_ms)?;
    let sealed = sealed(config, &mut counted.intake, &counted.cells, now_ms)?;
    let checked = report::check(&sealed.bytes).map_err(io::Error::other)?;
    let view = ReportView::of(&checked, weighbridge_catalog::embedded());
    writeln!(out, "# the report, decoded")?;
    serde_json::to_writer_pretty(&mut *out, &view).map_err(io::Error::from)?;
    writeln!(out, "\n# the same report as it would go over the wire: {} bytes", sealed.bytes.len())?;
    for line in sealed.bytes.chunks(LINE_BYTES) {
        for byte in line {
            write!(out, "{byte:02x}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn sealed(
    config: &Config,
    intake: &mut crate::intake::Intake,
    cells: &[weighbridge_proto::cells::Cell],
    now_ms: u64,
) -> Result<Sealed, CaptureError> {
    let header = Header {
        collector: CollectorId([0xff; COLLECTOR_ID_BYTES]),
        boot_epoch: boot_epoch(now_ms, 0),
        window_s: config.window_s,
        environment: config.environment().map_err(io::Error::other)?,
        vantage: config.vantage().map_err(io::Error::other)?,
        gateway_product: intake.gateway_product(),
    };
    let window = crate::window::Window {
        start: crate::window::aligned(now_ms, config.window_s),
        sequence: 0,
        dropped_requests: 0,
    };
    Ok(seal(&header, &window, cells, intake))
}
