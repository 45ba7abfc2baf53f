//! What OTLP senders get back: `Export*ServiceResponse` with partial success, and `google.rpc.Status` for errors.
//!
//! The three signals' responses have the same field numbers: 1 partial_success { 1 rejected items, 2 error_message }.

use bytes::Bytes;

use crate::discard::Refusal;
use crate::intake::Accepted;

/// `google.rpc.Code.INVALID_ARGUMENT`.
pub const INVALID_ARGUMENT: u8 = 3;

/// An `Export*ServiceResponse`: empty when nothing was refused.
pub fn export_response(accepted: &Accepted) -> Bytes {
    let Some(refusal) = accepted.first_refusal else { return Bytes::new() };
    let mut partial = Vec::new();
    put_varint_field(&mut partial, 1, accepted.refused);
    put_bytes_field(&mut partial, 2, refusal.to_string().as_bytes());
    let mut response = Vec::new();
    put_bytes_field(&mut response, 1, &partial);
    response.into()
}

/// The same as OTLP/JSON; the item's name is that of the signal (`rejectedSpans`, `rejectedDataPoints`).
pub fn export_response_json(accepted: &Accepted, rejected: &str) -> Bytes {
    let Some(refusal) = accepted.first_refusal else { return Bytes::from_static(b"{}") };
    let count = accepted.refused.to_string();
    let partial =
        serde_json::json!({ "partialSuccess": { rejected: count, "errorMessage": refusal.to_string() } });
    partial.to_string().into()
}

/// A `google.rpc.Status` with code INVALID_ARGUMENT.
pub fn status(refusal: Refusal) -> Bytes {
    let mut status = Vec::new();
    put_varint_field(&mut status, 1, u64::from(INVALID_ARGUMENT));
    put_bytes_field(&mut status, 2, refusal.to_string().as_bytes());
    status.into()
}

/// The same as JSON.
pub fn status_json(refusal: Refusal) -> Bytes {
    let status = serde_json::json!({ "code": INVALID_ARGUMENT, "message": refusal.to_string() });
    status.to_string().into()
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_varint_field(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

fn put_bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    use prost::Message as _;

    #[test]
    fn partial_success_is_what_otlp_defines() {
        let accepted =
            Accepted { refused: 300, first_refusal: Some(Refusal::NegativeCount), ..Accepted::default() };
        let response = ExportTraceServiceResponse::decode(export_response(&accepted)).unwrap();
        let partial = response.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 300);
        assert!(partial.error_message.contains("negative"));
        assert_eq!(export_response(&Accepted::default()), Bytes::new());
    }
}
