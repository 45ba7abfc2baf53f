//! From a body to its records: JSON lines, a JSON array of objects, or one object.

use super::scan::value_length;
use crate::discard::Refusal;
use crate::source::Payload;

/// Longest record: Kong's with bodies stay under it. Longer ones are refused, so that no line takes memory without bound.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Hands every line that is not empty to `each`, in order; `Err` for one that is too long.
pub fn each_line<'a>(bytes: &'a [u8], mut each: impl FnMut(Result<&'a [u8], Refusal>)) {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
    for end in ends {
        let line = bytes.get(start..end).unwrap_or_default();
        start = end + 1;
        if line.len() > MAX_RECORD_BYTES {
            each(Err(Refusal::LineTooLong));
        } else if line.first() == Some(&b'{') || !line.trim_ascii().is_empty() {
            each(Ok(line));
        }
    }
}

/// Hands every record of a request body to `each`: of an array its elements, of one object over several lines that object,
/// else every line.
///
/// # Errors
/// `Refusal::Malformed` when the body is an array that cannot be read whole; `each` saw nothing then.
pub fn each_record<'a>(body: &'a [u8], mut each: impl FnMut(Result<&'a [u8], Refusal>)) -> Payload<()> {
    let body = body.trim_ascii();
    match body.first() {
        Some(b'[') => {
            let elements = elements(body).ok_or(Refusal::Malformed)?;
            elements.into_iter().for_each(|element| each(bounded(element)));
        }
        Some(b'{') if value_length(body) == Some(body.len()) => each(bounded(body)),
        _ => each_line(body, each),
    }
    Ok(())
}

fn bounded(record: &[u8]) -> Result<&[u8], Refusal> {
    if record.len() > MAX_RECORD_BYTES { Err(Refusal::LineTooLong) } else { Ok(record) }
}

/// The elements of an array.
fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    let mut rest = array.strip_prefix(b"[")?.trim_ascii_start();
    if rest == b"]" {
        return Some(elements);
    }
    loop {
        let (element, after) = rest.split_at_checked(value_length(rest)?)?;
        elements.push(element);
        let after = after.trim_ascii_start();
        match after.split_first()? {
            (b',', next) => rest = next.trim_ascii_start(),
            (b']', []) => return Some(elements),
            _ => return None,
        }
    }
}
