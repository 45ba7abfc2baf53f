//! The figures of a report: every one through the query of the command that prints it.

use time::{Duration, OffsetDateTime};
use weighbridge_proto::v1::{Environment, Operation};

use super::ReportQuery;
use crate::answers::{AnswerError, Document, Filter, OutcomeFilter, Period};
use crate::questions::models::ModelsQuery;
use crate::questions::{Asked, adoption, coverage, fallbacks, models, outcomes, production, retention};
use crate::split::{self, By, Source, Split, SplitQuery};
use crate::store::Store;

/// Up to this, columns are days; beyond, months.
const DAYS_SHOWN: Duration = Duration::days(92);

/// Six months and a day.
const MONTHS_BEFORE: Duration = Duration::days(185);
/// Rows of the table of models; the command has all.
pub(super) const MODELS_SHOWN: u32 = 25;

pub(super) struct Figures {
    pub(super) openness: Split,
    pub(super) time: Split,
    pub(super) counting: Split,
    pub(super) environment: Split,
    pub(super) hosting: Split,
    pub(super) licence: Split,
    pub(super) adoption: Document,
    pub(super) production: Document,
    pub(super) fallbacks: Document,
    pub(super) outcomes: Document,
    pub(super) retention: Document,
    pub(super) models: Document,
    pub(super) coverage: Document,
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
    let asked = Asked::of(query.period, environments_named(own));
    let days = Asked { period: query.period.days_touched(), ..asked.clone() };
    let cohorts = Asked::of(cohorts(&query.period), Vec::new());
    let models = ModelsQuery { period: query.period, filter: own.clone(), limit: MODELS_SHOWN };
    Ok(Figures {
        adoption: adoption::query(store, &days).await?,
        production: production::query(store, &days).await?,
        fallbacks: fallbacks::query(store, &asked).await?,
        outcomes: outcomes::query(store, &asked, own).await?,
        retention: retention::query(store, &cohorts).await?,
        models: models::query(store, &models).await?,
        coverage: coverage::query(store, &days, coverage::By::Day).await?,
        openness: with(By::Openness, own).await?,
        time: with(by_time, own).await?,
        counting: with(By::Counting, own).await?,
        environment: with(By::Environment, own).await?,
        hosting: with(By::Hosting, own).await?,
        licence: with(By::Licence, own).await?,
        populations,
    })
}

/// None: all of them together.
pub(super) fn environments_named(filter: &Filter) -> Vec<&'static str> {
    let names = filter.environment_names();
    if names.len() == Environment::ALL.len() { Vec::new() } else { names }
}

/// The months of first open traffic whose sixth month later can lie in the period.
pub(super) fn cohorts(period: &Period) -> Period {
    let days = period.days_touched();
    let from = (days.from - MONTHS_BEFORE).max(OffsetDateTime::UNIX_EPOCH);
    Period { from, ..days }
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
