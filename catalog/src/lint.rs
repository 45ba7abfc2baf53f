//! Findings on the data that do not stop the register from building.

use std::collections::BTreeSet;

use crate::Catalogue;

/// A finding on the register's data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing says where the facts about this model come from.
    NoSource(String),
    /// Two models have one name.
    SameName(String),
    /// A model's periods hold the same openness twice in a row, or start on one day.
    IdlePeriod(String),
    /// A model with weights has no licence.
    NoLicence(String),
    /// No row of the labelled names reaches the family.
    NeverSeen(String),
}

impl Catalogue {
    /// Findings on the data. `names` are labelled names; families that none of them reaches are reported, unless
    /// `names` is empty.
    pub fn lint<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut seen_names = BTreeSet::new();
        for model in self.models() {
            let name = &model.name;
            if model.sources.iter().all(|source| source.trim().is_empty()) {
                problems.push(Problem::NoSource(name.clone()));
            }
            if !seen_names.insert(name) {
                problems.push(Problem::SameName(name.clone()));
            }
            let idle = |pair: &[crate::Period]| pair[0].openness == pair[1].openness || pair[0].from == pair[1].from;
            if model.periods.windows(2).any(idle) {
                problems.push(Problem::IdlePeriod(name.clone()));
            }
            if model.periods.iter().any(|period| period.openness.is_open() && period.licence.is_empty()) {
                problems.push(Problem::NoLicence(name.clone()));
            }
        }
        let reached: BTreeSet<&str> = names.into_iter().map(|name| self.matcher.look_up(name).family).collect();
        if !reached.is_empty() {
            let unseen = self.families().filter(|family| !family.is_empty() && !reached.contains(family));
            problems.extend(unseen.map(|family| Problem::NeverSeen(family.to_owned())));
        }
        problems
    }
}
