//! Compiles the register's files into the block of bytes that the matcher reads (`tables.rs`).
//!
//! In: the files of a data folder. Out: bytes, always the same for the same files. Refuses what would make a look-up
//! ambiguous: a number or a name given twice, two rules with one pattern, a pattern without tokens. What is only poor data
//! is a finding of `lint.rs` instead.

mod providers;
pub(crate) mod source;
mod words;

use std::collections::{BTreeMap, HashMap};

use zerocopy::little_endian::{I32, U16, U32};

use source::{FamiliesFile, FamilyEntry, ModelEntry, ProvidersFile, RegisterFile, WordsFile};
pub use source::{SourceError, Sources};

use crate::lexicon::{Node, flag};
use crate::tables::{
    Condition, Draft, Family, ModelRow, NONE, Organisation, PeriodRow, Rule, Span, Text, condition_kind,
    rule_flag,
};
use crate::token::{Kind, Pieces};
use crate::{Day, Openness};
use words::Words;

/// Weight of a word in a pattern; a whole word always weighs more than the conditions without one.
const WORD_WEIGHT: u8 = 4;
const SIZED_WEIGHT: u8 = 2;
const ENDS_WEIGHT: u8 = 1;
/// The first day of a model without dated periods.
const ALWAYS: Day = Day(i32::MIN);

/// Why the data files make no register.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A file is not TOML, or has an unknown field or a value of the wrong kind.
    #[error("{file}: {source}")]
    Parse {
        /// The file.
        file: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The register's version.
    #[error("register.toml: version: write yyyy.mm.dd-n, not {0}")]
    Version(String),
    /// A model's number.
    #[error("model number {0} is given twice, or is 0; `catalog lint --allot` gives free numbers")]
    ModelNumber(u32),
    /// A model or provider without a number.
    #[error("{0} has no number; `catalog lint --allot` gives it one")]
    NoNumber(String),
    /// A provider's number.
    #[error("provider number {0} is given twice, or is 0")]
    ProviderNumber(u16),
    /// A model without a class.
    #[error("{0}: no openness, no period and no contested note")]
    NoOpenness(String),
    /// A pattern that matches nothing.
    #[error("{0}: pattern without a word, or with a word after a condition: {1:?}")]
    Pattern(String, String),
    /// Two models that cannot be told apart.
    #[error("{0} and {1} have one pattern: {2:?}")]
    EqualPatterns(String, String, String),
    /// A name that must be unique.
    #[error("{0} is given twice among labels, hosts or organisations")]
    Twice(String),
    /// A provider that names what is not there.
    #[error("provider {0}: there is no {1} in the register")]
    UnknownName(String, String),
    /// More rows than a number of 16 bits counts.
    #[error("the register has outgrown its numbers: {0}")]
    TooMany(&'static str),
}

/// Compiles `sources`.
///
/// # Errors
/// The files make no register.
pub fn compile(sources: &Sources) -> Result<Vec<u8>, CompileError> {
    let register: RegisterFile = parse("register.toml", &sources.register)?;
    let words: WordsFile = parse("words.toml", &sources.words)?;
    let mut builder = Builder::default();
    builder.words(&words)?;
    for (name, text) in &sources.families {
        builder.file(parse(name, text)?)?;
    }
    let providers: ProvidersFile = parse("providers.toml", &sources.providers)?;
    builder.draft.version = version(&register.version)?;
    builder.draft.facts_until = register.facts_until.0.0;
    builder.finish(providers)
}

/// Parses one file.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, CompileError> {
    toml::from_str(text)
        .map_err(|source| CompileError::Parse { file: file.to_owned(), source: Box::new(source) })
}

/// `yyyy.mm.dd-n` as `yyyymmdd * 100 + n`.
fn version(text: &str) -> Result<u32, CompileError> {
    let refuse = || CompileError::Version(text.to_owned());
    let (date, counter) = text.split_once('-').ok_or_else(refuse)?;
    let digits: String = date.split('.').collect();
    match (digits.len(), digits.parse::<u32>(), counter.parse::<u32>()) {
        (8, Ok(date), Ok(counter)) if counter < 100 => Ok(date * 100 + counter),
        _ => Err(refuse()),
    }
}

/// All letters, each text once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    places: HashMap<String, Text>,
}

impl Texts {
    /// The place of `text`.
    fn add(&mut self, text: &str) -> Result<Text, CompileError> {
        if let Some(place) = self.places.get(text) {
            return Ok(*place);
        }
        let length = index(text.len(), "letters of a text")?;
        let place = Text { start: U32::new(self.bytes.len() as u32), length: U16::new(length) };
        self.bytes.extend_from_slice(text.as_bytes());
        self.places.insert(text.to_owned(), place);
        Ok(place)
    }

    /// The bytes at a place that `add` gave.
    fn bytes_of(&self, place: Text) -> &[u8] {
        let start = place.start.get() as usize;
        &self.bytes[start..start + usize::from(place.length.get())]
    }
}

/// A rule, where it ends in the trie and who gave it.
struct Placed {
    node: Node,
    rule: Rule,
    conditions: Vec<Condition>,
    owner: String,
    pattern: String,
}

/// What is gathered while the files are read.
struct Builder {
    draft: Draft,
    texts: Texts,
    words: Words,
    developers: Vec<String>,
    organisations: Vec<(String, Organisation)>,
    rules: Vec<Placed>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            draft: Draft::default(),
            texts: Texts::default(),
            words: Words::new(),
            developers: Vec::new(),
            organisations: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Builder {
    fn words(&mut self, words: &WordsFile) -> Result<(), CompileError> {
        for (list, bit) in [
            (&words.qualifiers, flag::QUALIFIER),
            (&words.hosts, flag::HOST),
            (&words.derived, flag::DERIVED),
        ] {
            for word in list {
                self.words.add(word.as_bytes(), bit)?;
            }
        }
        let family = index(self.draft.families.len(), "families")?;
        let developer = self.developer("")?;
        self.draft.families.push(Family { name: self.texts.add("")?, developer: U16::new(developer) });
        for pattern in &words.routers {
            self.pattern(
                pattern,
                Rule { flags: rule_flag::ROUTER | rule_flag::FAMILY, ..of_family(family) },
                "routers",
            )?;
        }
        Ok(())
    }

    fn file(&mut self, file: FamiliesFile) -> Result<(), CompileError> {
        let developer = self.developer(&file.developer)?;
        for (names, sized) in [(&file.organisations, 0), (&file.organisations_sized, 1)] {
            for name in names {
                let name = name.to_ascii_lowercase();
                let row = Organisation {
                    name: self.texts.add(&name)?,
                    developer: U16::new(developer),
                    openness: file.organisations_openness as u8,
                    sized,
                };
                self.organisations.push((name, row));
            }
        }
        for family in file.family {
            let own = family.developer.clone();
            let number = own.as_deref().map_or(Ok(developer), |name| self.developer(name))?;
            self.family(number, &family)?;
        }
        Ok(())
    }

    fn family(&mut self, developer: u16, entry: &FamilyEntry) -> Result<(), CompileError> {
        let family = index(self.draft.families.len(), "families")?;
        let name = self.texts.add(&entry.id)?;
        self.draft.families.push(Family { name, developer: U16::new(developer) });
        let bit = |set, bit| if set { bit } else { 0 };
        for pattern in &entry.brand {
            let flags = bit(entry.weak, rule_flag::WEAK) | rule_flag::FAMILY;
            let rule = Rule { flags, ..of_family(family) };
            self.pattern(pattern, rule, &entry.id)?;
        }
        for model in &entry.model {
            // Rows are sorted by number at the end; until then a rule names the place at which its model was read.
            let place = index(self.draft.models.len(), "models")?;
            let (row, periods) = self.model(family, entry, model)?;
            let closed = model.contested.is_none() && periods.iter().all(|class| *class == Openness::Closed);
            let flags = bit(entry.weak || model.weak, rule_flag::WEAK)
                | bit(model.alias, rule_flag::ALIAS)
                | bit(periods.iter().any(|class| class.is_open()), rule_flag::OPEN)
                | bit(closed && !model.sized, rule_flag::NEVER_SIZED);
            self.draft.models.push(row);
            for pattern in &model.patterns {
                self.pattern(
                    pattern,
                    Rule { names: U16::new(place), flags, ..Rule::default() },
                    &model.name,
                )?;
            }
        }
        Ok(())
    }

    /// The row of a model, and its classes.
    fn model(
        &mut self,
        family_row: u16,
        family: &FamilyEntry,
        entry: &ModelEntry,
    ) -> Result<(ModelRow, Vec<Openness>), CompileError> {
        let licence = entry.licence.as_deref().or(family.licence.as_deref()).unwrap_or_default();
        let mut periods: Vec<(Day, Openness, &str)> = Vec::new();
        if entry.contested.is_some() && entry.period.is_empty() {
            periods.push((ALWAYS, Openness::Unknown, licence));
        } else if entry.period.is_empty() {
            let openness = entry.openness.or(family.openness);
            periods.push((
                ALWAYS,
                openness.ok_or_else(|| CompileError::NoOpenness(entry.name.clone()))?,
                licence,
            ));
        }
        for period in &entry.period {
            periods.push((period.from.0, period.openness, period.licence.as_deref().unwrap_or_default()));
        }
        periods.sort_by_key(|(from, ..)| *from);
        let periods_start = self.draft.periods.len();
        for (from, openness, licence) in &periods {
            let licence = self.texts.add(licence)?;
            self.draft.periods.push(PeriodRow { from: I32::new(from.0), openness: *openness as u8, licence });
        }
        let sources_start = self.draft.sources.len();
        for source in if entry.source.is_empty() { &family.source } else { &entry.source } {
            let source = self.texts.add(source)?;
            self.draft.sources.push(source);
        }
        let row = ModelRow {
            id: U32::new(entry.id.ok_or_else(|| CompileError::NoNumber(entry.name.clone()))?),
            name: self.texts.add(&entry.name)?,
            family: U16::new(family_row),
            periods: span(periods_start, self.draft.periods.len(), "periods")?,
            contested: self.texts.add(entry.contested.as_deref().unwrap_or_default())?,
            sources: span(sources_start, self.draft.sources.len(), "sources")?,
        };
        Ok((row, periods.into_iter().map(|(_, openness, _)| openness).collect()))
    }

    /// Adds every reading of a pattern.
    fn pattern(&mut self, pattern: &str, rule: Rule, owner: &str) -> Result<(), CompileError> {
        let refuse = || CompileError::Pattern(owner.to_owned(), pattern.to_owned());
        for reading in readings(pattern) {
            let mut node: Node = 0;
            let (mut rule, mut conditions, mut length) = (rule, Vec::new(), 0);
            let condition = |kind| Condition { kind, symbol: U16::new(0) };
            let mut words = reading.iter();
            while let Some(word) = words.next() {
                match *word {
                    "*" => {
                        let later = words.next().ok_or_else(refuse)?;
                        let symbol = U16::new(self.words.add(later.as_bytes(), 0)?);
                        conditions.push(Condition { kind: condition_kind::LATER, symbol });
                        rule.weight += WORD_WEIGHT;
                    }
                    "#b" => {
                        conditions.push(condition(condition_kind::SIZED));
                        rule.weight += SIZED_WEIGHT;
                    }
                    "$" => {
                        conditions.push(condition(condition_kind::ENDS));
                        rule.weight += ENDS_WEIGHT;
                    }
                    "!" => {
                        conditions.push(condition(condition_kind::LAST));
                        rule.weight += ENDS_WEIGHT;
                    }
                    _ if conditions.is_empty() => {
                        for piece in Pieces::of(word.as_bytes()) {
                            let symbol = self.words.add(&word.as_bytes()[piece.start..piece.end], 0)?;
                            node = self.words.edge(node, symbol)?;
                            rule.weight += WORD_WEIGHT;
                            length += 1;
                            if piece.kind != Kind::Word {
                                rule.flags |= rule_flag::VERSIONED;
                            }
                        }
                    }
                    _ => return Err(refuse()),
                }
            }
            if length == 0 {
                return Err(refuse());
            }
            let (owner, pattern) = (owner.to_owned(), reading.join(" "));
            self.rules.push(Placed { node, rule, conditions, owner, pattern });
        }
        Ok(())
    }

    fn developer(&mut self, name: &str) -> Result<u16, CompileError> {
        if let Some(place) = self.developers.iter().position(|known| known == name) {
            return index(place, "developers");
        }
        self.developers.push(name.to_owned());
        let text = self.texts.add(name)?;
        self.draft.developers.push(text);
        index(self.developers.len() - 1, "developers")
    }

    /// Sorts what was gathered into the tables.
    fn finish(mut self, providers: ProvidersFile) -> Result<Vec<u8>, CompileError> {
        let nodes = self.words.write(&mut self.texts, &mut self.draft)?;
        self.rules.iter_mut().for_each(|placed| placed.node = nodes[usize::from(placed.node)]);
        let order = by_number(&self.draft.models)?;
        self.draft.models.sort_by_key(|model| model.id.get());
        self.write_rules(&order)?;
        self.organisations.sort_by(|one, two| one.0.cmp(&two.0));
        if let Some(pair) = self.organisations.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(CompileError::Twice(pair[0].0.clone()));
        }
        self.draft.organisations = self.organisations.iter().map(|(_, row)| *row).collect();
        providers::write(providers, &self.developers, &mut self.texts, &mut self.draft)?;
        self.draft.text = std::mem::take(&mut self.texts.bytes);
        Ok(self.draft.to_bytes())
    }

    fn write_rules(&mut self, order: &[u16]) -> Result<(), CompileError> {
        // Equal weight at one node: the maker's own order in the file decides, so the sort is stable.
        self.rules.sort_by_key(|placed| (placed.node, u8::MAX - placed.rule.weight));
        for pair in self.rules.windows(2) {
            if pair[0].node == pair[1].node && pair[0].conditions == pair[1].conditions {
                let (one, two) = (pair[0].owner.clone(), pair[1].owner.clone());
                return Err(CompileError::EqualPatterns(one, two, pair[0].pattern.clone()));
            }
        }
        let draft = &mut self.draft;
        for placed in &self.rules {
            while draft.rules_at.len() <= usize::from(placed.node) {
                draft.rules_at.push(U16::new(index(draft.rules.len(), "rules")?));
            }
            let conditions_start = draft.conditions.len();
            draft.conditions.extend(&placed.conditions);
            let conditions = span(conditions_start, draft.conditions.len(), "conditions")?;
            let names = match placed.rule.names.get() {
                family if placed.rule.has(rule_flag::FAMILY) => family,
                place => order[usize::from(place)],
            };
            draft.rules.push(Rule { names: U16::new(names), conditions, ..placed.rule });
        }
        while draft.rules_at.len() <= draft.node_symbols.len() {
            draft.rules_at.push(U16::new(index(draft.rules.len(), "rules")?));
        }
        Ok(())
    }
}

/// A rule of a family, without a prefix yet.
fn of_family(family: u16) -> Rule {
    Rule { names: U16::new(family), ..Rule::default() }
}

/// Every way to choose among the alternatives (`a|b`) of a pattern.
pub(crate) fn readings(pattern: &str) -> Vec<Vec<&str>> {
    let mut readings = vec![Vec::new()];
    for word in pattern.split_ascii_whitespace() {
        readings = readings
            .into_iter()
            .flat_map(|start: Vec<&str>| {
                word.split('|').map(move |choice| [start.as_slice(), &[choice]].concat())
            })
            .collect();
    }
    readings
}

/// The place of each model once they are sorted by number.
fn by_number(models: &[ModelRow]) -> Result<Vec<u16>, CompileError> {
    let mut numbers = BTreeMap::new();
    for (place, model) in models.iter().enumerate() {
        let id = model.id.get();
        if id == 0 || numbers.insert(id, place).is_some() {
            return Err(CompileError::ModelNumber(id));
        }
    }
    let mut order = vec![0; models.len()];
    for (sorted, place) in numbers.into_values().enumerate() {
        order[place] = index(sorted, "models")?;
    }
    Ok(order)
}

fn span(start: usize, end: usize, what: &'static str) -> Result<Span, CompileError> {
    Ok(Span { start: U16::new(index(start, what)?), count: U16::new(index(end - start, what)?) })
}

/// A place as the tables hold it.
pub(crate) fn index(place: usize, what: &'static str) -> Result<u16, CompileError> {
    match u16::try_from(place) {
        Ok(place) if place < NONE => Ok(place),
        _ => Err(CompileError::TooMany(what)),
    }
}
