//! `outcomes`: how requests ended, by class, and how many attempts they took. Attempts are never added to requests.

use super::Asked;
use crate::answers::Kind::{Count, Name, Number, Share};
use crate::answers::{
    AnswerError, Column, Document, Filter, FilterArguments, Format, PeriodArguments, SelectionArguments, View,
};
use crate::store::Store;

/// How requests ended.
#[derive(Clone, Debug, clap::Args)]
pub struct OutcomesArguments {
    /// From when to when, in whole hours.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// Environments, separated by commas, or `all`: production, staging, development, unknown.
    #[arg(long, default_value = "all")]
    pub environment: String,
    /// What was asked for, separated by commas, or `all`: chat, text_completion, embeddings, rerank, image, audio, other.
    #[arg(long, default_value = "chat,text_completion")]
    pub operation: String,
    /// Gateway products, separated by commas: litellm, kong, vllm and so on.
    #[arg(long)]
    pub product: Option<String>,
    /// Who ran the weights, separated by commas: self_hosted, first_party, third_party, marketplace, unknown.
    #[arg(long)]
    pub hosting: Option<String>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl OutcomesArguments {
    /// What they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<(Asked, Filter), AnswerError> {
        let filter = FilterArguments {
            environment: self.environment.clone(),
            operation: self.operation.clone(),
            ..FilterArguments::default()
        };
        let selection = SelectionArguments {
            product: self.product.clone(),
            hosting: self.hosting.clone(),
            ..SelectionArguments::default()
        };
        let asked = Asked::new(self.period.hours(now_s, "")?, &self.environment)?;
        Ok((asked, Filter { selection: selection.selection()?, ..filter.filter()? }))
    }
}

const OUTCOMES: [Column; 5] = [
    ("class", "class", Name),
    ("outcome", "outcome", Name),
    ("requests", "all_requests", Count),
    ("share_of_requests", "all_requests / nullIf(sum(all_requests) OVER (), 0)", Share),
    ("attempts", "all_attempts", Count),
];

const CLASSES: [Column; 6] = [
    ("class", "class", Name),
    ("requests", "all_requests", Count),
    ("served_share", "served / nullIf(all_requests, 0)", Share),
    ("rate_limited_share", "limited / nullIf(all_requests, 0)", Share),
    ("attempts", "all_attempts", Count),
    ("attempts_a_request", "all_attempts / nullIf(all_requests, 0)", Number),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked, filter: &Filter) -> Result<Document, AnswerError> {
    let summed = |by: &str| {
        format!(
            "(SELECT {by}, sum(requests) AS all_requests, sum(attempts) AS all_attempts, sumIf(requests, outcome = 'ok') AS served, \
             sumIf(requests, outcome = 'rate_limited') AS limited FROM {{database}}.outcomes_1h WHERE {}{}{}{} GROUP BY {by})",
            asked.period.covers_time("time"),
            filter.environment_condition(),
            filter.operation_condition(),
            filter.selection.condition(),
        )
    };
    let (outcomes, classes) = (summed("class, outcome"), summed("class"));
    let view = |from, columns, order| View { from, columns, suppressed: "0", condition: "1", order };
    let tables = vec![
        view(&outcomes, &OUTCOMES, "class, outcome")
            .read(store, "outcomes", "Requests by class and outcome")
            .await?,
        view(&classes, &CLASSES, "class").read(store, "classes", "By class").await?,
    ];
    let notes = vec![
        "attempts: tries at an upstream, never added to requests; those that failed on the way to a served request stand under their own outcome."
            .to_owned(),
    ];
    let what = format!(
        "requests of {} by class and outcome{}",
        filter.operation_names().join(", "),
        filter.selection.in_words()
    );
    Ok(asked.document(&what, tables, notes))
}
