//! Findings on the data that do not stop the register from compiling. `compile` refuses what would be ambiguous: numbers
//! given twice, equal patterns, unknown fields.

use std::collections::BTreeSet;
use std::fmt;

use crate::compile::source::FamiliesFile;
use crate::compile::{parse, readings};
use crate::{Catalogue, CompileError, Sources, numbers};

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
    /// A number and the list of allotted numbers do not agree.
    Number(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoSource(model) => write!(f, "{model}: no source; say where the claim can be checked"),
            Problem::SameName(model) => write!(f, "{model}: two models have this name"),
            Problem::IdlePeriod(model) => {
                write!(f, "{model}: a period starts on the day of another, or says what the one before says")
            }
            Problem::NoLicence(model) => write!(f, "{model}: open weights without a licence"),
            Problem::Unreachable { model, pattern } => {
                write!(
                    f,
                    "{model}: a name spelt {pattern:?} does not lead to it; another pattern or a guard does"
                )
            }
            Problem::Number(finding) => f.write_str(finding),
        }
    }
}

/// Findings on `sources`.
///
/// # Errors
/// The files make no register at all.
pub fn lint(sources: &Sources) -> Result<Vec<Problem>, CompileError> {
    let catalogue = Catalogue::compiled(sources)?;
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for model in catalogue.models() {
        let name = model.name();
        if model.sources().all(|source| source.trim().is_empty()) {
            problems.push(Problem::NoSource(name.to_owned()));
        }
        if !names.insert(name) {
            problems.push(Problem::SameName(name.to_owned()));
        }
        let periods: Vec<_> = model.periods().collect();
        if periods.windows(2).any(|pair| pair[0].openness == pair[1].openness || pair[0].from == pair[1].from)
        {
            problems.push(Problem::IdlePeriod(name.to_owned()));
        }
        if periods.iter().any(|period| period.openness.is_open() && period.licence.is_empty()) {
            problems.push(Problem::NoLicence(name.to_owned()));
        }
    }
    for (file, text) in &sources.families {
        unreachable(&catalogue, &parse(file, text)?, &mut problems);
    }
    problems.extend(numbers::check(sources)?.into_iter().map(Problem::Number));
    Ok(problems)
}

fn unreachable(catalogue: &Catalogue, file: &FamiliesFile, problems: &mut Vec<Problem>) {
    for model in file.family.iter().flat_map(|family| &family.model) {
        for reading in model.patterns.iter().flat_map(|pattern| readings(pattern)) {
            let found = catalogue.tables.look_up(&spelt(&reading)).model;
            let id = found.map(|row| catalogue.tables.models[usize::from(row)].id.get());
            if id != model.id {
                problems.push(Problem::Unreachable { model: model.name.clone(), pattern: reading.join(" ") });
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

/// Names that the patterns of `sources` describe, one a pattern and reading.
pub(crate) fn spellings(sources: &Sources) -> Result<BTreeSet<String>, CompileError> {
    let mut names = BTreeSet::new();
    for (file, text) in &sources.families {
        let file: FamiliesFile = parse(file, text)?;
        for family in &file.family {
            let models = family.model.iter().flat_map(|model| &model.patterns);
            let readings = family.brand.iter().chain(models).flat_map(|pattern| readings(pattern));
            names.extend(readings.map(|reading| spelt(&reading)));
        }
    }
    Ok(names)
}
