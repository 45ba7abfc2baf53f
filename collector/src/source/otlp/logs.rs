//! Wire scan of `ExportLogsServiceRequest`: attributes and body of a log record are the fields of an access log's line.
//!
//! Field numbers (`opentelemetry/proto/collector/logs/v1`, `logs/v1`, `common/v1`, 1.x): request 1 resource_logs; ResourceLogs
//! 2 scope_logs; ScopeLogs 2 log_records; LogRecord 1 time_unix_nano, 5 body, 6 attributes, 11 observed_time_unix_nano; KeyValue
//! 1 key, 2 value; AnyValue 1 string, 2 bool, 3 int, 4 double, 6 kvlist; KeyValueList 1 values.
//!
//! An attribute's key is the first step of a field path, a list of key and value the steps after it. A body is read if it is
//! such a list or a string that holds a JSON object; any other body is not looked at.

use crate::discard::Refusal;
use crate::source::Payload;
use crate::source::access_log::{
    Fields, Node, Point, Record, Role, Value as Field, scan_document, scan_text,
};
use crate::source::protobuf::{Fields as Wire, Value};

/// Deepest list of lists.
const MAX_DEPTH: u32 = 16;
/// The record's own time: after every time that a field tells.
pub(super) const OWN_TIME: (Role, u8) = (Role::Time, u8::MAX - 1);

/// Hands the fields of every log record of `payload` to `each`, in order; `Err` for one whose fields are no UTF-8.
///
/// # Errors
/// `Refusal::Malformed` when the payload is not an `ExportLogsServiceRequest`; `each` may have seen records before.
pub fn read_logs<'a>(
    payload: &'a [u8],
    fields: &Fields,
    mut each: impl FnMut(Result<&Record<'a>, Refusal>),
) -> Payload<()> {
    let mut record = Record::default();
    let mut request = Wire::of(payload);
    while let Some((field, value)) = request.next_field()? {
        if field != 1 {
            continue;
        }
        let mut resource_logs = Wire::of(value.bytes()?);
        while let Some((field, value)) = resource_logs.next_field()? {
            if field != 2 {
                continue;
            }
            let mut scope_logs = Wire::of(value.bytes()?);
            while let Some((field, value)) = scope_logs.next_field()? {
                if field == 2 {
                    record.clear();
                    read_record(value.bytes()?, fields, &mut record)?;
                    each(Ok(&record));
                }
            }
        }
    }
    Ok(())
}

fn read_record<'a>(message: &'a [u8], fields: &Fields, record: &mut Record<'a>) -> Payload<()> {
    let (mut time, mut observed) = (0, 0);
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            1 => time = value.number()?,
            11 => observed = value.number()?,
            5 => read_body(value.bytes()?, fields.root(), record)?,
            6 => read_key_value(value.bytes()?, fields.root(), record, 0)?,
            _ => {}
        }
    }
    let time = if time == 0 { observed } else { time };
    if time > 0 {
        record.set(OWN_TIME, Field::Int(time.cast_signed()));
    }
    Ok(())
}

fn read_body<'a>(any_value: &'a [u8], node: &Node, record: &mut Record<'a>) -> Payload<()> {
    let mut wire = Wire::of(any_value);
    while let Some((field, value)) = wire.next_field()? {
        match (field, value) {
            (1, Value::Bytes(text)) => scan_document(text, node, record),
            (6, Value::Bytes(list)) => read_list(list, node, record, 0)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_list<'a>(list: &'a [u8], node: &Node, record: &mut Record<'a>, depth: u32) -> Payload<()> {
    if depth > MAX_DEPTH {
        return Err(Refusal::Malformed);
    }
    let mut wire = Wire::of(list);
    while let Some((field, value)) = wire.next_field()? {
        if field == 1 {
            read_key_value(value.bytes()?, node, record, depth + 1)?;
        }
    }
    Ok(())
}

fn read_key_value<'a>(message: &'a [u8], node: &Node, record: &mut Record<'a>, depth: u32) -> Payload<()> {
    let (mut key, mut any_value): (&[u8], &[u8]) = (b"", b"");
    let mut wire = Wire::of(message);
    while let Some((field, value)) = wire.next_field()? {
        match field {
            1 => key = value.bytes()?,
            2 => any_value = value.bytes()?,
            _ => {}
        }
    }
    match node.get(key) {
        Some(point) => read_value(any_value, point, record, depth),
        None => Ok(()),
    }
}

fn read_value<'a>(any_value: &'a [u8], point: &Point, record: &mut Record<'a>, depth: u32) -> Payload<()> {
    let mut wire = Wire::of(any_value);
    while let Some((field, value)) = wire.next_field()? {
        match (field, value) {
            (1, Value::Bytes(text)) => scan_text(text, point, record),
            (2, Value::Varint(number)) => point.set(record, Field::Bool(number != 0)),
            (3, Value::Varint(number)) => point.set(record, Field::Int(number.cast_signed())),
            (4, Value::Fixed64(bits)) => point.set(record, Field::Double(f64::from_bits(bits))),
            (6, Value::Bytes(list)) => {
                if let Some(node) = point.object() {
                    read_list(list, node, record, depth)?;
                }
            }
            (1..=4, _) => return Err(Refusal::Malformed),
            _ => {}
        }
    }
    Ok(())
}
