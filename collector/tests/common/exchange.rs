//! One exchange through the tap, without a network: cut at every length, so that nothing depends on how bodies arrive.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses a part of it"
)]

use crate::common::NOON_MS;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::tap::{End, Exchange, Head, TapProfile};
use weighbridge_collector::report_view::CellView;

pub struct Case<'a> {
    pub profile: &'a str,
    pub path: &'a str,
    pub request: &'a str,
    pub request_type: &'a str,
    pub status: u16,
    pub content_type: &'a str,
    pub headers: &'a [(&'static str, &'a str)],
    pub answer: Vec<u8>,
    pub host: &'a str,
    pub served_model: &'a str,
    pub end: End,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case {
            profile: "auto",
            path: "/v1/chat/completions",
            request: "{}",
            request_type: "application/json",
            status: 200,
            content_type: "application/json",
            headers: &[],
            answer: Vec::new(),
            host: "127.0.0.1",
            served_model: "",
            end: End::Complete,
        }
    }
}

pub const SSE: &str = "text/event-stream; charset=utf-8";

pub fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    list.iter().map(header).collect()
}

pub fn pass(case: &Case<'_>, cut: usize) -> Intake {
    let profile = TapProfile::from_name(case.profile).unwrap();
    let mut intake = crate::common::intake(profile, 0);
    let asked = headers(&[("content-type", case.request_type)]);
    let mut exchange =
        Exchange::new(profile, Head { method: &Method::POST, path: case.path, headers: &asked });
    case.request.as_bytes().chunks(cut).for_each(|piece| exchange.request_piece(piece));
    exchange.request_end();
    if case.status > 0 {
        let mut told = headers(case.headers);
        told.insert("content-type", HeaderValue::from_str(case.content_type).unwrap());
        exchange.answer(case.status, &told);
        case.answer.chunks(cut).for_each(|piece| exchange.answer_piece(piece));
    }
    intake.take_exchange(exchange, case.end, case.host, case.served_model, NOON_MS);
    intake
}

/// The one cell of the exchange: `model openness hosting operation outcome choice streaming requests attempts input output`, or
/// why it was skipped.
pub fn counted(case: &Case<'_>) -> String {
    counted_cut(case, [1, 2, 3, 5, 8, 13, 100])
}

/// The same, the bodies cut in pieces of these lengths.
pub fn counted_cut(case: &Case<'_>, lengths: impl IntoIterator<Item = usize>) -> String {
    let told = |cut: usize| {
        let mut intake = pass(case, cut);
        let skipped: Vec<_> = intake.counter().tally().skipped().collect();
        let cells = intake.counter().take_cells();
        match (cells.as_slice(), skipped.as_slice()) {
            ([], [(reason, 1)]) => format!("skipped: {}", reason.name()),
            ([cell], []) => {
                let view = CellView::of(cell, weighbridge_catalog::embedded());
                let value = serde_json::to_value(&view).unwrap();
                let fields = [
                    "model",
                    "openness",
                    "hosting",
                    "operation",
                    "outcome",
                    "choice",
                    "streaming",
                    "requests",
                    "attempts",
                    "input_tokens",
                    "output_tokens",
                ];
                let field = |name: &&str| value[*name].to_string().trim_matches('"').to_owned();
                fields.iter().map(field).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        }
    };
    let whole = told(usize::MAX);
    lengths.into_iter().for_each(|cut| assert_eq!(told(cut), whole, "cut every {cut}"));
    whole
}
