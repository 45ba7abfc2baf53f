//! Builds the register and the matcher's tables from the data files, once per process.
//!
//! Refuses what would make a look-up ambiguous: a number or a name given twice, two rules with one pattern, a pattern
//! without tokens. What is only poor data is a finding of `Catalogue::lint` instead.

use std::collections::BTreeMap;

use crate::data::{FamiliesFile, FamilyEntry, ModelEntry, ProvidersFile, RegisterFile, WordsFile};
use crate::embedded;
use crate::hosting::Providers;
use crate::lexicon::{Lexicon, Node, flag};
use crate::matcher::{Condition, Family, Matcher, Organisation, Rule};
use crate::register::Period;
use crate::token::{Kind, tokenise};
use crate::{Catalogue, CatalogueVersion, Day, Model, ModelId, Openness};

/// Weight of a word in a pattern; a whole word always weighs more than the conditions without one.
const WORD_WEIGHT: u8 = 4;
const SIZED_WEIGHT: u8 = 2;
const ENDS_WEIGHT: u8 = 1;
/// The first day of a model without dated periods.
const ALWAYS: Day = Day(i32::MIN);

/// Why the data files make no register.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{file}: {source}")]
    Parse { file: &'static str, source: Box<toml::de::Error> },
    #[error("version is not yyyy.mm.dd-n: {0}")]
    Version(String),
    #[error("model number {0} is given twice, or is 0")]
    ModelNumber(u32),
    #[error("provider number {0} is given twice, or is 0")]
    ProviderNumber(u16),
    #[error("{0}: no openness, no period and no contested note")]
    NoOpenness(String),
    #[error("{0}: pattern without a word, or with a word after a condition: {1:?}")]
    Pattern(String, String),
    #[error("{0} and {1} have one pattern: {2:?}")]
    EqualPatterns(String, String, String),
    #[error("{0} is given twice among labels, hosts or organisations")]
    Twice(String),
    #[error("the register has outgrown its numbers: {0}")]
    TooMany(&'static str),
}

/// A pattern's place and conditions, with who gave it.
struct Draft {
    node: Node,
    rule: Rule,
    owner: String,
    pattern: String,
}

/// What is gathered while the files are read.
struct Builder {
    lexicon: Lexicon,
    models: Vec<Model>,
    families: Vec<Family>,
    developers: Vec<String>,
    organisations: Vec<Organisation>,
    drafts: Vec<Draft>,
}

/// Builds the register from the embedded files.
pub(crate) fn catalogue() -> Result<Catalogue, BuildError> {
    let register: RegisterFile = parse("register.toml", embedded::REGISTER)?;
    let words: WordsFile = parse("words.toml", embedded::WORDS)?;
    let mut builder = Builder {
        lexicon: Lexicon::new(),
        models: Vec::new(),
        families: Vec::new(),
        developers: Vec::new(),
        organisations: Vec::new(),
        drafts: Vec::new(),
    };
    builder.words(&words)?;
    for (name, text) in embedded::FAMILIES {
        builder.file(parse(name, text)?)?;
    }
    let providers: ProvidersFile = parse("providers.toml", embedded::PROVIDERS)?;
    let developers = std::mem::take(&mut builder.developers);
    let (models, matcher) = builder.finish()?;
    Ok(Catalogue {
        version: version(&register.version)?,
        facts_until: register.facts_until.0,
        models,
        matcher,
        providers: Providers::build(providers, &developers)?,
    })
}

/// Parses one embedded file.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &'static str, text: &str) -> Result<T, BuildError> {
    toml::from_str(text).map_err(|source| BuildError::Parse { file, source: Box::new(source) })
}

/// `yyyy.mm.dd-n` as `yyyymmdd * 100 + n`.
fn version(text: &str) -> Result<CatalogueVersion, BuildError> {
    let refuse = || BuildError::Version(text.to_owned());
    let (date, counter) = text.split_once('-').ok_or_else(refuse)?;
    let digits: String = date.split('.').collect();
    match (digits.len(), digits.parse::<u32>(), counter.parse::<u32>()) {
        (8, Ok(date), Ok(counter)) if counter < 100 => Ok(CatalogueVersion(date * 100 + counter)),
        _ => Err(refuse()),
    }
}

impl Builder {
    fn words(&mut self, words: &WordsFile) -> Result<(), BuildError> {
        for (list, bit) in [
            (&words.qualifiers, flag::QUALIFIER),
            (&words.hosts, flag::HOST),
            (&words.derived, flag::DERIVED),
        ] {
            for word in list {
                self.lexicon.add_word(word.as_bytes(), bit);
            }
        }
        let family = index(self.families.len(), "families")?;
        let developer = self.developer("")?;
        self.families.push(Family { name: "", developer });
        for pattern in &words.routers {
            let rule = Rule { router: true, ..blank(family) };
            self.pattern(pattern, rule, "routers")?;
        }
        Ok(())
    }

    fn file(&mut self, file: FamiliesFile) -> Result<(), BuildError> {
        let developer = self.developer(&file.developer)?;
        for (names, sized) in [(&file.organisations, false), (&file.organisations_sized, true)] {
            for name in names {
                let openness = file.organisations_openness;
                self.organisations.push(Organisation {
                    name: name.to_ascii_lowercase(),
                    openness,
                    developer,
                    sized,
                });
            }
        }
        for family in file.family {
            let own = family.developer.clone();
            let number = own.as_deref().map_or(Ok(developer), |name| self.developer(name))?;
            self.family(own.as_deref().unwrap_or(&file.developer), number, family)?;
        }
        Ok(())
    }

    fn family(&mut self, developer: &str, number: u16, entry: FamilyEntry) -> Result<(), BuildError> {
        let family = index(self.families.len(), "families")?;
        // Leaked once per process: classifications hand out the name for as long as the process lives.
        let name: &'static str = Box::leak(entry.id.clone().into_boxed_str());
        self.families.push(Family { name, developer: number });
        for pattern in &entry.brand {
            let rule = Rule { weak: entry.weak, ..blank(family) };
            self.pattern(pattern, rule, &entry.id)?;
        }
        for model in &entry.model {
            let place = index(self.models.len(), "models")?;
            let built = build_model(developer, &entry, model)?;
            let closed =
                model.contested.is_none() && built.periods.iter().all(|p| p.openness == Openness::Closed);
            let rule = Rule {
                model: Some(place),
                weak: entry.weak || model.weak,
                alias: model.alias,
                open: built.periods.iter().any(|period| period.openness.is_open()),
                never_sized: closed && !model.sized,
                ..blank(family)
            };
            self.models.push(built);
            for pattern in &model.patterns {
                self.pattern(pattern, Rule { conditions: Vec::new(), ..rule }, &model.name)?;
            }
        }
        Ok(())
    }

    /// Adds every reading of a pattern.
    fn pattern(&mut self, pattern: &str, rule: Rule, owner: &str) -> Result<(), BuildError> {
        let refuse = || BuildError::Pattern(owner.to_owned(), pattern.to_owned());
        for reading in readings(pattern) {
            let mut node: Node = 0;
            let mut rule = Rule { conditions: Vec::new(), ..rule };
            let mut words = reading.iter();
            while let Some(word) = words.next() {
                match *word {
                    "*" => {
                        let later = words.next().ok_or_else(refuse)?;
                        rule.conditions.push(Condition::Later(self.lexicon.add_word(later.as_bytes(), 0)));
                        rule.weight += WORD_WEIGHT;
                    }
                    "#b" => {
                        rule.conditions.push(Condition::Sized);
                        rule.weight += SIZED_WEIGHT;
                    }
                    "$" => {
                        rule.conditions.push(Condition::Ends);
                        rule.weight += ENDS_WEIGHT;
                    }
                    "!" => {
                        rule.conditions.push(Condition::Last);
                        rule.weight += ENDS_WEIGHT;
                    }
                    _ if rule.conditions.is_empty() => {
                        tokenise(word.as_bytes(), |piece| {
                            let symbol = self.lexicon.add_word(&word.as_bytes()[piece.start..piece.end], 0);
                            node = self.lexicon.add_edge(node, symbol);
                            rule.weight += WORD_WEIGHT;
                            rule.length += 1;
                            rule.versioned |= piece.kind != Kind::Word;
                        });
                    }
                    _ => return Err(refuse()),
                }
            }
            if rule.length == 0 {
                return Err(refuse());
            }
            let draft = Draft { node, rule, owner: owner.to_owned(), pattern: reading.join(" ") };
            self.drafts.push(draft);
        }
        Ok(())
    }

    fn developer(&mut self, name: &str) -> Result<u16, BuildError> {
        if let Some(place) = self.developers.iter().position(|known| known == name) {
            return index(place, "developers");
        }
        self.developers.push(name.to_owned());
        index(self.developers.len() - 1, "developers")
    }

    /// Sorts what was gathered into the tables.
    fn finish(mut self) -> Result<(Vec<Model>, Matcher), BuildError> {
        index(self.lexicon.nodes(), "nodes of the trie")?;
        index(self.lexicon.words(), "words")?;
        let order = by_number(&self.models)?;
        // Equal weight at one node: the maker's own order in the file decides, so the sort is stable.
        self.drafts.sort_by_key(|draft| (draft.node, u8::MAX - draft.rule.weight));
        for pair in self.drafts.windows(2) {
            if pair[0].node == pair[1].node && pair[0].rule.conditions == pair[1].rule.conditions {
                let (one, two) = (pair[0].owner.clone(), pair[1].owner.clone());
                return Err(BuildError::EqualPatterns(one, two, pair[0].pattern.clone()));
            }
        }
        let mut rules_at = vec![(0, 0); self.lexicon.nodes()];
        let mut rules = Vec::with_capacity(self.drafts.len());
        for draft in self.drafts {
            let place = index(rules.len(), "rules")?;
            let range = &mut rules_at[usize::from(draft.node)];
            if range.1 == 0 {
                range.0 = place;
            }
            range.1 = place + 1;
            let model = draft.rule.model.map(|model| order[usize::from(model)]);
            rules.push(Rule { model, ..draft.rule });
        }
        self.organisations.sort_by(|one, two| one.name.cmp(&two.name));
        if let Some(pair) = self.organisations.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(BuildError::Twice(pair[0].name.clone()));
        }
        self.models.sort_by_key(|model| model.id);
        let Builder { lexicon, models, families, organisations, .. } = self;
        Ok((models, Matcher { lexicon, rules, rules_at, families, organisations }))
    }
}

/// A rule without a prefix yet.
fn blank(family: u16) -> Rule {
    Rule {
        model: None,
        family,
        conditions: Vec::new(),
        weight: 0,
        length: 0,
        versioned: false,
        weak: false,
        alias: false,
        router: false,
        open: false,
        never_sized: false,
    }
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

fn build_model(developer: &str, family: &FamilyEntry, entry: &ModelEntry) -> Result<Model, BuildError> {
    let licence = entry.licence.as_deref().or(family.licence.as_deref()).unwrap_or_default();
    let mut periods = Vec::new();
    if entry.contested.is_some() && entry.period.is_empty() {
        periods.push(Period { from: ALWAYS, openness: Openness::Unknown, licence: licence.to_owned() });
    } else if entry.period.is_empty() {
        let openness =
            entry.openness.or(family.openness).ok_or_else(|| BuildError::NoOpenness(entry.name.clone()))?;
        periods.push(Period { from: ALWAYS, openness, licence: licence.to_owned() });
    }
    for period in &entry.period {
        let licence = period.licence.as_deref().unwrap_or_default().to_owned();
        periods.push(Period { from: period.from.0, openness: period.openness, licence });
    }
    periods.sort_by_key(|period| period.from);
    Ok(Model {
        id: ModelId(entry.id),
        name: entry.name.clone(),
        family: family.id.clone(),
        developer: developer.to_owned(),
        periods,
        contested: entry.contested.clone(),
        sources: if entry.source.is_empty() { family.source.clone() } else { entry.source.clone() },
    })
}

/// The place of each model once they are sorted by number.
fn by_number(models: &[Model]) -> Result<Vec<u16>, BuildError> {
    let mut numbers = BTreeMap::new();
    for (place, model) in models.iter().enumerate() {
        if model.id == ModelId::UNLISTED || numbers.insert(model.id, place).is_some() {
            return Err(BuildError::ModelNumber(model.id.0));
        }
    }
    let mut order = vec![0; models.len()];
    for (sorted, place) in numbers.into_values().enumerate() {
        order[place] = index(sorted, "models")?;
    }
    Ok(order)
}

/// A place as the tables hold it.
pub(crate) fn index(place: usize, what: &'static str) -> Result<u16, BuildError> {
    match u16::try_from(place) {
        Ok(place) if place < u16::MAX => Ok(place),
        _ => Err(BuildError::TooMany(what)),
    }
}
