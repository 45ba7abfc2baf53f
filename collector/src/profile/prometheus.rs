//! Applies a profile's rules to the samples of a page.
//!
//! In: one `/metrics` page, the target it is of, the label values that the rules name (everything else on the page is passed
//! over). Out: `PageRow`s: what each series is and which cell it adds to. Increments are taken by `count/page.rs`.
//! Guarantees: nothing of a label outlives the call but keyed hashes and numbers of the register; types come from `# TYPE`; names
//! are accepted with and without `_total`, with `:` or `_`, and with the profile's prefixes.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use weighbridge_catalog::Origin;
use weighbridge_proto::cells::{CellKey, Counts};
use weighbridge_proto::v1::{Choice, GatewayProduct, Operation, Outcome, Streaming, Vantage};

use super::rules::{
    ChoiceRule, Join, MetricRule, OperationRule, OutcomeRule, ProfileError, ProfileFile, StreamingRule,
    TokensRule, ValueKind, Values,
};
use super::{Discard, Mapper, cell_key};
use crate::classifier::Classifier;
use crate::count::{PageRow, PointClass, Side};
use crate::discard::{Refusal, Skip, Tally};
use crate::observation;
use crate::source::attributes::{is_missing_text, whole_float};
use crate::source::prometheus::{Kind, Sample, labels_of, labels_text, read_page};

/// Most labels that the rules of one metric may name.
const MAX_LABELS: usize = 16;
/// Gives the start of the process, in Prometheus client libraries.
const PROCESS_START: &str = "process_start_time_seconds";

/// What a sample is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It counts.
    Main,
    /// It says something about some increments of the rule's own metric.
    Side(Side),
    /// It names the model of another sample.
    Lookup,
    /// Start of a series of the rule's own metric.
    Created,
    /// Start of the process.
    ProcessStart,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    rule: u16,
    role: Role,
    value: ValueKind,
}

/// A rule with the labels it looks at, by place.
#[derive(Debug)]
struct Planned {
    rule: MetricRule,
    class: PointClass,
    rank: u8,
    labels: Vec<String>,
}

/// A page's address and what is known of its target.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Distinguishes targets of one collector: the URL.
    pub url: &'a str,
    /// The model it serves, for servers whose pages do not say so; empty if they do.
    pub model: &'a str,
}

/// Label values of one sample, by place in `Planned::labels`.
type Found<'a> = [Option<&'a [u8]>; MAX_LABELS];

/// A profile, ready to be applied to pages.
#[derive(Debug)]
pub struct PagePlan {
    product: GatewayProduct,
    vantage: Vantage,
    detect: Vec<String>,
    rules: Vec<Planned>,
    uses: Vec<Use>,
    /// Full sample name to a range of `uses`.
    names: HashMap<Box<[u8]>, (u16, u16), foldhash::fast::RandomState>,
    /// The profile tells attempts apart from requests.
    tells_attempts: bool,
}

impl PagePlan {
    /// Prepares a profile.
    ///
    /// # Errors
    /// A rule names an enumeration's value that is none, or too many labels.
    pub fn new(profile: &ProfileFile) -> Result<PagePlan, ProfileError> {
        let fail = |fix: String| ProfileError { profile: profile.gateway.clone(), fix };
        let rules = &profile.prometheus;
        let mut plan = PagePlan {
            // Both were checked when the file was parsed.
            product: GatewayProduct::from_name(&profile.gateway).unwrap_or(GatewayProduct::Other),
            vantage: Vantage::from_name(&profile.vantage).unwrap_or(Vantage::Gateway),
            detect: rules.detect.clone(),
            rules: Vec::new(),
            uses: Vec::new(),
            names: HashMap::default(),
            tells_attempts: !rules.attempts.is_empty(),
        };
        let sections = [
            (&rules.requests, PointClass::Requests),
            (&rules.attempts, PointClass::Attempts),
            (&rules.tokens, PointClass::Tokens),
        ];
        let mut wanted: Vec<(String, Use)> = Vec::new();
        for (alternatives, class) in sections {
            for (rank, alternative) in alternatives.iter().enumerate() {
                for rule in alternative {
                    check(rule, class).map_err(|fix| fail(format!("{}: {fix}", rule.metric)))?;
                    let number = plan.rules.len() as u16;
                    let labels = labels_named(rule);
                    if labels.len() > MAX_LABELS {
                        return Err(fail(format!("{}: name at most {MAX_LABELS} labels", rule.metric)));
                    }
                    plan.rules.push(Planned { rule: rule.clone(), class, rank: rank as u8, labels });
                    wanted.extend(uses_of(rule, number));
                }
            }
        }
        wanted.push((
            PROCESS_START.to_owned(),
            Use { rule: 0, role: Role::ProcessStart, value: ValueKind::Counter },
        ));
        plan.index(wanted, &rules.prefixes);
        Ok(plan)
    }

    /// Notes every accepted spelling of every wanted name.
    fn index(&mut self, wanted: Vec<(String, Use)>, prefixes: &[String]) {
        let mut by_name: HashMap<String, Vec<Use>> = HashMap::new();
        for (metric, use_) in wanted {
            let suffixes: &[&str] = match (use_.role, use_.value) {
                (Role::ProcessStart, _) => &[""],
                (Role::Created, _) => &["_created"],
                (_, ValueKind::Counter) => &["", "_total"],
                (_, ValueKind::Count) => &["_count"],
                (_, ValueKind::Sum) => &["_sum"],
            };
            let prefixes = std::iter::once("").chain(prefixes.iter().map(String::as_str));
            for prefix in prefixes {
                for suffix in suffixes {
                    let name = format!("{prefix}{metric}{suffix}");
                    let spelt = name.replace(':', "_");
                    if spelt != name {
                        by_name.entry(spelt).or_default().push(use_);
                    }
                    by_name.entry(name).or_default().push(use_);
                }
            }
        }
        for (name, uses) in by_name {
            let first = self.uses.len() as u16;
            self.uses.extend(uses);
            self.names.insert(name.into_bytes().into_boxed_slice(), (first, self.uses.len() as u16));
        }
    }

    /// What reports call the product.
    pub fn gateway_product(&self) -> GatewayProduct {
        self.product
    }

    /// Where such a page stands.
    pub fn vantage(&self) -> Vantage {
        self.vantage
    }

    /// Whether `page` holds one of the metrics that tell this gateway.
    pub fn detects(&self, page: &[u8]) -> bool {
        let mut found = false;
        let is_mark = |name: &[u8]| {
            let is = |mark: &String| {
                let rest = name.strip_prefix(mark.as_bytes());
                rest.is_some_and(|rest| matches!(rest, b"" | b"_total" | b"_count" | b"_sum" | b"_bucket"))
            };
            self.detect.iter().any(is).then_some(())
        };
        // A page that cannot be read holds no mark.
        let _ = read_page(page, is_mark, |_| found = true);
        found
    }

    /// Reads a page into `rows`.
    ///
    /// # Errors
    /// The page is of another format; `rows` is as it was.
    pub fn read(
        &self,
        page: &[u8],
        target: Target<'_>,
        mapper: &mut Mapper,
        tally: &mut Tally,
        rows: &mut Vec<PageRow>,
    ) -> Result<(), Refusal> {
        let before = rows.len();
        let mut reading = Reading {
            plan: self,
            target,
            target_hash: mapper.hash_bytes(target.url.as_bytes()),
            mapper,
            created: HashMap::new(),
            process_start_nano: 0,
            lookups: self.lookups(page),
            rows,
        };
        let wanted = |name: &[u8]| self.names.get(name).copied();
        read_page(page, wanted, |sample| match sample {
            Ok(sample) => reading.sample(&sample, tally),
            Err(refusal) => tally.refuse(refusal),
        })?;
        reading.finish(before);
        Ok(())
    }

    /// Names that stand on other samples: by rule and value of the key.
    fn lookups<'a>(&self, page: &'a [u8]) -> HashMap<(u16, &'a [u8]), &'a [u8]> {
        let mut found = HashMap::new();
        if self.rules.iter().all(|planned| planned.rule.model_of.is_none()) {
            return found;
        }
        let wanted = |name: &[u8]| {
            let (first, last) = *self.names.get(name)?;
            self.uses[usize::from(first)..usize::from(last)]
                .iter()
                .find(|use_| use_.role == Role::Lookup)
                .copied()
        };
        // The page is read again for its samples, which tells whether it can be.
        let _ = read_page(page, wanted, |sample| {
            let Ok(sample) = sample else { return };
            let Some(lookup) = &self.rules[usize::from(sample.wanted.rule)].rule.model_of else { return };
            let value = |wanted: &str| {
                labels_of(sample.labels).find(|(name, _)| *name == wanted.as_bytes()).map(|(_, value)| value)
            };
            if let (Some(key), Some(name)) = (value(&lookup.key), value(&lookup.label))
                && !is_missing_text(key)
                && !is_missing_text(name)
            {
                found.insert((sample.wanted.rule, key), name);
            }
        });
        found
    }
}

/// A page while it is read.
struct Reading<'a, 'p> {
    plan: &'p PagePlan,
    target: Target<'p>,
    target_hash: u64,
    mapper: &'p mut Mapper,
    /// Start of a series, by rule and labels.
    created: HashMap<(u16, u64), u64>,
    process_start_nano: u64,
    lookups: HashMap<(u16, &'a [u8]), &'a [u8]>,
    rows: &'p mut Vec<PageRow>,
}

impl<'a> Reading<'a, '_> {
    fn sample(&mut self, sample: &Sample<'a, (u16, u16)>, tally: &mut Tally) {
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
                Role::Main | Role::Side(_) => match self.row(use_, place as u64, sample) {
                    Ok(row) => self.rows.push(row),
                    Err(Discard::Skip(reason)) => tally.skip(reason),
                    Err(Discard::Refuse(refusal)) => tally.refuse(refusal),
                },
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

    fn row(&mut self, use_: Use, place: u64, sample: &Sample<'a, (u16, u16)>) -> Result<PageRow, Discard> {
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
            series: self.mapper.hasher.hash_one((self.target_hash, place, labels_hash)),
            labels_hash,
            rule: use_.rule,
            class: planned.class,
            rank: planned.rank,
            side: None,
            joins: [None; 3],
            own_start_nano: 0,
            process_start_nano: 0,
            value,
            key: cell_key(&Classifier::unserved(), Operation::Chat, Streaming::Unknown, Outcome::Unknown),
            unit: Counts::default(),
        };
        let joins = [&planned.rule.less, &planned.rule.streamed, &planned.rule.fallback];
        if let Role::Side(side) = use_.role {
            row.side = Some((side, join(joins[side as usize], true).unwrap_or_default()));
            return Ok(row);
        }
        row.joins = joins.map(|rule| join(rule, false));
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
        let in_values = |values: &Values| {
            values.iter().all(|(label, values)| {
                values.iter().any(|value| value.as_bytes() == planned.value(found, label))
            })
        };
        let in_any = |values: &Values| {
            values.iter().any(|(label, values)| {
                values.iter().any(|value| value.as_bytes() == planned.value(found, label))
            })
        };
        if !in_values(&rule.only) || in_any(&rule.except) {
            return Err(Skip::Filtered.into());
        }
        let text = |label: &Option<String>| {
            label.as_ref().and_then(|label| labels_text(planned.value(found, label))).unwrap_or_default()
        };
        let operation = match &rule.operation {
            None => Operation::Chat,
            Some(OperationRule::Fixed(name)) => Operation::from_name(name).unwrap_or(Operation::Other),
            Some(OperationRule::Label { label }) => {
                let name = text(&Some(label.clone()));
                if name.is_empty() {
                    Operation::Chat
                } else {
                    observation::operation(&name).ok_or(Skip::Operation)?
                }
            }
        };
        let served = rule.unserved.is_empty() || !in_any(&rule.unserved);
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
            let (provider, address) = (text(&rule.provider), text(&rule.address));
            // A model server runs the model itself: where it stands is where the model runs.
            let own = if self.plan.vantage == Vantage::Server { self.target.url } else { "" };
            let origin =
                Origin { provider: &provider, address: if address.is_empty() { own } else { &address } };
            self.mapper.classifier.classify(name, origin)
        } else {
            Classifier::unserved()
        };
        let streaming = match &rule.streaming {
            None if rule.streamed.is_some() => Streaming::No,
            None => Streaming::Unknown,
            Some(StreamingRule::Fixed(name)) => Streaming::from_name(name).unwrap_or(Streaming::Unknown),
            Some(StreamingRule::Label { label, values }) => {
                let value = planned.value(found, label);
                match (is_missing_text(value), values.iter().any(|known| known.as_bytes() == value)) {
                    (true, false) => Streaming::Unknown,
                    (_, true) => Streaming::Yes,
                    (_, false) => Streaming::No,
                }
            }
        };
        let mut key = cell_key(&classification, operation, streaming, outcome(planned, found));
        key.choice = match &rule.choice {
            None if rule.fallback.is_some() => Choice::First,
            None => Choice::Unknown,
            Some(ChoiceRule::Fixed(name)) => Choice::from_name(name).unwrap_or(Choice::Unknown),
            Some(ChoiceRule::Label { label, first }) => {
                let value = planned.value(found, label);
                let is_first = first.iter().any(|first| first.as_bytes() == value);
                if is_first {
                    Choice::First
                } else if value.is_empty() {
                    Choice::Unknown
                } else {
                    Choice::Fallback
                }
            }
        };
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
    fn finish(self, before: usize) {
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
}

fn outcome(planned: &Planned, found: &Found<'_>) -> Outcome {
    let named = |name: &str| Outcome::from_name(name).unwrap_or(Outcome::Unknown);
    match &planned.rule.outcome {
        None => Outcome::Ok,
        Some(OutcomeRule::Fixed(name)) => named(name),
        Some(OutcomeRule::Label { label, values, default }) => {
            let value = String::from_utf8_lossy(planned.value(found, label));
            named(values.get(value.as_ref()).unwrap_or(default))
        }
        Some(OutcomeRule::Status { status, class }) => {
            let text = |label: &Option<String>| {
                let raw = label.as_ref().map(|label| planned.value(found, label)).unwrap_or_default();
                if is_missing_text(raw) { String::new() } else { String::from_utf8_lossy(raw).into_owned() }
            };
            let (status, class) = (text(status), text(class));
            observation::outcome(!class.is_empty(), status.parse().ok(), &class)
        }
    }
}

/// Every name that a rule wants, with its use.
fn uses_of(rule: &MetricRule, number: u16) -> Vec<(String, Use)> {
    let use_ = |role, value| Use { rule: number, role, value };
    let mut uses = vec![
        (rule.metric.clone(), use_(Role::Main, rule.value)),
        (rule.metric.clone(), use_(Role::Created, ValueKind::Counter)),
    ];
    for (join, side) in
        [(&rule.less, Side::Less), (&rule.streamed, Side::Streamed), (&rule.fallback, Side::Fallback)]
    {
        uses.extend(join.iter().map(|join| (join.metric.clone(), use_(Role::Side(side), join.value))));
    }
    let lookup = rule.model_of.iter();
    uses.extend(lookup.map(|lookup| (lookup.metric.clone(), use_(Role::Lookup, ValueKind::Counter))));
    uses
}

/// Every label that a rule names, once.
fn labels_named(rule: &MetricRule) -> Vec<String> {
    let mut labels: Vec<String> = rule.model.clone();
    labels.extend(rule.model_of.iter().map(|lookup| lookup.key.clone()));
    labels.extend([&rule.provider, &rule.address].into_iter().flatten().cloned());
    labels.extend(rule.only.keys().chain(rule.except.keys()).chain(rule.unserved.keys()).cloned());
    if let Some(OperationRule::Label { label }) = &rule.operation {
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
    for join in [&rule.less, &rule.streamed, &rule.fallback].into_iter().flatten() {
        labels.extend(join.on.iter().flat_map(|(ours, theirs)| [ours.clone(), theirs.clone()]));
    }
    labels.sort();
    labels.dedup();
    labels
}

/// Checks what the file's types do not.
fn check(rule: &MetricRule, class: PointClass) -> Result<(), String> {
    let outcomes: Vec<&String> = match &rule.outcome {
        Some(OutcomeRule::Fixed(name)) => vec![name],
        Some(OutcomeRule::Label { values, default, .. }) => values.values().chain([default]).collect(),
        _ => Vec::new(),
    };
    if let Some(name) = outcomes.iter().find(|name| Outcome::from_name(name).is_none()) {
        return Err(format!("outcome: {name} is none"));
    }
    if let Some(OperationRule::Fixed(name)) = &rule.operation
        && Operation::from_name(name).is_none()
    {
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

/// Seconds of a page as Unix nanoseconds; 0 for what is no time.
fn nanoseconds(seconds: f64) -> u64 {
    if seconds.is_finite() && seconds > 0.0 { (seconds * 1e9) as u64 } else { 0 }
}
