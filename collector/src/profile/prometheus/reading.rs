//! One page while it is read: samples to rows.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use weighbridge_catalog::Origin;
use weighbridge_proto::cells::{CellKey, Counts};
use weighbridge_proto::v1::{Choice, Operation, Outcome, Streaming, Vantage};

use super::labels::{joins_of, metric_of};
use super::{Found, MAX_LABELS, PagePlan, Planned, Role, Target, Use};
use crate::classifier::Classifier;
use crate::count::{PageRow, PointClass, SIDES};
use crate::discard::{Skip, Tally};
use crate::observation;
use crate::profile::access_log::{PathOperation, operation_of_path};
use crate::profile::rules::{
    ChoiceRule, Join, OperationRule, OutcomeRule, StreamingRule, TokensRule, ValueKind, Values,
};
use crate::profile::{Discard, Mapper, cell_key};
use crate::source::attributes::{is_missing_text, whole_float};
use crate::source::prometheus::{Kind, Sample, labels_of, labels_text};

/// A page while it is read.
pub(super) struct Reading<'a, 'p> {
    pub(super) plan: &'p PagePlan,
    pub(super) target: Target<'p>,
    pub(super) target_hash: u64,
    pub(super) mapper: &'p mut Mapper,
    /// Start of a series, by rule and labels.
    pub(super) created: HashMap<(u16, u64), u64>,
    pub(super) process_start_nano: u64,
    pub(super) lookups: HashMap<(u16, &'a [u8]), &'a [u8]>,
    pub(super) rows: &'p mut Vec<PageRow>,
}

impl<'a> Reading<'a, '_> {
    pub(super) fn sample(&mut self, sample: &Sample<'a, (u16, u16)>, tally: &mut Tally) {
        let (first, last) = sample.wanted;
        for place in usize::from(first)..usize::from(last) {
            let use_ = self.plan.uses[place];
            match use_.role {
                Role::Lookup => {}
                Role::ProcessStart => self.process_start_nano = nanoseconds(sample.value),
                Role::Created => {
                    let (labels_hash, _) = self.labels(use_.rule, sample.labels);
                    self.created.insert((use_.rule, labels_hash), nanoseconds(sample.value));
                }
                Role::Main | Role::Side(_) => {
                    tally.receive();
                    match self.row(use_, sample) {
                        Ok(row) => self.rows.push(row),
                        Err(Discard::Skip(reason)) => tally.skip(reason),
                        Err(Discard::Refuse(refusal)) => tally.refuse(refusal),
                    }
                }
            }
        }
    }

    /// A hash over all labels in any order, and the values of those that the rule names.
    fn labels(&self, rule: u16, labels: &'a [u8]) -> (u64, Found<'a>) {
        let planned = &self.plan.rules[usize::from(rule)];
        let (mut hash, mut found) = (0_u64, [None; MAX_LABELS]);
        for (name, value) in labels_of(labels) {
            hash = hash.wrapping_add(self.mapper.hasher.hash_one((name, value)));
            if let Some(place) = planned.labels.iter().position(|wanted| wanted.as_bytes() == name) {
                found[place] = Some(value);
            }
        }
        (hash, found)
    }

    fn row(&mut self, use_: Use, sample: &Sample<'a, (u16, u16)>) -> Result<PageRow, Discard> {
        let fits = match use_.value {
            ValueKind::Counter => matches!(sample.kind, Kind::Counter | Kind::Untyped),
            ValueKind::Count | ValueKind::Sum => matches!(sample.kind, Kind::Histogram | Kind::Untyped),
        };
        if !fits {
            return Err(Skip::Metric.into());
        }
        if sample.value.is_nan() {
            return Err(Skip::NoValue.into());
        }
        let value = whole_float(sample.value)?;
        let plan = self.plan;
        let planned = &plan.rules[usize::from(use_.rule)];
        let (labels_hash, found) = self.labels(use_.rule, sample.labels);
        let join = |join: &Option<Join>, theirs: bool| {
            join.as_ref().map(|join| {
                let value = |(ours, their): (&String, &String)| {
                    planned.value(&found, if theirs { their } else { ours })
                };
                let values: Vec<&[u8]> = join.on.iter().map(value).collect();
                self.mapper.hasher.hash_one((use_.rule, values))
            })
        };
        let mut row = PageRow {
            target: self.target_hash,
            // By names, so that it is the same after a restart and under another version of the profile.
            series: self.mapper.hasher.hash_one((
                self.target_hash,
                &planned.rule.metric,
                metric_of(&planned.rule, use_.role),
                labels_hash,
            )),
            labels_hash,
            rule: use_.rule,
            class: planned.class,
            rank: planned.rank,
            side: None,
            joins: [None; SIDES],
            own_start_nano: 0,
            process_start_nano: 0,
            value,
            key: cell_key(&Classifier::unserved(), Operation::Chat, Streaming::Unknown, Outcome::Unknown),
            unit: Counts::default(),
        };
        let joins = joins_of(&planned.rule);
        if let Role::Side(side) = use_.role {
            let (rule, _) = joins[side as usize];
            let is_said =
                |rule: &Join| planned.all_of(&found, &rule.only) && !planned.any_of(&found, &rule.except);
            if !rule.as_ref().is_some_and(is_said) {
                return Err(Skip::Filtered.into());
            }
            row.side = Some((side, join(rule, true).unwrap_or_default()));
            return Ok(row);
        }
        row.joins = joins.map(|(rule, _)| join(rule, false));
        (row.key, row.unit) = self.meaning(planned, use_.rule, &found)?;
        Ok(row)
    }

    /// The cell that a sample adds to, and what one unit of it adds.
    fn meaning(
        &mut self,
        planned: &Planned,
        number: u16,
        found: &Found<'a>,
    ) -> Result<(CellKey, Counts), Discard> {
        let rule = &planned.rule;
        if !planned.all_of(found, &rule.only) || planned.any_of(found, &rule.except) {
            return Err(Skip::Filtered.into());
        }
        let text = |label: &Option<String>| {
            label.as_ref().and_then(|label| labels_text(planned.value(found, label))).unwrap_or_default()
        };
        let operation = match &rule.operation {
            None => Operation::Chat,
            Some(OperationRule::Fixed(name)) => Operation::from_name(name).unwrap_or(Operation::Other),
            Some(OperationRule::Values { label, values }) => {
                let told = text(&Some(label.clone()));
                let name = values.get(told.as_ref());
                match name.and_then(|name| Operation::from_name(name)) {
                    Some(operation) => operation,
                    None if told.is_empty() => Operation::Chat,
                    None => return Err(Skip::Operation.into()),
                }
            }
            Some(OperationRule::Path { path }) => match planned.value(found, path) {
                told if is_missing_text(told) => Operation::Chat,
                told => match operation_of_path(told) {
                    Some(PathOperation::Inference(operation)) => operation,
                    _ => return Err(Skip::Operation.into()),
                },
            },
            Some(OperationRule::Label { label }) => {
                let name = text(&Some(label.clone()));
                if name.is_empty() {
                    Operation::Chat
                } else {
                    observation::operation(&name).ok_or(Skip::Operation)?
                }
            }
        };
        let served = rule.unserved.is_empty() || !planned.any_of(found, &rule.unserved);
        let classification = if served {
            let own = rule
                .model
                .iter()
                .map(|label| planned.value(found, label))
                .find(|value| !is_missing_text(value));
            let looked_up = rule
                .model_of
                .as_ref()
                .and_then(|lookup| self.lookups.get(&(number, planned.value(found, &lookup.key))).copied());
            let name = own.or(looked_up).and_then(labels_text);
            let name = name.as_deref().unwrap_or(self.target.model);
            // Tokens are told by the part that has them.
            if planned.class != PointClass::Tokens && !self.plan.is_entry(name) {
                return Err(Skip::Filtered.into());
            }
            let (provider, address) = (text(&rule.provider), text(&rule.address));
            // A model server runs the model itself: where it stands is where the model runs.
            let own = if self.plan.vantage == Vantage::Server { self.target.url } else { "" };
            let origin =
                Origin { provider: &provider, address: if address.is_empty() { own } else { &address } };
            self.mapper.classifier.classify(name, origin)
        } else {
            Classifier::unserved()
        };
        let mut key = cell_key(&classification, operation, planned.streaming(found), planned.outcome(found));
        key.choice = planned.choice(found);
        Ok((key, self.unit(planned, found, served)?))
    }

    fn unit(&self, planned: &Planned, found: &Found<'a>, served: bool) -> Result<Counts, Discard> {
        let attempts = u64::from(served && !self.plan.tells_attempts);
        let (input, output) = (
            Counts { input_tokens: 1, ..Counts::default() },
            Counts { output_tokens: 1, ..Counts::default() },
        );
        Ok(match (planned.class, &planned.rule.tokens) {
            (PointClass::Attempts, _) => Counts { attempts: 1, ..Counts::default() },
            (PointClass::Tokens, Some(TokensRule::Fixed(side))) => {
                if side == "input" {
                    input
                } else {
                    output
                }
            }
            (PointClass::Tokens, Some(TokensRule::Label { label, input: inputs, output: outputs })) => {
                let value = planned.value(found, label);
                let is = |values: &[String]| values.iter().any(|known| known.as_bytes() == value);
                if is(inputs) {
                    input
                } else if is(outputs) {
                    output
                } else {
                    return Err(Skip::TokenType.into());
                }
            }
            _ => Counts { requests: 1, attempts, ..Counts::default() },
        })
    }

    /// Gives the rows their starts, which may stand after them on the page.
    pub(super) fn finish(self, before: usize) {
        for row in &mut self.rows[before..] {
            row.process_start_nano = self.process_start_nano;
            if row.side.is_none() {
                row.own_start_nano = self.created.get(&(row.rule, row.labels_hash)).copied().unwrap_or(0);
            }
        }
    }
}

impl Planned {
    /// The raw value of a label that the rule names, empty if it is absent.
    fn value<'a>(&self, found: &Found<'a>, label: &str) -> &'a [u8] {
        let place = self.labels.iter().position(|known| known == label);
        place.and_then(|place| found[place]).unwrap_or_default()
    }

    /// Whether every label has one of its values.
    fn all_of(&self, found: &Found<'_>, values: &Values) -> bool {
        values.iter().all(|(label, values)| self.is_one_of(found, label, values))
    }

    /// Whether a label has one of its values.
    fn any_of(&self, found: &Found<'_>, values: &Values) -> bool {
        values.iter().any(|(label, values)| self.is_one_of(found, label, values))
    }

    fn is_one_of(&self, found: &Found<'_>, label: &str, values: &[String]) -> bool {
        let told = self.value(found, label);
        values.iter().any(|value| value.as_bytes() == told)
    }

    fn streaming(&self, found: &Found<'_>) -> Streaming {
        match &self.rule.streaming {
            None if self.rule.streamed.is_some() => Streaming::No,
            None => Streaming::Unknown,
            Some(StreamingRule::Fixed(name)) => Streaming::from_name(name).unwrap_or(Streaming::Unknown),
            Some(StreamingRule::Label { label, values }) => {
                let value = self.value(found, label);
                let is_streamed = values.iter().any(|known| known.as_bytes() == value);
                match (is_missing_text(value), is_streamed) {
                    (true, false) => Streaming::Unknown,
                    (_, true) => Streaming::Yes,
                    (_, false) => Streaming::No,
                }
            }
        }
    }

    fn choice(&self, found: &Found<'_>) -> Choice {
        match &self.rule.choice {
            None if self.rule.fallback.is_some() => Choice::First,
            None => Choice::Unknown,
            Some(ChoiceRule::Fixed(name)) => Choice::from_name(name).unwrap_or(Choice::Unknown),
            Some(ChoiceRule::Label { label, first }) => {
                let value = self.value(found, label);
                let is_first = first.iter().any(|first| first.as_bytes() == value);
                match (is_first, value.is_empty()) {
                    (true, _) => Choice::First,
                    (false, true) => Choice::Unknown,
                    (false, false) => Choice::Fallback,
                }
            }
        }
    }

    fn outcome(&self, found: &Found<'_>) -> Outcome {
        let named = |name: &str| Outcome::from_name(name).unwrap_or(Outcome::Unknown);
        match &self.rule.outcome {
            None => Outcome::Ok,
            Some(OutcomeRule::Fixed(name)) => named(name),
            Some(OutcomeRule::Label { label, values, default }) => {
                let value = String::from_utf8_lossy(self.value(found, label));
                named(values.get(value.as_ref()).unwrap_or(default))
            }
            Some(OutcomeRule::Status { status, class }) => {
                let text = |label: &Option<String>| {
                    let raw = label.as_ref().map(|label| self.value(found, label)).unwrap_or_default();
                    if is_missing_text(raw) {
                        String::new()
                    } else {
                        String::from_utf8_lossy(raw).into_owned()
                    }
                };
                let (status, class) = (text(status), text(class));
                observation::outcome(!class.is_empty(), status.parse().ok(), &class)
            }
        }
    }
}

/// Seconds of a page as Unix nanoseconds; 0 for what is no time.
fn nanoseconds(seconds: f64) -> u64 {
    if seconds.is_finite() && seconds > 0.0 { (seconds * 1e9) as u64 } else { 0 }
}
