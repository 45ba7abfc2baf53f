//! `retention`: do they stay? Collectors by the calendar month of their first open traffic.

use time::Duration;

use super::{Asked, THRESHOLD};
use crate::answers::Kind::{Change, Count, Name, Share};
use crate::answers::{AnswerError, Column, Document, Format, PeriodArguments, View};
use crate::store::Store;

/// The tables behind it keep thirteen months.
const DEFAULT_PERIOD: Duration = Duration::days(396);

/// Do they stay.
#[derive(Clone, Debug, clap::Args)]
pub struct RetentionArguments {
    /// Months of first open traffic that overlap this. Without --from: thirteen months.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl RetentionArguments {
    /// What they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<Asked, AnswerError> {
        Asked::new(self.period.days_of(now_s, DEFAULT_PERIOD)?, "all")
    }
}

const COHORTS: [Column; 12] = [
    ("cohort", "formatDateTime(cohort, '%Y-%m')", Name),
    ("months_later", "months_later", Count),
    ("collectors", "collectors", Count),
    ("still", "still", Count),
    ("still_max", "still_max", Count),
    ("retention", "retention", Share),
    ("retention_upper", "retention_upper", Share),
    ("share_first", "share_first", Share),
    ("share_later", "share_later", Share),
    ("moved", "moved", Change),
    ("first_on_record", "if(is_first_on_record, 'yes', 'no')", Name),
    ("complete", "if(is_complete, 'yes', 'no')", Name),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked) -> Result<Document, AnswerError> {
    let condition = asked.period.overlaps_month("cohort");
    let view = View {
        from: "{database}.retention",
        columns: &COHORTS,
        suppressed: "suppressed",
        condition: &condition,
        order: "cohort, months_later",
    };
    let tables = vec![view.read(store, "cohorts", "Collectors by month of first open traffic").await?];
    let notes = vec![
        "By collector: an organisation's pseudonym ends with its four weeks. still: open traffic in the later month; moved: mean change of \
         the open share of those."
            .to_owned(),
        "first on record: the oldest month, which may hold older ones; complete: the later month is over.".to_owned(),
        THRESHOLD.to_owned(),
    ];
    Ok(asked.document("collectors by month of first open traffic", tables, notes))
}
