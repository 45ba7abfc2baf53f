//! What a rule wants of a page: metrics and labels; and whether it can be applied.

use weighbridge_proto::v1::{Choice, Operation, Outcome, Streaming};

use super::{Role, Use};
use crate::count::{PointClass, SIDES, Side};
use crate::profile::rules::{
    ChoiceRule, Join, MetricRule, OperationRule, OutcomeRule, StreamingRule, TokensRule, ValueKind,
};

/// The metric that a sample in this role is of.
pub(super) fn metric_of(rule: &MetricRule, role: Role) -> &str {
    let join = match role {
        Role::Side(Side::Less) => &rule.less,
        Role::Side(Side::Streamed) => &rule.streamed,
        Role::Side(Side::Fallback) => &rule.fallback,
        Role::Side(Side::Retried) => &rule.retried,
        _ => &None,
    };
    join.as_ref().map_or("", |join| &join.metric)
}

/// The second metrics of a rule, by `Side`.
pub(super) fn joins_of(rule: &MetricRule) -> [(&Option<Join>, Side); SIDES] {
    [
        (&rule.less, Side::Less),
        (&rule.streamed, Side::Streamed),
        (&rule.fallback, Side::Fallback),
        (&rule.retried, Side::Retried),
    ]
}

/// Every name that a rule wants, with its use.
pub(super) fn uses_of(rule: &MetricRule, number: u16) -> Vec<(String, Use)> {
    let use_ = |role, value| Use { rule: number, role, value };
    let mut uses = vec![
        (rule.metric.clone(), use_(Role::Main, rule.value)),
        (rule.metric.clone(), use_(Role::Created, ValueKind::Counter)),
    ];
    for (join, side) in joins_of(rule) {
        uses.extend(join.iter().map(|join| (join.metric.clone(), use_(Role::Side(side), join.value))));
    }
    let lookup = rule.model_of.iter();
    uses.extend(lookup.map(|lookup| (lookup.metric.clone(), use_(Role::Lookup, ValueKind::Counter))));
    uses
}

/// Every label that a rule names, once.
pub(super) fn labels_named(rule: &MetricRule) -> Vec<String> {
    let mut labels: Vec<String> = rule.model.clone();
    labels.extend(rule.model_of.iter().map(|lookup| lookup.key.clone()));
    labels.extend([&rule.provider, &rule.address].into_iter().flatten().cloned());
    labels.extend(rule.only.keys().chain(rule.except.keys()).chain(rule.unserved.keys()).cloned());
    if let Some(
        OperationRule::Label { label }
        | OperationRule::Values { label, .. }
        | OperationRule::Path { path: label },
    ) = &rule.operation
    {
        labels.push(label.clone());
    }
    match &rule.outcome {
        Some(OutcomeRule::Label { label, .. }) => labels.push(label.clone()),
        Some(OutcomeRule::Status { status, class }) => {
            labels.extend([status, class].into_iter().flatten().cloned());
        }
        _ => {}
    }
    if let Some(StreamingRule::Label { label, .. }) = &rule.streaming {
        labels.push(label.clone());
    }
    if let Some(ChoiceRule::Label { label, .. }) = &rule.choice {
        labels.push(label.clone());
    }
    if let Some(TokensRule::Label { label, .. }) = &rule.tokens {
        labels.push(label.clone());
    }
    for join in joins_of(rule).into_iter().filter_map(|(join, _)| join.as_ref()) {
        labels.extend(join.on.iter().flat_map(|(ours, theirs)| [ours.clone(), theirs.clone()]));
        labels.extend(join.only.keys().chain(join.except.keys()).cloned());
    }
    labels.sort();
    labels.dedup();
    labels
}

/// Checks what the file's types do not.
pub(super) fn check(rule: &MetricRule, class: PointClass) -> Result<(), String> {
    let outcomes: Vec<&String> = match &rule.outcome {
        Some(OutcomeRule::Fixed(name)) => vec![name],
        Some(OutcomeRule::Label { values, default, .. }) => values.values().chain([default]).collect(),
        _ => Vec::new(),
    };
    if let Some(name) = outcomes.iter().find(|name| Outcome::from_name(name).is_none()) {
        return Err(format!("outcome: {name} is none"));
    }
    let operations: Vec<&String> = match &rule.operation {
        Some(OperationRule::Fixed(name)) => vec![name],
        Some(OperationRule::Values { values, .. }) => values.values().collect(),
        _ => Vec::new(),
    };
    if let Some(name) = operations.iter().find(|name| Operation::from_name(name).is_none()) {
        return Err(format!("operation: {name} is none"));
    }
    if let Some(StreamingRule::Fixed(name)) = &rule.streaming
        && Streaming::from_name(name).is_none()
    {
        return Err(format!("streaming: {name} is none"));
    }
    if let Some(ChoiceRule::Fixed(name)) = &rule.choice
        && Choice::from_name(name).is_none()
    {
        return Err(format!("choice: {name} is none"));
    }
    match (&rule.tokens, class) {
        (None, PointClass::Tokens) => {
            Err("tokens: write input, output, or the label that says which".to_owned())
        }
        (Some(TokensRule::Fixed(side)), _) if side != "input" && side != "output" => {
            Err(format!("tokens: write input or output, not {side}"))
        }
        _ => Ok(()),
    }
}
