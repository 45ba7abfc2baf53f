//! `adoption`: organisations with any open traffic, with most of it, with sustained use, beside the shares of requests and tokens.
//!
//! By spans of four weeks, the life of a contributor's pseudonym; those that overlap the period, the last one may still run.

use super::{Asked, THRESHOLD};
use crate::answers::Kind::{Count, Name, Share};
use crate::answers::{AnswerError, Column, Document, View};
use crate::store::Store;

const SPANS: [Column; 13] = [
    ("span", "span", Name),
    ("environment", "environment", Name),
    ("participants", "participants", Count),
    ("with_open", "with_open", Count),
    ("with_open_share", "with_open_share", Share),
    ("with_majority", "with_majority", Count),
    ("with_majority_share", "with_majority_share", Share),
    ("with_sustained", "with_sustained", Count),
    ("with_sustained_share", "with_sustained_share", Share),
    ("open_share", "open_share", Share),
    ("open_share_lower", "open_share_lower", Share),
    ("open_share_upper", "open_share_upper", Share),
    ("complete", "if(span + 28 <= toDate(now('UTC')), 'yes', 'no')", Name),
];

const BOUNDS: [Column; 16] = [
    ("span", "span", Name),
    ("environment", "environment", Name),
    ("with_open_max", "with_open_max", Count),
    ("with_majority_min", "with_majority_min", Count),
    ("with_majority_max", "with_majority_max", Count),
    ("with_sustained_max", "with_sustained_max", Count),
    ("with_open_max_share", "with_open_max_share", Share),
    ("with_majority_min_share", "with_majority_min_share", Share),
    ("with_majority_max_share", "with_majority_max_share", Share),
    ("with_sustained_max_share", "with_sustained_max_share", Share),
    ("input_open_share", "input_open_share", Share),
    ("input_open_share_lower", "input_open_share_lower", Share),
    ("input_open_share_upper", "input_open_share_upper", Share),
    ("output_open_share", "output_open_share", Share),
    ("output_open_share_lower", "output_open_share_lower", Share),
    ("output_open_share_upper", "output_open_share_upper", Share),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked) -> Result<Document, AnswerError> {
    let environment = if asked.environments.is_empty() { "'all'".to_owned() } else { asked.quoted() };
    let condition = format!("{} AND environment IN ({environment})", asked.period.overlaps_span("span"));
    let view = |columns| View {
        from: "{database}.adoption",
        columns,
        suppressed: "suppressed",
        condition: &condition,
        order: "span, environment",
    };
    let tables = vec![
        view(&SPANS).read(store, "spans", "Organisations by four weeks").await?,
        view(&BOUNDS).read(store, "bounds", "Bounds for what is unknown, and tokens").await?,
    ];
    let notes = vec![
        "A span is four weeks from a Monday. An organisation is a contributor where ingest asks who sends, else a collector.".to_owned(),
        "with majority: more of its requests open than closed; with sustained: open traffic on at least 20 of 28 days; \
         open share: of requests whose model is known."
            .to_owned(),
        THRESHOLD.to_owned(),
    ];
    Ok(asked.document("organisations by four weeks", tables, notes))
}
