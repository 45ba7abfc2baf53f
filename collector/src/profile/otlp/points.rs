//! From a metric point to a staged point.

use weighbridge_proto::cells::Counts;
use weighbridge_proto::v1::Operation;

use super::super::{Discard, Mapper, cell_key};
use super::file::{MetricEntry, MetricSection, Tokens};
use super::{Rules, Scopes};
use crate::count::{PointClass, StagedPoint};
use crate::discard::Skip;
use crate::source::attributes::{Role, whole_float};
use crate::source::otlp::{Point, PointKind};

/// How the metrics of one product are read.
#[derive(Debug)]
pub(super) struct Metrics {
    scopes: Scopes,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    metric: Box<str>,
    /// Among the synonyms of its section.
    rank: u8,
    /// `None`: requests.
    tokens: Option<Tokens>,
    /// Of points that tell none.
    operation: Operation,
}

impl Metrics {
    pub(super) fn new(section: &MetricSection) -> Result<Metrics, String> {
        if section.requests.iter().all(Vec::is_empty) {
            return Err("metrics.requests: list at least one metric".to_owned());
        }
        let mut rules = Vec::new();
        let sections =
            [("metrics.requests", &section.requests, false), ("metrics.tokens", &section.tokens, true)];
        for (field, alternatives, has_tokens) in sections {
            for (rank, alternative) in alternatives.iter().enumerate() {
                for entry in alternative {
                    if entry.tokens.is_some() != has_tokens {
                        let fix =
                            if has_tokens { "say which tokens" } else { "tokens belong into metrics.tokens" };
                        return Err(format!("{field}: {}: {fix}", entry.metric));
                    }
                    rules.push(Rule::new(field, rank, entry)?);
                }
            }
        }
        Ok(Metrics { scopes: Scopes::new("metrics", &section.scopes)?, rules })
    }
}

impl Rule {
    fn new(field: &str, rank: usize, entry: &MetricEntry) -> Result<Rule, String> {
        let name = entry.operation.as_deref().unwrap_or(Operation::Chat.name());
        let operation = Operation::from_name(name).ok_or_else(|| {
            let known = crate::message::names_of(Operation::ALL, |value| value.name());
            format!("{field}: {name}: write one of {known}")
        })?;
        // A file has a handful of synonyms.
        let rank = u8::try_from(rank).unwrap_or(u8::MAX - 1);
        Ok(Rule { metric: entry.metric.as_str().into(), rank, tokens: entry.tokens, operation })
    }
}

impl Rules {
    /// Whether the points of a metric are looked at.
    pub fn wants_metric(&self, metric: &str) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| metrics.rules.iter().any(|rule| *rule.metric == *metric))
    }

    /// What a metric point says.
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn point(&self, point: &Point<'_>, mapper: &mut Mapper) -> Result<StagedPoint, Discard> {
        let metrics = self.metrics.as_ref().ok_or(Skip::OtherSignal)?;
        let rule = metrics.rules.iter().find(|rule| *rule.metric == *point.metric).ok_or(Skip::Metric)?;
        if !metrics.scopes.admits(point.scope) {
            return Err(Skip::Scope.into());
        }
        if let Some(fault) = point.fault {
            return Err(fault.into());
        }
        if point.no_value {
            return Err(Skip::NoValue.into());
        }
        let attributes = &point.attributes;
        let label = attributes.text(Role::Operation);
        let operation =
            if label.is_empty() { rule.operation } else { self.operation(label).ok_or(Skip::Operation)? };
        if self.is_cache_hit(attributes) {
            return Err(Skip::CacheHit.into());
        }
        let (class, unit) = match rule.tokens {
            None => {
                // Embeddings have a metric of their own in the newest conventions, which is no synonym of the others.
                let class = match operation {
                    Operation::Embeddings => PointClass::EmbeddingsRequests,
                    _ => PointClass::Requests,
                };
                (class, Counts { requests: 1, attempts: 1, ..Counts::default() })
            }
            Some(tokens) => (PointClass::Tokens, token_unit(tokens, attributes.text(Role::TokenType))?),
        };
        let value = match (rule.tokens, point.kind) {
            (None, PointKind::Histogram) => point.count,
            _ => whole_float(point.sum.ok_or(Skip::NoValue)?)?,
        };
        let class_of_error = attributes.text(Role::ErrorType);
        let status = attributes.status(Role::StatusCode);
        let outcome = self.outcome(!class_of_error.is_empty(), status, class_of_error);
        let classification = mapper.classifier.classify(self.model(attributes), self.origin(attributes));
        Ok(StagedPoint {
            target: point.target,
            series: point.series,
            class,
            rank: rule.rank,
            temporality: point.temporality,
            start_unix_nano: point.start_unix_nano,
            is_new_if_unseen: false,
            time_unix_nano: point.time_unix_nano,
            value,
            key: cell_key(&classification, operation, self.streaming(attributes), outcome),
            unit,
        })
    }
}

fn token_unit(tokens: Tokens, kind: &str) -> Result<Counts, Skip> {
    let input = Counts { input_tokens: 1, ..Counts::default() };
    let output = Counts { output_tokens: 1, ..Counts::default() };
    match (tokens, kind) {
        (Tokens::Input, _) | (Tokens::ByType, "input" | "prompt") => Ok(input),
        (Tokens::Output, _) | (Tokens::ByType, "output" | "completion") => Ok(output),
        // Cached, reasoning and total are subsets or sums of the two.
        (Tokens::ByType, _) => Err(Skip::TokenType),
    }
}
