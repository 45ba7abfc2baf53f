//! A collector's `ledger.jsonl`: one JSON object a report, written before the report is first sent.
//!
//! Read line by line; what is not needed is passed over. A line that was cut by a crash, alone or with the next report behind it
//! on the same line, is told and the report behind it is read: the collector appends without looking back.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{BootEpoch, COLLECTOR_ID_BYTES, CollectorId};

use super::AuditError;
use super::arguments::Windows;
use super::state::{Content, EpochName, Epochs};
use super::topic;

/// How a line begins.
const BEGIN: &[u8] = b"{\"collector_id\":";

#[derive(Deserialize)]
struct Line {
    collector_id: String,
    boot_epoch: u64,
    sequence: u64,
    window_start_s: u64,
    window_s: u64,
    cells: Vec<Cell>,
    total_requests: u64,
    total_attempts: u64,
    total_input_tokens: u64,
    total_output_tokens: u64,
    dropped_requests: u64,
}

#[derive(Deserialize)]
struct Cell {
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// What was read of ledgers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    /// Reports of the span.
    pub(crate) reports: u64,
    /// Lines that were cut by a crash.
    pub(crate) cut: u64,
}

/// Opens each file, so that one that is not there is told at once.
pub(crate) fn probe(paths: &[PathBuf]) -> Result<(), AuditError> {
    paths.iter().try_for_each(|path| match File::open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(AuditError::Ledger { path: path.clone(), reason: source.to_string() }),
    })
}

/// Adds the reports of a ledger, under the names that Kafka has taught. Blocks.
pub(crate) fn read(
    path: &Path,
    windows: Windows,
    sent: &topic::Read,
    epochs: &mut Epochs,
    read: &mut Read,
) -> Result<(), AuditError> {
    let failed = |source: io::Error| AuditError::Ledger { path: path.to_owned(), reason: source.to_string() };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    read.files += 1;
    let (mut bytes, mut number) = (Vec::new(), 0_u64);
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(());
        }
        number += 1;
        read.lines += 1;
        let Some(line) = parse(&bytes, read) else { continue };
        let line = line.map_err(|reason| AuditError::Ledger {
            path: path.to_owned(),
            reason: format!("line {number}: {reason}"),
        })?;
        if windows.have(line.window_start_s) {
            add(&line, sent, epochs, read).ok_or_else(|| AuditError::Ledger {
                path: path.to_owned(),
                reason: format!("line {number}: collector_id is not 32 hexadecimal digits"),
            })?;
        }
    }
}

/// The report of a line; `None` if it was cut.
fn parse(bytes: &[u8], read: &mut Read) -> Option<Result<Line, serde_json::Error>> {
    let error = match serde_json::from_slice(bytes) {
        Ok(line) => return Some(Ok(line)),
        Err(error) => error,
    };
    if !bytes.starts_with(BEGIN) {
        return Some(Err(error));
    }
    // The next report was appended to what was cut.
    let behind = bytes.windows(BEGIN.len()).rposition(|at| at == BEGIN).filter(|at| *at > 0);
    let whole = behind.and_then(|at| serde_json::from_slice(bytes.get(at..)?).ok());
    if whole.is_none() && !error.is_eof() {
        return Some(Err(error));
    }
    read.cut += 1;
    whole.map(Ok)
}

fn add(line: &Line, sent: &topic::Read, epochs: &mut Epochs, read: &mut Read) -> Option<()> {
    let id = u128::from_str_radix(&line.collector_id, 16).ok();
    let id = id.filter(|_| line.collector_id.len() == COLLECTOR_ID_BYTES * 2)?;
    if !sent.shard.holds(&id.to_be_bytes()) {
        return Some(());
    }
    let name = EpochName { collector: CollectorId(id.to_be_bytes()), boot_epoch: BootEpoch(line.boot_epoch) };
    let mut counts = Counts::default();
    for cell in &line.cells {
        let Cell { requests, attempts, input_tokens, output_tokens } = *cell;
        counts.add(&Counts { requests, attempts, input_tokens, output_tokens });
    }
    let content = Content {
        window_start_s: line.window_start_s,
        cells: line.cells.len() as u64,
        counts,
        totals: Counts {
            requests: line.total_requests,
            attempts: line.total_attempts,
            input_tokens: line.total_input_tokens,
            output_tokens: line.total_output_tokens,
        },
        dropped_requests: line.dropped_requests,
    };
    let epoch = epochs.entry(sent.stored_as.name(name)).or_default();
    read.reports += u64::from(epoch.file.add(line.sequence, &content));
    let ended_ms = line.window_start_s.saturating_add(line.window_s).saturating_mul(1_000);
    if i64::try_from(ended_ms).is_ok_and(|ended_ms| ended_ms < sent.kept_since_ms) {
        epoch.file_before_kafka.insert(line.sequence);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64, window_start_s: u64) -> String {
        format!(
            r#"{{"collector_id":"07070707070707070707070707070707","boot_epoch":5,"sequence":{sequence},"window_start_s":{window_start_s},"window_s":60,"catalogue_version":2026112301,"environment":"production","vantage":"gateway","gateway_product":"litellm","cells":[{{"model":"gpt-4o","requests":2,"attempts":3,"input_tokens":4,"output_tokens":5}}],"total_requests":2,"total_attempts":3,"total_input_tokens":4,"total_output_tokens":5,"dropped_requests":0}}"#
        )
    }

    fn read_text(text: &str) -> (Epochs, Result<Read, AuditError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        std::fs::write(&path, text).unwrap();
        let (mut epochs, mut told) = (Epochs::default(), Read::default());
        let windows = Windows { from: 600, to: 1_200 };
        let result = read(
            &path,
            windows,
            &topic::Read { kept_since_ms: 700_000, ..topic::Read::default() },
            &mut epochs,
            &mut told,
        );
        (epochs, result.map(|()| told))
    }

    #[test]
    fn reports_of_the_span_are_read() {
        let text = [line(0, 540), line(1, 600), line(2, 660), line(2, 660), line(3, 1_200)].join("\n");
        let (epochs, told) = read_text(&text);
        assert_eq!(told.unwrap(), Read { files: 1, lines: 5, reports: 2, cut: 0 });
        let epoch = epochs.values().next().unwrap();
        assert_eq!(epoch.file.sequences.to_string(), "1-2");
        assert_eq!((epoch.file.counts.requests, epoch.file.cells), (4, 2));
        assert_eq!(epoch.file_before_kafka.to_string(), "1", "ended before 700 s");
    }

    #[test]
    fn cut_lines_are_told_and_what_is_behind_them_is_read() {
        let whole = line(1, 600);
        for cut in [1, 20, 60, whole.len() - 1] {
            let cut = &whole[..cut.max(BEGIN.len())];
            let (epochs, told) = read_text(&format!("{cut}{}\n{cut}", line(2, 660)));
            assert_eq!(told.unwrap().cut, 2, "{cut}");
            assert_eq!(epochs.values().next().unwrap().file.sequences.to_string(), "2");
        }
    }

    #[test]
    fn another_file_is_no_ledger() {
        for text in ["hello\n", "{\"a\":1}\n", "{\"collector_id\":7}\n"] {
            let (_, told) = read_text(text);
            let error = told.unwrap_err();
            assert!(error.is_argument() && error.to_string().contains("line 1"), "{error}");
        }
    }
}
