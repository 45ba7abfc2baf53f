//! The figures of a report: every one through the query of the command that prints it.

use time::Duration;
use weighbridge_proto::v1::{Environment, Operation};

use super::ReportQuery;
use crate::answers::{AnswerError, Filter, OutcomeFilter};
use crate::split::{self, By, Source, Split, SplitQuery};
use crate::store::Store;

/// Up to this, columns are days; beyond, months.
const DAYS_SHOWN: Duration = Duration::days(92);

pub(super) struct Figures {
    pub(super) openness: Split,
    pub(super) time: Split,
    pub(super) counting: Split,
    pub(super) environment: Split,
    pub(super) hosting: Split,
    pub(super) licence: Split,
    /// In words, the options of the command, the split.
    pub(super) populations: Vec<(&'static str, String, Split)>,
}

pub(super) async fn gather(store: &Store, query: &ReportQuery) -> Result<Figures, AnswerError> {
    let with = async |by: By, filter: &Filter| {
        let query = SplitQuery { period: query.period, by, filter: filter.clone(), source: Source::Rollup };
        split::query(store, &query).await
    };
    let own = &query.filter;
    let by_time = if query.period.to - query.period.from <= DAYS_SHOWN { By::Day } else { By::Month };
    let mut populations = Vec::new();
    for (name, filter) in others(own) {
        let split = with(By::Openness, &filter).await?;
        populations.push((name, filter.as_options(), split));
    }
    Ok(Figures {
        openness: with(By::Openness, own).await?,
        time: with(by_time, own).await?,
        counting: with(By::Counting, own).await?,
        environment: with(By::Environment, own).await?,
        hosting: with(By::Hosting, own).await?,
        licence: with(By::Licence, own).await?,
        populations,
    })
}

/// What else could have been counted.
fn others(own: &Filter) -> Vec<(&'static str, Filter)> {
    vec![
        ("as in this report", own.clone()),
        ("failed requests, too", Filter { outcome: OutcomeFilter::All, ..own.clone() }),
        ("every operation", Filter { operations: Operation::ALL.to_vec(), ..own.clone() }),
        ("production alone", Filter { environments: vec![Environment::Production], ..own.clone() }),
        ("embeddings alone", Filter { operations: vec![Operation::Embeddings], ..own.clone() }),
    ]
}
