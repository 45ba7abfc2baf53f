//! Logs of OTLP/JSON, with the same field paths as the protobuf scan.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::logs::OWN_TIME;
use super::{AnyValue, Attribute, Unsigned, parse};
use crate::discard::Refusal;
use crate::source::Payload;
use crate::source::access_log::{Fields, Node, Point as Place, Record, Value, scan_document, scan_text};

/// Deepest list of keys and values in a log record.
const MAX_LIST_DEPTH: u32 = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogsRequest<'a> {
    #[serde(borrow, default, alias = "resource_logs")]
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default, alias = "scope_logs")]
    scope_logs: Vec<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow, default, alias = "log_records")]
    log_records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLogRecord<'a> {
    #[serde(default, alias = "time_unix_nano")]
    time_unix_nano: Unsigned,
    #[serde(default, alias = "observed_time_unix_nano")]
    observed_time_unix_nano: Unsigned,
    #[serde(borrow, default)]
    body: Option<LogValue<'a>>,
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

/// A value whose list of keys and values stays unparsed but for its keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogValue<'a> {
    #[serde(borrow, default, alias = "string_value")]
    string_value: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "kvlist_value")]
    kvlist_value: Option<KeyValueList<'a>>,
}

#[derive(Deserialize)]
struct KeyValueList<'a> {
    #[serde(borrow, default)]
    values: Vec<Attribute<'a>>,
}

/// Hands the fields of every log record of `payload` to `each`, in order; `Err` for one that is wrong.
///
/// # Errors
/// `Refusal::Malformed` or `InvalidUtf8` when the payload is not an OTLP/JSON logs request; `each` saw nothing then.
pub fn read_logs(
    payload: &[u8],
    fields: &Fields,
    mut each: impl FnMut(Result<&Record<'_>, Refusal>),
) -> Payload<()> {
    let request: LogsRequest<'_> = parse(payload)?;
    for raw in request
        .resource_logs
        .iter()
        .flat_map(|resource| &resource.scope_logs)
        .flat_map(|scope| &scope.log_records)
    {
        match read_log(raw.get().as_bytes(), fields, &mut each) {
            Ok(()) => {}
            Err(refusal) => each(Err(refusal)),
        }
    }
    Ok(())
}

fn read_log(raw: &[u8], fields: &Fields, each: &mut impl FnMut(Result<&Record<'_>, Refusal>)) -> Payload<()> {
    let parsed: JsonLogRecord<'_> = parse(raw)?;
    // Owned first: the record borrows from them.
    let mut leaves = Vec::new();
    collect(&parsed.attributes, fields.root(), &mut leaves, 0)?;
    let mut document = None;
    match parsed.body {
        Some(LogValue { kvlist_value: Some(list), .. }) => {
            collect(&list.values, fields.root(), &mut leaves, 0)?
        }
        Some(LogValue { string_value, .. }) => document = string_value,
        None => {}
    }
    let mut record = Record::default();
    for (point, value) in &leaves {
        match value {
            AnyValue { string_value: Some(text), .. } => scan_text(text.as_bytes(), point, &mut record),
            AnyValue { int_value: Some(number), .. } => point.set(&mut record, Value::Int(number.0)),
            AnyValue { double_value: Some(number), .. } => point.set(&mut record, Value::Double(*number)),
            AnyValue { bool_value: Some(flag), .. } => point.set(&mut record, Value::Bool(*flag)),
            _ => {}
        }
    }
    if let Some(text) = &document {
        scan_document(text.as_bytes(), fields.root(), &mut record);
    }
    let (time, observed) = (parsed.time_unix_nano.0, parsed.observed_time_unix_nano.0);
    let time = if time == 0 { observed } else { time };
    if time > 0 {
        record.set(OWN_TIME, Value::Int(time.cast_signed()));
    }
    each(Ok(&record));
    Ok(())
}

/// Parses the values of allow-listed keys, those of lists in them likewise; everything else stays unparsed.
fn collect<'a, 'f>(
    attributes: &[Attribute<'a>],
    node: &'f Node,
    leaves: &mut Vec<(&'f Place, AnyValue<'a>)>,
    depth: u32,
) -> Payload<()> {
    if depth > MAX_LIST_DEPTH {
        return Err(Refusal::Malformed);
    }
    for attribute in attributes {
        let Some(point) = node.get(attribute.key.as_bytes()) else { continue };
        let Some(raw) = attribute.value else { continue };
        if let Some(inner) = point.object() {
            #[derive(Deserialize)]
            struct Listed<'a> {
                #[serde(borrow, default, rename = "kvlistValue", alias = "kvlist_value")]
                list: Option<KeyValueList<'a>>,
            }
            let listed: Listed<'a> = parse(raw.get().as_bytes())?;
            if let Some(list) = listed.list {
                collect(&list.values, inner, leaves, depth + 1)?;
            }
        }
        leaves.push((point, parse(raw.get().as_bytes())?));
    }
    Ok(())
}
