//! Times as logs write them, to Unix nanoseconds.

use crate::source::access_log::Value;

/// Unix nanoseconds; 0 if the value is no time. Numbers are seconds, milliseconds, microseconds or nanoseconds by their size.
pub(super) fn unix_nano(value: Value<'_>) -> u64 {
    match value {
        Value::Int(number) => from_number(number as f64),
        Value::Double(number) => from_number(number),
        Value::Text(raw) | Value::Number(raw) => {
            rfc3339(raw).or_else(|| std::str::from_utf8(raw).ok()?.parse().ok().map(from_number)).unwrap_or(0)
        }
        _ => 0,
    }
}

fn from_number(number: f64) -> u64 {
    let factor = match number {
        ..1e11 => 1e9,
        ..1e14 => 1e6,
        ..1e17 => 1e3,
        _ => 1.0,
    };
    // NaN, negative numbers and infinities saturate.
    (number * factor) as u64
}

/// `2025-08-30T16:51:37.894Z`, also with a space for the T and with an offset.
fn rfc3339(raw: &[u8]) -> Option<u64> {
    let number = |from: usize, length: usize| {
        let digits = raw.get(from..from + length)?;
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        all_digits.then(|| digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, bytes: &[u8]| raw.get(at).is_some_and(|byte| bytes.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"T ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let seconds = number(11, 2)? * 3_600 + number(14, 2)? * 60 + number(17, 2)?;
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".,") {
        let digits = raw.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count().min(9);
        nanos = number(at + 1, digits)? * 10_i64.pow(9 - digits as u32);
        at += 1 + raw.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    let offset = match raw.get(at) {
        None | Some(b'Z' | b'z') => 0,
        Some(sign @ (b'+' | b'-')) => {
            let minutes_at = if is(at + 3, b":") { at + 4 } else { at + 3 };
            let offset = number(at + 1, 2)? * 3_600 + number(minutes_at, 2)? * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + seconds - offset;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.cast_unsigned())
}

/// Days since 1970-01-01 of the Gregorian calendar (H. Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_spellings_of_logs() {
        let noon = 1_795_435_200_000_000_000;
        for text in [
            "2026-11-23T12:00:00Z",
            "2026-11-23T12:00:00.000Z",
            "2026-11-23T13:00:00+01:00",
            "2026-11-23T07:00:00.000000-0500",
            "1795435200",
            "1795435200.000",
            "1795435200000",
            "1795435200000000",
            "1795435200000000000",
        ] {
            assert_eq!(unix_nano(Value::Text(text.as_bytes())), noon, "{text}");
        }
        assert_eq!(unix_nano(Value::Text(b"2025-08-30T16:51:37.894Z")), 1_756_572_697_894_000_000);
        for text in ["", "yesterday", "23/Nov/2026:12:00:00 +0000", "2026-11-23", "-5"] {
            assert_eq!(unix_nano(Value::Text(text.as_bytes())), 0, "{text}");
        }
    }
}
