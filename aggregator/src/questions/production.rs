//! `production`: the split by environment, volume and days active: is it a prototype or a system that serves users?

use super::{Asked, THRESHOLD};
use crate::answers::Kind::{Count, Name, Share};
use crate::answers::{AnswerError, Column, Document, View};
use crate::store::Store;

const CLASSES: [Column; 18] = [
    ("span", "span", Name),
    ("environment", "environment", Name),
    ("requests_a_day", "concat('10^', toString(volume_class), ' and more')", Name),
    ("active_days", "active_days", Name),
    ("participants", "participants", Count),
    ("with_open", "with_open", Count),
    ("with_open_max", "with_open_max", Count),
    ("open_requests", "open_requests", Count),
    ("closed_requests", "closed_requests", Count),
    ("unknown_requests", "unknown_requests", Count),
    ("open_share", "open_share", Share),
    ("open_share_lower", "open_share_lower", Share),
    ("open_share_upper", "open_share_upper", Share),
    ("input_open_share", "input_open_share", Share),
    ("input_open_share_lower", "input_open_share_lower", Share),
    ("input_open_share_upper", "input_open_share_upper", Share),
    ("output_open_share", "output_open_share", Share),
    ("output_open_share_lower", "output_open_share_lower", Share),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked) -> Result<Document, AnswerError> {
    let condition = format!("{}{}", asked.period.overlaps_span("span"), asked.and_part());
    let view = View {
        from: "{database}.production_share",
        columns: &CLASSES,
        suppressed: "suppressed",
        condition: &condition,
        order: "span, environment, volume_class, active_days",
    };
    let tables = vec![view.read(store, "classes", "By environment, volume and days active").await?];
    let notes = vec![
        "A span is four weeks from a Monday; volume is requests per active day. Open share: of requests whose model is known.".to_owned(),
        THRESHOLD.to_owned(),
    ];
    Ok(asked.document("the split by environment, volume and days active", tables, notes))
}
