//! The same traffic under other ways to count: how far a figure depends on the rule and not on the traffic.
//!
//! In: sums by maker, provider and class. Out: one group per rule, each with all the traffic, moved between the classes as the rule
//! says. Traffic that a rule calls open without a licence of its own is put under open-permissive. Pure but for the query.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;
use weighbridge_catalog::Openness;

use super::query::{class, table};
use super::{Group, Split, SplitQuery, Sums, is_restricted};
use crate::answers::{AnswerError, asked};
use crate::store::Store;

/// The four makers that a gateway's published index of July 2026 counted as the open ones, all others as closed.
const FOUR_LABS: [&str; 4] = ["DeepSeek", "MiniMax", "Moonshot AI", "Z.ai"];

/// A rule of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// This program's own: each model by its weights on the day, unknown apart.
    PerModel,
    /// Unknown is closed: the lower bound.
    UnknownClosed,
    /// Unknown is open: the upper bound.
    UnknownOpen,
    /// Unknown is left out.
    KnownOnly,
    /// Licences that forbid commerce are closed.
    NoncommercialClosed,
    /// Licences that limit use are closed.
    RestrictedClosed,
    /// Only open source in the OSAID sense is open.
    OpenSourceOnly,
    /// A maker has one class, that of most of its requests.
    PerMaker,
    /// A provider has one class, that of most of its requests.
    PerProvider,
    /// Four makers are open.
    FourLabs,
}

impl Counting {
    /// All of them, the program's own first.
    pub const ALL: [Counting; 10] = [
        Counting::PerModel,
        Counting::UnknownClosed,
        Counting::UnknownOpen,
        Counting::KnownOnly,
        Counting::NoncommercialClosed,
        Counting::RestrictedClosed,
        Counting::OpenSourceOnly,
        Counting::PerMaker,
        Counting::PerProvider,
        Counting::FourLabs,
    ];

    /// Its name in every form.
    pub const fn name(self) -> &'static str {
        match self {
            Counting::PerModel => "per_model",
            Counting::UnknownClosed => "unknown_as_closed",
            Counting::UnknownOpen => "unknown_as_open",
            Counting::KnownOnly => "known_only",
            Counting::NoncommercialClosed => "noncommercial_as_closed",
            Counting::RestrictedClosed => "restricted_as_closed",
            Counting::OpenSourceOnly => "open_source_only",
            Counting::PerMaker => "one_class_per_maker",
            Counting::PerProvider => "one_class_per_provider",
            Counting::FourLabs => "four_labs",
        }
    }

    /// In words.
    pub const fn rule(self) -> &'static str {
        match self {
            Counting::PerModel => {
                "each model by its own weights on the day; unknown is shown apart (the headline)"
            }
            Counting::UnknownClosed => "unknown counts as closed (lower bound)",
            Counting::UnknownOpen => "unknown counts as open (upper bound)",
            Counting::KnownOnly => "unknown is left out of the total",
            Counting::NoncommercialClosed => "weights that may not be used for commerce count as closed",
            Counting::RestrictedClosed => "weights under any licence that limits use count as closed",
            Counting::OpenSourceOnly => "only open source in the OSAID sense counts as open",
            Counting::PerMaker => "a maker has one class, that of most of its requests",
            Counting::PerProvider => "a provider has one class, that of most of its requests",
            Counting::FourLabs => {
                "by maker: DeepSeek, MiniMax, Moonshot AI and Z.ai are open, all others closed"
            }
        }
    }
}

/// Sums of one maker, provider and class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) developer: String,
    pub(crate) provider: u16,
    pub(crate) openness: Openness,
    pub(crate) sums: Sums,
}

#[derive(Row, Deserialize)]
struct Found {
    developer: String,
    provider: u16,
    class: i8,
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
}

pub(super) async fn query(store: &Store, query: &SplitQuery) -> Result<Split, AnswerError> {
    let (table, time) = table(query);
    let statement = format!(
        "SELECT names.developer AS developer, provider, class, sum(sums.requests) AS requests, \
         sum(sums.input_tokens) AS input_tokens, sum(sums.output_tokens) AS output_tokens FROM (\
         SELECT model, provider, CAST(openness, 'Int8') AS class, sum(requests) AS requests, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens FROM {table} \
         WHERE {} AND {} GROUP BY model, provider, class) AS sums \
         LEFT JOIN {{database}}.models AS names ON names.id = sums.model GROUP BY developer, provider, class",
        query.period.covers_time(time),
        query.filter.condition(),
    );
    let rows: Vec<Found> = store.rows(&statement).await.map_err(asked)?;
    let parts: Vec<Part> = rows
        .into_iter()
        .map(|row| Part {
            developer: row.developer,
            provider: row.provider,
            openness: class(row.class),
            sums: Sums {
                requests: row.requests,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
            },
        })
        .collect();
    Ok(recounted(query.clone(), &parts))
}

/// One group per rule; none without traffic.
pub(super) fn recounted(query: SplitQuery, parts: &[Part]) -> Split {
    let mut total = Group::new("total");
    parts.iter().for_each(|part| total.add(part.openness, part.sums));
    let groups = match total.total() == Sums::default() {
        true => Vec::new(),
        false => Counting::ALL.into_iter().map(|rule| counted(rule, parts)).collect(),
    };
    Split { query, total, groups }
}

fn counted(rule: Counting, parts: &[Part]) -> Group {
    let makers = majority(parts, |part| part.developer.as_str());
    let providers = majority(parts, |part| part.provider);
    let mut group = Group::new(rule.name());
    for part in parts {
        let own = part.openness;
        let class = match rule {
            Counting::PerModel => own,
            Counting::UnknownClosed => if_unknown(own, Openness::Closed),
            Counting::UnknownOpen => if_unknown(own, Openness::OpenPermissive),
            Counting::KnownOnly if own == Openness::Unknown => continue,
            Counting::KnownOnly => own,
            Counting::NoncommercialClosed => closed_if(own, own == Openness::OpenNoncommercial),
            Counting::RestrictedClosed => closed_if(own, is_restricted(own)),
            Counting::OpenSourceOnly => closed_if(own, own.is_open() && own != Openness::OpenSource),
            // A name outside the register has no maker, and number 0 is no provider.
            Counting::PerMaker if part.developer.is_empty() => own,
            Counting::PerMaker => of(own, makers.get(part.developer.as_str())),
            Counting::PerProvider if part.provider == 0 => own,
            Counting::PerProvider => of(own, providers.get(&part.provider)),
            Counting::FourLabs => of(own, Some(&FOUR_LABS.contains(&part.developer.as_str()))),
        };
        group.add(class, part.sums);
    }
    group
}

fn if_unknown(own: Openness, class: Openness) -> Openness {
    if own == Openness::Unknown { class } else { own }
}

fn closed_if(own: Openness, is_closed: bool) -> Openness {
    if is_closed { Openness::Closed } else { own }
}

/// The class of a part whose holder is open or not; its own where nobody knows.
fn of(own: Openness, is_open: Option<&bool>) -> Openness {
    match is_open {
        None => own,
        Some(true) if own.is_open() => own,
        Some(true) => Openness::OpenPermissive,
        Some(false) => Openness::Closed,
    }
}

/// Whether more of a holder's requests are open than closed; those without any that is known are not in it.
fn majority<'a, K: std::hash::Hash + Eq>(
    parts: &'a [Part],
    holder: impl Fn(&'a Part) -> K,
) -> HashMap<K, bool> {
    let mut sides: HashMap<K, (u64, u64)> = HashMap::new();
    for part in parts.iter().filter(|part| part.openness != Openness::Unknown) {
        let (open, closed) = sides.entry(holder(part)).or_default();
        let side = if part.openness.is_open() { open } else { closed };
        *side = side.saturating_add(part.sums.requests);
    }
    sides.into_iter().map(|(holder, (open, closed))| (holder, open > closed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::{Measure, SplitArguments};

    fn part(developer: &str, provider: u16, openness: Openness, requests: u64) -> Part {
        let sums = Sums { requests, input_tokens: requests * 2, output_tokens: 0 };
        Part { developer: developer.to_owned(), provider, openness, sums }
    }

    /// 100 requests. Provider 1 is Google's own, 2 a marketplace, 3 a host of open weights.
    fn parts() -> Vec<Part> {
        vec![
            part("Google", 1, Openness::Closed, 40),
            part("Google", 3, Openness::OpenRestricted, 10),
            part("DeepSeek", 3, Openness::OpenPermissive, 20),
            part("Cohere", 2, Openness::OpenNoncommercial, 5),
            part("Anthropic", 2, Openness::Closed, 10),
            part("Ai2", 3, Openness::OpenSource, 5),
            part("", 0, Openness::Unknown, 10),
        ]
    }

    fn open(split: &Split, rule: Counting) -> (f64, f64) {
        let group = split.groups.iter().find(|group| group.key == rule.name()).unwrap();
        let shares = group.shares(Measure::Requests).unwrap();
        (shares.open, shares.unknown)
    }

    #[test]
    fn rules_by_hand() {
        let query = SplitArguments::default().query(1_795_435_200).unwrap();
        let split = recounted(query, &parts());
        // Open: 10 + 20 + 5 + 5 of 100.
        assert_eq!(open(&split, Counting::PerModel), (0.40, 0.10));
        assert_eq!(open(&split, Counting::UnknownClosed), (0.40, 0.0));
        assert_eq!(open(&split, Counting::UnknownOpen), (0.50, 0.0));
        assert_eq!(open(&split, Counting::KnownOnly), (40.0 / 90.0, 0.0));
        assert_eq!(open(&split, Counting::NoncommercialClosed), (0.35, 0.10));
        assert_eq!(open(&split, Counting::RestrictedClosed), (0.25, 0.10));
        assert_eq!(open(&split, Counting::OpenSourceOnly), (0.05, 0.10));
        // Google is closed (40 of 50), so its 10 open ones are; the others have one class.
        assert_eq!(open(&split, Counting::PerMaker), (0.30, 0.10));
        // 1 is closed; 2 is closed (10 of 15), so Cohere's 5 are; all 35 of 3 are open.
        assert_eq!(open(&split, Counting::PerProvider), (0.35, 0.10));
        // DeepSeek alone.
        assert_eq!(open(&split, Counting::FourLabs), (0.20, 0.0));
        assert_eq!(split.groups.len(), Counting::ALL.len());
        assert_eq!(split.total.total().requests, 100);
    }

    #[test]
    fn nothing_is_counted_in_no_way() {
        let query = SplitArguments::default().query(1_795_435_200).unwrap();
        assert!(recounted(query, &[]).groups.is_empty());
    }

    #[test]
    fn four_labs_are_makers_of_the_register() {
        let export = weighbridge_catalog::embedded().export();
        for lab in FOUR_LABS {
            assert!(export.models.iter().any(|model| model.developer == lab), "{lab}");
        }
    }
}
