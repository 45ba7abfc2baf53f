//! `fallbacks`: requests that were served, or ended, as fallback: from which class, after which outcome, to which class.
//!
//! What a collector tells does not join a fallback to the failure before it, so each row has bounds; they are equal where one class
//! failed in one way within the window, and the likely number is in proportion between them (migration 11).

use super::Asked;
use crate::answers::Kind::{Count, Name, Number, Share};
use crate::answers::{AnswerError, Column, Document, View};
use crate::store::Store;

const WAYS: [Column; 9] = [
    ("from_class", "from_class", Name),
    ("after_outcome", "after_outcome", Name),
    ("to_class", "to_class", Name),
    ("requests_min", "least", Count),
    ("requests_max", "most", Count),
    ("requests_likely", "likely", Number),
    ("share", "likely / nullIf(all_likely, 0)", Share),
    ("share_lower", "least / nullIf(all_likely, 0)", Share),
    ("share_upper", "if(all_likely = 0, NULL, least(1., most / all_likely))", Share),
];

const CHOICES: [Column; 6] = [
    ("choice", "choice", Name),
    ("requests", "all_of_choice", Count),
    ("share_of_requests", "all_of_choice / nullIf(sum(all_of_choice) OVER (), 0)", Share),
    ("open", "open / nullIf(all_of_choice, 0)", Share),
    ("closed", "closed / nullIf(all_of_choice, 0)", Share),
    ("unknown", "unknown / nullIf(all_of_choice, 0)", Share),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked) -> Result<Document, AnswerError> {
    let condition = format!("{}{}", asked.period.covers_time("time"), asked.and_part());
    let ways = format!(
        "(SELECT from_class, after_outcome, to_class, sum(requests_min) AS least, sum(requests_max) AS most, \
         sum(requests_likely) AS likely, sum(sum(requests_likely)) OVER () AS all_likely \
         FROM {{database}}.fallbacks_1h WHERE {condition} GROUP BY from_class, after_outcome, to_class)"
    );
    let choices = format!(
        "(SELECT choice, sum(requests) AS all_of_choice, sumIf(requests, class = 'open') AS open, \
         sumIf(requests, class = 'closed') AS closed, sumIf(requests, class = 'unknown') AS unknown \
         FROM {{database}}.traffic_split_1h WHERE {condition} GROUP BY choice)"
    );
    let view = |from, columns, condition, order| View { from, columns, suppressed: "0", condition, order };
    let tables = vec![
        view(&ways, &WAYS, "most > 0", "likely DESC, from_class, after_outcome, to_class")
            .read(store, "ways", "Requests that went as fallback")
            .await?,
        view(&choices, &CHOICES, "1", "choice")
            .read(store, "choices", "Served requests by choice, and the classes within each")
            .await?,
    ];
    let notes = vec![
        "Bounds: a collector counts fallbacks and failed attempts by window and does not join them. Retries count as failed attempts. \
         share: of all fallbacks."
            .to_owned(),
        "Fallbacks after failures that nobody told have from class and after outcome unknown.".to_owned(),
    ];
    Ok(asked.document("requests that went as fallback", tables, notes))
}
