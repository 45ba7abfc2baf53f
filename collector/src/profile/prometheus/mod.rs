//! Applies a profile's rules to the samples of a page.
//!
//! In: one `/metrics` page, the target it is of, the label values that the rules name (everything else on the page is passed
//! over). Out: `PageRow`s: what each series is and which cell it adds to. Increments are taken by `count/page.rs`.
//! Guarantees: nothing of a label outlives the call but keyed hashes and numbers of the register; types come from `# TYPE`; names
//! are accepted with and without `_total`, with `:` or `_`, and with the profile's prefixes.

mod labels;
mod reading;

use std::collections::{BTreeMap, HashMap};

use weighbridge_proto::v1::{GatewayProduct, Vantage};

use super::Mapper;
use super::rules::{MetricRule, ProfileError, ProfileFile, ValueKind};
use crate::count::{PageRow, PointClass, Side};
use crate::discard::{Refusal, Tally};
use crate::source::attributes::is_missing_text;
use crate::source::prometheus::{labels_of, read_page};
use labels::{check, labels_named, uses_of};
use reading::Reading;

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
    /// The names whose requests count; all if empty.
    entry_models: Vec<String>,
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
            entry_models: Vec::new(),
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

    /// Counts the requests of these names only: of an ensemble the entry, whose parts count the same request again.
    #[must_use]
    pub fn with_entry_models(mut self, names: &[String]) -> PagePlan {
        self.entry_models = names.to_vec();
        self
    }

    fn is_entry(&self, name: &str) -> bool {
        self.entry_models.is_empty() || self.entry_models.iter().any(|entry| entry == name)
    }

    /// Notes every accepted spelling of every wanted name.
    fn index(&mut self, wanted: Vec<(String, Use)>, prefixes: &[String]) {
        let mut by_name: BTreeMap<String, Vec<Use>> = BTreeMap::new();
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

    /// Whether `page` holds one of the metrics that tell this gateway, or only declares one: a gateway without traffic.
    pub fn detects(&self, page: &[u8]) -> bool {
        holds_metric(page, &self.detect)
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
            Err(refusal) => {
                tally.receive();
                tally.refuse(refusal);
            }
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

/// Whether a page holds a sample or a `# TYPE` line of one of `metrics`, under its name or a usual suffix of it.
pub fn holds_metric(page: &[u8], metrics: &[String]) -> bool {
    let mut found = false;
    let is_mark = |name: &[u8]| {
        let is = |mark: &String| {
            let rest = name.strip_prefix(mark.as_bytes());
            rest.is_some_and(|rest| matches!(rest, b"" | b"_total" | b"_count" | b"_sum" | b"_bucket"))
        };
        metrics.iter().any(is).then_some(())
    };
    // A page that cannot be read holds no mark.
    let is_page = read_page(page, is_mark, |_| found = true).is_ok();
    let declared = page.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"# TYPE "));
    let mut names = declared.filter_map(|rest| rest.split(|byte| *byte == b' ').next());
    found || is_page && names.any(|name| is_mark(name).is_some())
}
