//! Findings on the data that do not stop the register from building. `build.rs` refuses what would be ambiguous: numbers
//! given twice, equal patterns, unknown fields.

use std::collections::BTreeSet;

use crate::data::FamiliesFile;
use crate::{Catalogue, Period, build, embedded};

/// A finding on the register's data, with the name of the model it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing says where the facts come from.
    NoSource(String),
    /// Two models have one name.
    SameName(String),
    /// Two periods that follow each other say the same, or start on one day.
    IdlePeriod(String),
    /// Weights without a licence.
    NoLicence(String),
    /// A name spelt as this pattern does not lead to the model: another pattern or a guard takes it.
    Unreachable {
        /// The model.
        model: String,
        /// The pattern.
        pattern: String,
    },
}

impl Catalogue {
    /// Findings on the data.
    pub fn lint(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for model in self.models() {
            let name = &model.name;
            if model.sources.iter().all(|source| source.trim().is_empty()) {
                problems.push(Problem::NoSource(name.clone()));
            }
            if !names.insert(name) {
                problems.push(Problem::SameName(name.clone()));
            }
            let idle = |pair: &[Period]| pair[0].openness == pair[1].openness || pair[0].from == pair[1].from;
            if model.periods.windows(2).any(idle) {
                problems.push(Problem::IdlePeriod(name.clone()));
            }
            if model.periods.iter().any(|period| period.openness.is_open() && period.licence.is_empty()) {
                problems.push(Problem::NoLicence(name.clone()));
            }
        }
        for (file, text) in embedded::FAMILIES {
            // The files have built this register, so they parse.
            if let Ok(parsed) = build::parse(file, text) {
                self.unreachable(&parsed, &mut problems);
            }
        }
        problems
    }

    fn unreachable(&self, file: &FamiliesFile, problems: &mut Vec<Problem>) {
        for model in file.family.iter().flat_map(|family| &family.model) {
            for reading in model.patterns.iter().flat_map(|pattern| build::readings(pattern)) {
                let found = self.matcher.look_up(&spelt(&reading)).model;
                if found.is_none_or(|place| self.models[usize::from(place)].id.0 != model.id) {
                    problems
                        .push(Problem::Unreachable { model: model.name.clone(), pattern: reading.join(" ") });
                }
            }
        }
    }
}

/// A name that a pattern describes.
fn spelt(pattern: &[&str]) -> String {
    let words = pattern.iter().filter(|word| !matches!(**word, "*" | "$" | "!"));
    let words: Vec<&str> = words.map(|word| if *word == "#b" { "88b" } else { word }).collect();
    words.join("-")
}
