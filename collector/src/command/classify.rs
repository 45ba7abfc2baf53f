//! `classify`: what the register says of names.
//!
//! In: CSV with a header that has `name`, and may have `provider` and `at` (a day, `yyyy-mm-dd`); other columns are passed
//! over. Out: CSV `provider,name,openness,family,model,hosting,reason`, one row an input row, in order. Family is empty and
//! model `unlisted` where the register has none. A row whose `at` is no day stops the command with its line; a name that is not
//! UTF-8 is unmatched like any other that is no name.

use std::io::{Read, Write};

use csv::{ByteRecord, ReaderBuilder, Writer};
use weighbridge_catalog::{Catalogue, Classification, Day, Origin};

use crate::aliases::Aliases;
use crate::classifier::Classifier;
use crate::report_view::UNLISTED;

/// Why names cannot be classified.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// Broken CSV, or the input or output failed.
    #[error("classify: {0}")]
    Csv(#[from] csv::Error),
    /// The output.
    #[error("classify: output: {0}")]
    Write(#[from] std::io::Error),
    /// The header.
    #[error("classify: the header has no column `name`; write provider,name or provider,name,at")]
    Header,
    /// A day.
    #[error("classify: line {0}: at: write a day as yyyy-mm-dd, or leave it empty")]
    Day(u64),
}

impl ClassifyError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            ClassifyError::Csv(_) => "csv",
            ClassifyError::Write(_) => "write",
            ClassifyError::Header => "header",
            ClassifyError::Day(_) => "day",
        }
    }
}

/// A row of names: what `classify` and `catalog coverage` read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// Provider label, empty if there is none.
    pub provider: String,
    /// The name; what is not UTF-8 is replaced, so that it is unmatched.
    pub name: String,
    /// The day asked for, if the row names one.
    pub at: Option<Day>,
}

/// Hands every row of `input` to `each`, with its raw provider and name.
///
/// # Errors
/// The CSV is broken, has no column `name` or a day that is none; or what `each` returns.
pub fn read_names(
    input: impl Read,
    mut each: impl FnMut(&NameRow, [&[u8]; 2]) -> Result<(), ClassifyError>,
) -> Result<(), ClassifyError> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(input);
    let header = reader.byte_headers()?.clone();
    let column = |name: &[u8]| header.iter().position(|field| field.trim_ascii() == name);
    let name = column(b"name").ok_or(ClassifyError::Header)?;
    let (provider, at) = (column(b"provider"), column(b"at"));
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let field = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
        let raw = [field(provider), field(Some(name))];
        let [provider, name] = raw.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let at = match field(at).trim_ascii() {
            b"" => None,
            day => {
                let line = record.position().map_or(0, csv::Position::line);
                let day = std::str::from_utf8(day).ok().and_then(Day::from_text);
                Some(day.ok_or(ClassifyError::Day(line))?)
            }
        };
        each(&NameRow { provider, name, at }, raw)?;
    }
    Ok(())
}

/// Classifies the names of `input` on day `today`, where a row names no other.
///
/// # Errors
/// See `ClassifyError`. Rows before the fault are written.
pub fn classify(
    catalogue: &'static Catalogue,
    aliases: Aliases,
    today: Day,
    input: impl Read,
    out: impl Write,
) -> Result<(), ClassifyError> {
    let mut classifier = Classifier::new(catalogue, aliases, today);
    let mut out = Writer::from_writer(out);
    out.write_record(["provider", "name", "openness", "family", "model", "hosting", "reason"])?;
    let read = read_names(input, |row, raw| {
        classifier.set_day(row.at.unwrap_or(today));
        let found = classifier.classify(&row.name, Origin { provider: &row.provider, address: "" });
        for field in raw {
            out.write_field(field)?;
        }
        for field in words(catalogue, &found) {
            out.write_field(field)?;
        }
        Ok(out.write_record(None::<&[u8]>)?)
    });
    out.flush()?;
    read
}

/// Openness, family, model, hosting and reason in words of the register.
fn words(catalogue: &'static Catalogue, found: &Classification) -> [&'static str; 5] {
    let model = catalogue.model(found.model).map_or(UNLISTED, |model| model.name());
    [found.openness.as_str(), found.family, model, found.hosting.as_str(), found.reason.as_str()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8]) -> Result<String, ClassifyError> {
        let mut out = Vec::new();
        let today = Day::from_civil(2026, 10, 9);
        classify(weighbridge_catalog::embedded(), Aliases::default(), today, input, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn rows_come_out_in_order_with_what_came_in() {
        let out = run(b"provider,name\nopenai,gpt-4o\n,\"a,b\"\nollama,kimi-k2:1t-cloud\n").unwrap();
        assert_eq!(
            out,
            "provider,name,openness,family,model,hosting,reason\n\
             openai,gpt-4o,closed,gpt,gpt-4o,first_party,matched\n\
             ,\"a,b\",unknown,,unlisted,unknown,unmatched\n\
             ollama,kimi-k2:1t-cloud,open-restricted,kimi,kimi-k2,third_party,matched\n"
        );
    }

    #[test]
    fn a_row_may_name_its_day_and_further_columns() {
        let out = run(b"note,at,name\nx,2026-08-27,glm-5.3\nx,2026-08-28,glm-5.3\nx,,glm-5.3\n").unwrap();
        let classes: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
        assert_eq!(classes, ["closed", "open-restricted", "open-restricted"]);
    }

    #[test]
    fn faults_name_line_and_fix() {
        assert!(matches!(run(b"provider,model\nx,y\n"), Err(ClassifyError::Header)));
        assert!(matches!(run(b"name,at\ngpt-4o,2026-02-30\n"), Err(ClassifyError::Day(2))));
        let out = run(b"name\n\xff\xfe\n").unwrap();
        assert!(out.contains(",unknown,,unlisted,unknown,unmatched"), "{out}");
    }
}
