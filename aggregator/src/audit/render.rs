//! The answer of an audit as text for people, JSON or CSV.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Audit, EpochName, Stage};
use crate::ranges::Ranges;
use crate::table::{Format, csv_field, time_text};

/// Sentences of one kind that a person is shown.
const SHOWN: usize = 100;

/// The answer, with a newline at its end.
pub fn render(audit: &Audit, format: Format) -> String {
    match format {
        Format::Table => text(audit),
        Format::Json => format!("{:#}\n", as_json(audit)),
        Format::Csv => csv(audit),
    }
}

fn time(unix_s: u64) -> String {
    time_text(i64::try_from(unix_s).unwrap_or(0))
}

fn text(audit: &Audit) -> String {
    let looked = &audit.looked_at;
    let mut out = format!("windows from {} to {} (UTC)\n", time(audit.windows.from), time(audit.windows.to));
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "looked at {} collectors, {} boot epochs\n\
         \x20 ledgers of collectors  {} files, {} lines ({} cut by a crash), {} reports\n\
         \x20 Kafka                  {} records, {} reports, {} copies, {} values that are no report (see dead-letter list)\n\
         \x20 ClickHouse             {} reports, {} cells; {} reports not retained in Kafka\n\
         \x20 rollup                 {} days",
        looked.collectors,
        looked.boot_epochs,
        looked.ledger_files,
        looked.ledger_lines,
        looked.ledger_lines_cut,
        looked.ledger_reports,
        looked.kafka_records,
        looked.kafka_reports,
        looked.kafka_copies,
        looked.kafka_not_reports,
        looked.clickhouse_reports,
        looked.clickhouse_cells,
        looked.not_retained,
        looked.days,
    );
    let notes: Vec<String> = audit.notes.iter().map(ToString::to_string).collect();
    let differences: Vec<String> = audit.differences.iter().map(ToString::to_string).collect();
    paragraph(&mut out, "accounted for", &notes, notes.len() as u64);
    paragraph(&mut out, "differs", &differences, audit.difference_count);
    match audit.first {
        None => out.push_str("\nequal\n"),
        Some(stage) => drop(writeln!(out, "\ndiffers first at: {}", stage.name())),
    }
    out
}

fn paragraph(out: &mut String, title: &str, sentences: &[String], count: u64) {
    if sentences.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for sentence in sentences.iter().take(SHOWN) {
        let _ = writeln!(out, "  {sentence}");
    }
    let shown = sentences.len().min(SHOWN) as u64;
    if count > shown {
        let _ = writeln!(out, "  and {} more; --format json shows the first 10,000", count - shown);
    }
}

fn as_json(audit: &Audit) -> Value {
    let difference = |difference: &super::Difference| {
        let mut object = finding(difference.name, &difference.sequences, &difference.what);
        object["stage"] = json!(difference.stage.name());
        object["day"] = json!(difference.day);
        object["text"] = json!(difference.to_string());
        object
    };
    let note = |note: &super::Note| {
        let mut object = finding(note.name, &note.sequences, &note.what);
        object["text"] = json!(note.to_string());
        object
    };
    json!({
        "from": time(audit.windows.from),
        "to": time(audit.windows.to),
        "equal": audit.is_equal(),
        "first": audit.first.map(Stage::name),
        "looked_at": audit.looked_at,
        "difference_count": audit.difference_count,
        "differences": audit.differences.iter().map(difference).collect::<Vec<_>>(),
        "notes": audit.notes.iter().map(note).collect::<Vec<_>>(),
    })
}

fn finding(name: Option<EpochName>, sequences: &Ranges, what: &str) -> Value {
    json!({
        "collector_id": name.map(|name| format!("{:?}", name.collector)),
        "boot_epoch": name.map(|name| name.boot_epoch.0),
        "reports": sequences.len(),
        "sequences": sequences.to_string(),
        "what": what,
    })
}

fn csv(audit: &Audit) -> String {
    let mut out = "kind,stage,collector_id,boot_epoch,reports,sequences,day,what\n".to_owned();
    let mut row = |kind: &str,
                   stage: &str,
                   name: Option<EpochName>,
                   sequences: &Ranges,
                   day: Option<u32>,
                   what: &str| {
        let fields = [
            kind.to_owned(),
            stage.to_owned(),
            name.map(|name| format!("{:?}", name.collector)).unwrap_or_default(),
            name.map(|name| name.boot_epoch.0.to_string()).unwrap_or_default(),
            sequences.len().to_string(),
            csv_field(&sequences.to_string()),
            day.map(|day| day.to_string()).unwrap_or_default(),
            csv_field(what),
        ];
        let _ = writeln!(out, "{}", fields.join(","));
    };
    for difference in &audit.differences {
        let super::Difference { stage, name, day, sequences, what } = difference;
        row("difference", stage.name(), *name, sequences, *day, what);
    }
    for note in &audit.notes {
        row("note", "", note.name, &note.sequences, None, &note.what);
    }
    out
}
