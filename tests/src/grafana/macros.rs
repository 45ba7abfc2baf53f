//! Macros of the plugin `grafana-clickhouse-datasource`, expanded as the plugin expands them.
//!
//! In goes SQL after variables were filled in, and the time range of a panel; out comes what ClickHouse is asked.
//! The rules are those of the plugin's Go package `pkg/macros` (version 4.20, commit 1d04063a), its cases are the golden vectors of
//! `tests/fixtures/grafana/macros.json`. Nested macros expand from the inside; comments are cut out first, and quotes protect what looks
//! like a comment. A macro that is not known here is an error, although the plugin passes it on: ClickHouse would refuse it.
//! Statement macros (`$__columns`, `$__lttb` and others) are not known on purpose: no released plugin that we support has them.

use std::fmt::Write as _;

/// Time range and interval of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Unix milliseconds.
    pub from_ms: i64,
    /// Unix milliseconds.
    pub to_ms: i64,
    /// Width of a point, milliseconds.
    pub interval_ms: i64,
}

impl TimeRange {
    fn first_s(self) -> i64 {
        self.from_ms.div_euclid(1000)
    }
    fn last_s(self) -> i64 {
        self.to_ms.div_euclid(1000)
    }
}

/// Names of all macros of the backend that are known here, without `$__`.
pub const KNOWN: &[&str] = &[
    "timeFilter",
    "timeFilter_ms",
    "dateFilter",
    "dateTimeFilter",
    "dt",
    "timeInterval",
    "timeInterval_ms",
    "interval_s",
    "fromTime",
    "toTime",
    "fromTime_ms",
    "toTime_ms",
    "timeFrom",
    "timeTo",
    "timeGroup",
];

/// Expands every macro of `sql`.
///
/// # Errors
/// A macro that is not known, or has the wrong number of arguments, in words.
pub fn expand(sql: &str, range: TimeRange) -> Result<String, String> {
    expand_text(&without_comments(sql), range)
}

fn expand_text(sql: &str, range: TimeRange) -> Result<String, String> {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find("$__") {
        out.push_str(&rest[..at]);
        let call = &rest[at + 3..];
        let end = call.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(call.len());
        let (name, after) = call.split_at(end);
        let (arguments, after) = match after.strip_prefix('(') {
            Some(inside) => arguments(inside).ok_or_else(|| format!("$__{name}( is not closed"))?,
            None => (Vec::new(), after),
        };
        let arguments: Result<Vec<String>, String> =
            arguments.iter().map(|argument| expand_text(argument.trim(), range)).collect();
        out.push_str(&expansion(name, &arguments?, range)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Arguments up to the bracket that closes them, and what follows it. Brackets inside count, quotes do not.
fn arguments(inside: &str) -> Option<(Vec<&str>, &str)> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => {
                if !(found.is_empty() && inside[start..at].trim().is_empty()) {
                    found.push(&inside[start..at]);
                }
                return Some((found, &inside[at + 1..]));
            }
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn expansion(name: &str, arguments: &[String], range: TimeRange) -> Result<String, String> {
    let seconds = |s: i64| format!("toDateTime({s})");
    let millis = |ms: i64| format!("fromUnixTimestamp64Milli({ms})");
    let (from, to) = (seconds(range.first_s()), seconds(range.last_s()));
    let (from_ms, to_ms) = (millis(range.from_ms), millis(range.to_ms));
    let (from_day, to_day) = (date(range.first_s()), date(range.last_s()));
    let width = (range.interval_ms / 1000).max(1);
    let between = |column: &str, from: &str, to: &str| format!("{column} >= {from} AND {column} <= {to}");
    let bucket = |column: &str, seconds: i64| {
        format!("toStartOfInterval(toDateTime({column}), INTERVAL {seconds} second)")
    };
    Ok(match (name, arguments) {
        ("fromTime", _) => from,
        ("toTime", _) => to,
        ("fromTime_ms", _) => from_ms,
        ("toTime_ms", _) => to_ms,
        ("interval_s", _) => width.to_string(),
        ("timeFilter", [column]) => between(column, &from, &to),
        ("timeFilter_ms", [column]) => between(column, &from_ms, &to_ms),
        ("dateFilter", [column]) => between(column, &from_day, &to_day),
        ("dateTimeFilter" | "dt", [day, time]) => {
            format!("({}) AND ({})", between(day, &from_day, &to_day), between(time, &from, &to))
        }
        ("timeInterval", [column]) => bucket(column, width),
        ("timeInterval_ms", [column]) => {
            format!(
                "toStartOfInterval(toDateTime64({column}, 3), INTERVAL {} millisecond)",
                range.interval_ms.max(1)
            )
        }
        ("timeFrom", [column]) => format!("{column} >= {from}"),
        ("timeTo", [column]) => format!("{column} <= {to}"),
        ("timeGroup", [column, period]) => bucket(column, duration_s(period)?),
        (name, _) if KNOWN.contains(&name) => {
            return Err(format!("$__{name} has {} arguments, which is the wrong number", arguments.len()));
        }
        (name, _) => return Err(format!("$__{name} is no macro of the plugin's backend")),
    })
}

/// `5m`, `'1h'`, `90s`: a number and a unit.
fn duration_s(text: &str) -> Result<i64, String> {
    let text = text.trim().trim_matches(['\'', '"']);
    let wrong = || format!("$__timeGroup: {text:?} is no duration");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => number,
        'm' => number * 60,
        'h' => number * 3_600,
        _ => return Err(wrong()),
    };
    if seconds > 0 { Ok(seconds) } else { Err(wrong()) }
}

/// `toDate('2026-11-24')` of Unix seconds, UTC; the civil calendar from days, as Howard Hinnant describes it.
fn date(unix_s: i64) -> String {
    let days = unix_s.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write!(out, "toDate('{year:04}-{month:02}-{day:02}')");
    out
}

/// Cuts `-- ...` and `/* ... */` out; quotes (', `) with ClickHouse's escapes protect what is in them.
fn without_comments(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut chars = sql.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\'' || c == '`' {
            out.push(c);
            while let Some((_, inner)) = chars.next() {
                out.push(inner);
                if inner == '\\' {
                    out.extend(chars.next().map(|(_, escaped)| escaped));
                } else if inner == c {
                    break;
                }
            }
        } else if sql[at..].starts_with("--") {
            while chars.next_if(|(_, next)| *next != '\n').is_some() {}
        } else if sql[at..].starts_with("/*") {
            let end = sql[at + 2..].find("*/").map_or(sql.len(), |found| at + 2 + found + 2);
            while chars.next_if(|(next, _)| *next < end).is_some() {}
        } else {
            out.push(c);
        }
    }
    out
}
