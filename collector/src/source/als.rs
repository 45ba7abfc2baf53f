//! Envoy's gRPC access log, `envoy.service.accesslog.v3.AccessLogService`: wire scan of `StreamAccessLogsMessage`.
//!
//! Field numbers, of `envoy/service/accesslog/v3/als.proto` and `envoy/data/accesslog/v3/accesslog.proto` (the API of 1.31;
//! numbers are never reused): StreamAccessLogsMessage 2 http_logs; HTTPAccessLogEntries 1 log_entry; HTTPAccessLogEntry 1
//! common_properties, 3 request, 4 response; AccessLogCommon 5 start_time, 15 upstream_cluster, 16 response_flags, 17 metadata,
//! 22 custom_tags, 24 upstream_request_attempt_count, 27 intermediate_log_entry; HTTPRequestProperties 5 path, 9 request_id,
//! 10 original_path, 13 request_headers; HTTPResponseProperties 1 response_code, 4 response_headers, 6 response_code_details;
//! ResponseFlags see `FLAGS`; Metadata 1 filter_metadata; map entries 1 key, 2 value; google.protobuf: Struct 1 fields, Value
//! 2 number, 3 string, 4 bool, 5 struct, Timestamp 1 seconds, 2 nanos, UInt32Value 1 value.
//!
//! Dynamic metadata, custom tags and logged headers are read where the profile names them: `/metadata/NAMESPACE/KEY`,
//! `/custom_tags/NAME`, `/request_headers/NAME`, `/response_headers/NAME`. Addresses, certificates and other headers are passed
//! over. Entries that Envoy writes while a request is still running are skipped. TCP logs tell no requests.

use arrayvec::ArrayVec;

use crate::discard::{Refusal, Skip};
use crate::source::Payload;
use crate::source::access_log::{Fields, Node, Point, Record, Role, Value as Field, scan_text};
use crate::source::protobuf::{Fields as Wire, Value};

/// Field of ResponseFlags, and what `%RESPONSE_FLAGS%` calls it.
const FLAGS: &[(u32, &str)] = &[
    (1, "LH"),
    (2, "UH"),
    (3, "UT"),
    (4, "LR"),
    (5, "UR"),
    (6, "UF"),
    (7, "UC"),
    (8, "UO"),
    (9, "NR"),
    (10, "DI"),
    (11, "FI"),
    (12, "RL"),
    (13, "UAEX"),
    (14, "RLSE"),
    (15, "DC"),
    (16, "URX"),
    (17, "SI"),
    (18, "IH"),
    (19, "DPE"),
    (20, "UMSDR"),
    (21, "RFCF"),
    (22, "NFCF"),
    (23, "DT"),
    (24, "UPE"),
    (25, "NC"),
    (26, "OM"),
    (27, "DF"),
    (28, "DR"),
];

/// Room for all of them, with commas.
const FLAGS_BYTES: usize = 128;
/// Deepest struct in a struct.
const MAX_DEPTH: u32 = 16;
/// What the entry says itself comes after every field that the profile names.
const OWN: u8 = u8::MAX - 1;

/// Why an entry is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntry {
    /// Written while the request was running: its last entry counts.
    Skip(Skip),
    /// Bad input.
    Refuse(Refusal),
}

/// Hands the fields of every HTTP entry of `message` to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` when the bytes are not a `StreamAccessLogsMessage`; `each` may have seen entries before.
pub fn read_entries(
    message: &[u8],
    fields: &Fields,
    mut each: impl FnMut(Result<&Record<'_>, NotEntry>),
) -> Payload<()> {
    let mut stream = Wire::of(message);
    while let Some((field, value)) = stream.next_field()? {
        if field != 2 {
            continue;
        }
        let mut entries = Wire::of(value.bytes()?);
        while let Some((field, value)) = entries.next_field()? {
            if field == 1 {
                read_entry(value.bytes()?, fields.root(), &mut each)?;
            }
        }
    }
    Ok(())
}

fn read_entry(
    entry: &[u8],
    node: &Node,
    each: &mut impl FnMut(Result<&Record<'_>, NotEntry>),
) -> Payload<()> {
    let mut flags = ArrayVec::new();
    read_flags(entry, &mut flags)?;
    let mut record = Record::default();
    if !flags.is_empty() {
        record.set((Role::Flags, OWN), Field::Text(&flags));
    }
    let mut is_intermediate = false;
    let mut wire = Wire::of(entry);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            1 => is_intermediate = read_common(value.bytes()?, node, &mut record)?,
            3 => read_request(value.bytes()?, node, &mut record)?,
            4 => read_response(value.bytes()?, node, &mut record)?,
            _ => {}
        }
    }
    each(if is_intermediate { Err(NotEntry::Skip(Skip::Intermediate)) } else { Ok(&record) });
    Ok(())
}

/// The short names of the response flags, separated by commas.
fn read_flags(entry: &[u8], names: &mut ArrayVec<u8, FLAGS_BYTES>) -> Payload<()> {
    let mut entry = Wire::of(entry);
    while let Some((field, value)) = entry.next_field()? {
        if field != 1 {
            continue;
        }
        let mut common = Wire::of(value.bytes()?);
        while let Some((field, value)) = common.next_field()? {
            if field != 16 {
                continue;
            }
            let mut flags = Wire::of(value.bytes()?);
            while let Some((field, value)) = flags.next_field()? {
                let is_set = value != Value::Varint(0);
                if let Some((_, name)) = FLAGS.iter().find(|(number, _)| is_set && *number == field) {
                    let separator: &[u8] = if names.is_empty() { b"" } else { b"," };
                    // A message that repeats flags has no room for all of them and is none of Envoy's.
                    let room = names.try_extend_from_slice(separator);
                    room.and_then(|()| names.try_extend_from_slice(name.as_bytes()))
                        .map_err(|_| Refusal::Malformed)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns whether the request was still running.
fn read_common<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>) -> Payload<bool> {
    let mut is_intermediate = false;
    // Envoy leaves out a count of 0: the request was never tried.
    let mut attempts = 0;
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            5 => record.set((Role::Time, OWN), Field::Int(timestamp(value.bytes()?)?)),
            15 => record.set((Role::Upstream, OWN), Field::Text(value.bytes()?)),
            17 => read_metadata(value.bytes()?, node, record)?,
            22 => read_map_entry(value.bytes()?, node, b"custom_tags", record)?,
            24 => attempts = i64::try_from(value.number()?).map_err(|_| Refusal::CountRange)?,
            27 => is_intermediate = value.number()? != 0,
            _ => {}
        }
    }
    record.set((Role::Attempts, OWN), Field::Int(attempts));
    Ok(is_intermediate)
}

fn read_request<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>) -> Payload<()> {
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            // The path before a rewrite says what the client asked for.
            5 => record.set((Role::Path, OWN), Field::Text(value.bytes()?)),
            10 => record.set((Role::Path, OWN - 1), Field::Text(value.bytes()?)),
            9 => record.set((Role::Id, OWN), Field::Text(value.bytes()?)),
            13 => read_map_entry(value.bytes()?, node, b"request_headers", record)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_response<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>) -> Payload<()> {
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            1 => {
                let mut wrapped = Wire::of(value.bytes()?);
                while let Some((field, value)) = wrapped.next_field()? {
                    if field == 1 {
                        let status = i64::try_from(value.number()?).map_err(|_| Refusal::CountRange)?;
                        record.set((Role::Status, OWN), Field::Int(status));
                    }
                }
            }
            4 => read_map_entry(value.bytes()?, node, b"response_headers", record)?,
            6 => record.set((Role::Details, OWN), Field::Text(value.bytes()?)),
            _ => {}
        }
    }
    Ok(())
}

/// One entry of a map of strings, wanted as `/map/key`.
fn read_map_entry<'a>(entry: &'a [u8], node: &Node, map: &[u8], record: &mut Record<'a>) -> Payload<()> {
    let Some(wanted) = node.get(map).and_then(Point::object) else { return Ok(()) };
    let (key, value) = key_and_value(entry)?;
    if let Some(point) = wanted.get(key) {
        scan_text(value, point, record);
    }
    Ok(())
}

fn read_metadata<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>) -> Payload<()> {
    let Some(wanted) = node.get(b"metadata").and_then(Point::object) else { return Ok(()) };
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        if field == 1 {
            let (namespace, fields) = key_and_value(value.bytes()?)?;
            if let Some(node) = wanted.get(namespace).and_then(Point::object) {
                read_struct(fields, node, record, 0)?;
            }
        }
    }
    Ok(())
}

fn read_struct<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>, depth: u32) -> Payload<()> {
    if depth > MAX_DEPTH {
        return Err(Refusal::Malformed);
    }
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        if field != 1 {
            continue;
        }
        let (key, value) = key_and_value(value.bytes()?)?;
        let Some(point) = node.get(key) else { continue };
        let mut wire = Wire::of(value);
        while let Some((field, value)) = wire.next_field()? {
            match (field, value) {
                (2, Value::Fixed64(bits)) => point.set(record, Field::Double(f64::from_bits(bits))),
                (3, Value::Bytes(text)) => scan_text(text, point, record),
                (4, Value::Varint(number)) => point.set(record, Field::Bool(number != 0)),
                (5, Value::Bytes(inner)) => {
                    if let Some(node) = point.object() {
                        read_struct(inner, node, record, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn key_and_value(entry: &[u8]) -> Payload<(&[u8], &[u8])> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut wire = Wire::of(entry);
    while let Some((field, found)) = wire.next_field()? {
        match field {
            1 => key = found.bytes()?,
            2 => value = found.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Unix nanoseconds.
fn timestamp(message: &[u8]) -> Payload<i64> {
    let (mut seconds, mut nanos) = (0_u64, 0_u64);
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            1 => seconds = value.number()?,
            2 => nanos = value.number()?,
            _ => {}
        }
    }
    let time = seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(nanos));
    time.and_then(|time| i64::try_from(time).ok()).ok_or(Refusal::ClockSkew)
}
