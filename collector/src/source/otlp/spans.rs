//! Wire scan of `ExportTraceServiceRequest`.
//!
//! Field numbers: request 1 resource_spans; ResourceSpans 2 scope_spans; ScopeSpans 1 scope, 2 spans; InstrumentationScope
//! 1 name; Span 2 span_id, 4 parent_span_id, 5 name, 6 kind, 7 start_time_unix_nano, 8 end_time_unix_nano, 9 attributes,
//! 11 events, 15 status; Status 3 code; KeyValue 1 key, 2 value; AnyValue 1 string, 2 bool, 3 int, 4 double.

use super::{Events, MAX_KIND, Span};
use crate::discard::Refusal;
use crate::source::Payload;
use crate::source::attributes::{Attributes, Scalar};
use crate::source::keys::AllowList;
use crate::source::protobuf::{Fields, Value, WireError};

const STATUS_ERROR: u64 = 2;

impl From<WireError> for Refusal {
    fn from(_: WireError) -> Refusal {
        Refusal::Malformed
    }
}

/// Hands every span of `payload` with the attributes on the list `keys` to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` when the payload is not an `ExportTraceServiceRequest`; `each` may have seen spans before.
pub fn read_spans<'a, K: AllowList>(
    payload: &'a [u8],
    keys: &K,
    mut each: impl FnMut(&Span<'a>),
) -> Payload<()> {
    let mut request = Fields::of(payload);
    while let Some((field, value)) = request.next_field()? {
        if field != 1 {
            continue;
        }
        let mut resource_spans = Fields::of(value.bytes()?);
        while let Some((field, value)) = resource_spans.next_field()? {
            if field == 2 {
                read_scope_spans(value.bytes()?, keys, &mut each)?;
            }
        }
    }
    Ok(())
}

fn read_scope_spans<'a, K: AllowList>(
    message: &'a [u8],
    keys: &K,
    each: &mut impl FnMut(&Span<'a>),
) -> Payload<()> {
    let scope = scope_name(message)?;
    let mut span = Span { scope: scope.unwrap_or(""), ..Span::default() };
    let mut scope_spans = Fields::of(message);
    while let Some((field, value)) = scope_spans.next_field()? {
        if field == 2 {
            span.clear();
            span.fault = scope.err();
            let message = value.bytes()?;
            if K::RELATIONS {
                span.clear_relations();
                span.events = Events::Wire(message);
            }
            read_span(message, keys, &mut span)?;
            each(&span);
        }
    }
    Ok(())
}

/// The scope's name. It may stand after the items it belongs to, so it is looked for first.
pub(super) fn scope_name(scoped: &[u8]) -> Payload<Result<&str, Refusal>> {
    let mut fields = Fields::of(scoped);
    while let Some((field, value)) = fields.next_field()? {
        if field != 1 {
            continue;
        }
        let mut scope = Fields::of(value.bytes()?);
        while let Some((field, value)) = scope.next_field()? {
            if field == 1 {
                return Ok(text(value.bytes()?));
            }
        }
    }
    Ok(Ok(""))
}

fn read_span<'a, K: AllowList>(message: &'a [u8], keys: &K, span: &mut Span<'a>) -> Payload<()> {
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => span.span_id = value.bytes()?,
            4 if K::RELATIONS => span.parent_span_id = value.bytes()?,
            5 => span.name = value.bytes()?,
            6 => match value.number()? {
                kind @ 0..=MAX_KIND => span.kind = kind as u8,
                _ => span.fault = Some(Refusal::UnknownEnum),
            },
            7 if K::RELATIONS => span.start_unix_nano = value.number()?,
            8 => span.end_unix_nano = value.number()?,
            9 => read_attribute(value.bytes()?, keys, &mut span.attributes, &mut span.fault)?,
            15 => {
                let mut status = Fields::of(value.bytes()?);
                while let Some((field, value)) = status.next_field()? {
                    if field == 3 {
                        let code = value.number()?;
                        span.failed = code == STATUS_ERROR;
                        if code > STATUS_ERROR {
                            span.fault = Some(Refusal::UnknownEnum);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads one `KeyValue` into `attributes` if its key is on the allow-list; its value is not looked at otherwise.
#[inline]
pub(super) fn read_attribute<'a, K: AllowList>(
    message: &'a [u8],
    keys: &K,
    attributes: &mut Attributes<'a>,
    fault: &mut Option<Refusal>,
) -> Payload<()> {
    // As every exporter writes it: the key first. What is not wanted ends here, unread.
    let (mut role, rest) = match message {
        [0x0a, length @ 0..0x80, rest @ ..] if rest.len() >= usize::from(*length) => {
            let (key, rest) = rest.split_at(usize::from(*length));
            let Some(role) = keys.role_of(key) else { return Ok(()) };
            (Some(role), rest)
        }
        _ => (None, message),
    };
    let mut any_value: &[u8] = b"";
    let mut fields = Fields::of(rest);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => role = keys.role_of(value.bytes()?),
            2 => any_value = value.bytes()?,
            _ => {}
        }
    }
    let Some(role) = role else { return Ok(()) };
    match read_scalar(any_value)? {
        Ok(value) => attributes.set(role, value),
        Err(refusal) => *fault = Some(refusal),
    }
    Ok(())
}

#[inline(always)]
fn read_scalar(any_value: &[u8]) -> Payload<Result<Scalar<'_>, Refusal>> {
    let mut scalar = Scalar::None;
    let mut fields = Fields::of(any_value);
    while let Some((field, value)) = fields.next_field()? {
        scalar = match (field, value) {
            (1, Value::Bytes(bytes)) => match text(bytes) {
                Ok(text) => Scalar::Text(text),
                Err(refusal) => return Ok(Err(refusal)),
            },
            (2, Value::Varint(number)) => Scalar::Bool(number != 0),
            (3, Value::Varint(number)) => Scalar::Int(number.cast_signed()),
            (4, Value::Fixed64(bits)) => Scalar::Double(f64::from_bits(bits)),
            (1..=4, _) => return Err(Refusal::Malformed),
            _ => Scalar::None,
        };
    }
    Ok(Ok(scalar))
}

#[inline]
pub(super) fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| Refusal::InvalidUtf8)
}
