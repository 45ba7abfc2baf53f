//! Prometheus pages: the text format 0.0.4 and OpenMetrics 1.0.
//!
//! In: the bytes of one page, and which sample names are wanted. Out: the wanted samples in order, borrowed from the page: name,
//! labels (not yet looked at), value, and the type that the page's `# TYPE` line gives the metric. Everything else is passed
//! over: other samples, buckets, help texts, timestamps, exemplars.
//! Guarantees: never panics, allocates nothing, linear. A line that is wanted and cannot be read is handed on as a refusal, and
//! the others are read. A page that holds no line of this format at all (HTML, JSON) is refused whole.

mod labels;

pub use labels::{Labels, labels_of, text as labels_text};

use memchr::{memchr, memchr2};

use crate::discard::Refusal;
use crate::source::Payload;

/// What a `# TYPE` line says of a metric. The type never comes from a suffix: vLLM has a histogram named `..._total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// No `# TYPE` line, or `untyped` or `unknown`.
    #[default]
    Untyped,
    /// A counter.
    Counter,
    /// A gauge, or anything that is no count.
    Gauge,
    /// A histogram or summary.
    Histogram,
}

/// A wanted sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a, T> {
    /// What the caller wanted it for.
    pub wanted: T,
    /// Type of its metric.
    pub kind: Kind,
    /// The text between the braces, empty without labels.
    pub labels: &'a [u8],
    /// The value.
    pub value: f64,
}

/// Hands every wanted sample of `page` to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` when not one line of the page is of this format, and the page is not empty.
pub fn read_page<'a, T: Copy>(
    page: &'a [u8],
    wanted: impl Fn(&[u8]) -> Option<T>,
    mut each: impl FnMut(Result<Sample<'a, T>, Refusal>),
) -> Payload<()> {
    let mut declared: (&[u8], Kind) = (b"", Kind::Untyped);
    let (mut is_page, mut rest) = (false, page);
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        match line.first() {
            None => {}
            Some(b'#') => {
                is_page = true;
                declared = type_line(line).unwrap_or(declared);
            }
            Some(_) => {
                let name_end = memchr2(b'{', b' ', line).unwrap_or(line.len());
                let (name, after) = line.split_at(name_end);
                // Most lines of most pages; no rule reads them.
                if name.ends_with(b"_bucket") {
                    continue;
                }
                is_page = is_page || !after.is_empty() && is_name(name);
                if let Some(wanted) = wanted(name) {
                    let kind = if name.starts_with(declared.0) { declared.1 } else { Kind::Untyped };
                    each(sample(after, wanted, kind));
                }
            }
        }
    }
    if is_page || page.trim_ascii().is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
}

/// Metric name and type of a `# TYPE` line.
fn type_line(line: &[u8]) -> Option<(&[u8], Kind)> {
    let rest = line.strip_prefix(b"# TYPE ")?;
    let mut words = rest.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let name = words.next()?;
    let kind = match words.next()? {
        b"counter" => Kind::Counter,
        b"histogram" | b"summary" => Kind::Histogram,
        b"untyped" | b"unknown" => Kind::Untyped,
        _ => Kind::Gauge,
    };
    Some((name, kind))
}

fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b':'))
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.'))
}

/// Labels and value of a line whose name was taken off.
fn sample<T>(after: &[u8], wanted: T, kind: Kind) -> Result<Sample<'_, T>, Refusal> {
    let after = after.trim_ascii_start();
    let (labels, after) = match after.strip_prefix(b"{") {
        Some(inside) => {
            let end = labels::end(inside).ok_or(Refusal::Malformed)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => (&after[..0], after),
    };
    // The value ends at the timestamp or exemplar.
    let text = after.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty());
    let value = text.and_then(number).ok_or(Refusal::Malformed)?;
    Ok(Sample { wanted, kind, labels, value })
}

/// A value as Go writes floats: `12`, `8.128902e+06`, `NaN`, `+Inf`.
fn number(text: &[u8]) -> Option<f64> {
    // Nearly all values are short whole numbers, often with `.0` behind.
    let whole = text.strip_suffix(b".0").unwrap_or(text);
    if whole.len() <= 15 && !whole.is_empty() && whole.iter().all(u8::is_ascii_digit) {
        return Some(whole.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')) as f64);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Type, labels and value.
    type Read = Result<(Kind, String, f64), Refusal>;

    fn read(page: &str) -> (Payload<()>, Vec<Read>) {
        let mut samples = Vec::new();
        let wanted = |name: &[u8]| name.starts_with(b"x").then_some(());
        let outcome = read_page(page.as_bytes(), wanted, |sample| {
            samples.push(sample.map(|sample| {
                let labels = String::from_utf8_lossy(sample.labels).into_owned();
                (sample.kind, labels, sample.value)
            }));
        });
        (outcome, samples)
    }

    #[test]
    fn both_formats_are_read() {
        let page = "# HELP x_total Requests {not labels}\n# TYPE x_total counter\nx_total{a=\"b\",c=\"d}\\\"\"} 12.0 1395066363000\n\
                    x_total 8.128902e+06\r\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 3\nx_sum{} 0.5 # {trace_id=\"1\"} 0.3\n\
                    y 7\n# TYPE xg gauge\nxg 4\n# EOF\n";
        let (outcome, samples) = read(page);
        assert_eq!(outcome, Ok(()));
        let expected: Vec<(Kind, &str, f64)> = vec![
            (Kind::Counter, "a=\"b\",c=\"d}\\\"\"", 12.0),
            (Kind::Counter, "", 8_128_902.0),
            (Kind::Histogram, "", 0.5),
            (Kind::Gauge, "", 4.0),
        ];
        let found: Vec<_> = samples.iter().map(|sample| sample.as_ref().unwrap()).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.0, found.1.as_str(), found.2), *expected);
        }
    }

    #[test]
    fn a_broken_line_is_refused_alone() {
        let (outcome, samples) = read("x{a=\"b 1\nx{a=\"b\"} one\nx\nx 5\nx NaN\n");
        assert_eq!(outcome, Ok(()));
        let values: Vec<Option<f64>> =
            samples.iter().map(|sample| sample.as_ref().ok().map(|found| found.2)).collect();
        assert_eq!(values[..4], [None, None, None, Some(5.0)]);
        assert!(values[4].unwrap().is_nan());
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for page in ["<!doctype html>\n<html>", "{\"error\":\"no\"}", "Unauthorized"] {
            assert_eq!(read(page).0, Err(Refusal::Malformed), "{page}");
        }
        assert_eq!(read("\n").0, Ok(()));
    }

    proptest! {
        #[test]
        fn never_panics(page: Vec<u8>) {
            let _ = read_page(&page, |_| Some(()), |_| {});
        }

        #[test]
        fn never_panics_on_lines(page in "(x|# TYPE x counter|\\{|\\}|\"|\\\\|,|=| |1|\n){0,60}") {
            let _ = read_page(page.as_bytes(), |_| Some(()), |sample| {
                if let Ok(sample) = sample {
                    labels_of(sample.labels).for_each(drop);
                }
            });
        }
    }
}
