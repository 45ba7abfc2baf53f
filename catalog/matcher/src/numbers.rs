//! The permanent numbers of models and providers.
//!
//! `numbers.csv` holds every number ever allotted, one `kind,number,name` a line, oldest first; lines are only added. A
//! line with the number of an earlier one renames it, or retires it when the name is empty. A retired number is never given
//! again. Model numbers go by file: a file's numbers stay within one thousand, so that a reader sees whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use crate::compile::parse;
use crate::compile::source::{FamiliesFile, ProvidersFile};
use crate::{CompileError, SourceError, Sources};

/// Numbers of one file.
const BLOCK: u32 = 1_000;
const HEADER: &str = "kind,number,name";

/// A model or provider as `numbers.csv` tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Model,
    Provider,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Model => "model",
            Kind::Provider => "provider",
        }
    }
}

type Numbers = BTreeMap<(Kind, u32), String>;

/// Why numbers cannot be allotted.
#[derive(Debug, thiserror::Error)]
pub enum AllotError {
    /// The files.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] SourceError),
    /// A file is not TOML.
    #[error("{file}: {source}")]
    Parse {
        /// The file.
        file: String,
        /// Where and why.
        source: toml_edit::TomlError,
    },
    /// A thousand numbers are used up.
    #[error("{0}: all numbers of its thousand are used; begin a second file for this developer")]
    Full(String),
}

/// A number that was allotted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotted {
    /// `model` or `provider`.
    pub kind: &'static str,
    /// The number.
    pub number: u32,
    /// Whose it is.
    pub name: String,
}

/// What `numbers.csv` says of each number now; an empty name is retired.
fn listed(text: &str) -> Result<Numbers, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("numbers.csv: write {HEADER} as the first line"));
    }
    let mut numbers = Numbers::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let mut fields = line.splitn(3, ',');
        let kind = match fields.next() {
            Some("model") => Some(Kind::Model),
            Some("provider") => Some(Kind::Provider),
            _ => None,
        };
        let number = fields.next().and_then(|number| number.parse().ok());
        let (Some(kind), Some(number), Some(name)) = (kind, number, fields.next()) else {
            return Err(format!("numbers.csv: write {HEADER}, not {line}"));
        };
        numbers.insert((kind, number), name.to_owned());
    }
    Ok(numbers)
}

/// The numbers in the data.
fn given(sources: &Sources) -> Result<Numbers, CompileError> {
    let mut numbers = Numbers::new();
    for (file, text) in &sources.families {
        let file: FamiliesFile = parse(file, text)?;
        for model in file.family.into_iter().flat_map(|family| family.model) {
            if let Some(id) = model.id {
                numbers.insert((Kind::Model, id), model.name);
            }
        }
    }
    let providers: ProvidersFile = parse("providers.toml", &sources.providers)?;
    for provider in providers.provider {
        if let Some(id) = provider.id {
            numbers.insert((Kind::Provider, id.into()), provider.name);
        }
    }
    Ok(numbers)
}

/// Where the data and `numbers.csv` do not agree.
pub(crate) fn check(sources: &Sources) -> Result<Vec<String>, CompileError> {
    let listed = match listed(&sources.numbers) {
        Ok(listed) => listed,
        Err(finding) => return Ok(vec![finding]),
    };
    let given = given(sources)?;
    let mut findings = Vec::new();
    for ((kind, number), name) in &given {
        let kind = (*kind, *number);
        let label = kind.0.as_str();
        match listed.get(&kind) {
            None => findings.push(format!(
                "{name}: {label} number {number} was never allotted; `catalog lint --allot` notes it"
            )),
            Some(was) if was.is_empty() => findings.push(format!(
                "{name}: {label} number {number} was retired; take the number out, `catalog lint --allot` gives another"
            )),
            Some(was) if was != name => findings.push(format!(
                "{name}: {label} number {number} belongs to {was}; add the line {label},{number},{name} to numbers.csv if it was renamed"
            )),
            Some(_) => {}
        }
    }
    for ((kind, number), name) in
        listed.iter().filter(|(key, name)| !name.is_empty() && !given.contains_key(key))
    {
        let label = kind.as_str();
        findings.push(format!(
            "{label} number {number} ({name}) is gone; add the line {label},{number}, to numbers.csv to retire it"
        ));
    }
    Ok(findings)
}

/// Gives a number to every model and provider of `folder` that has none, and notes in `numbers.csv` every number that is
/// not there yet. Nothing else of the files is changed.
///
/// # Errors
/// A file cannot be read, is not TOML, or has no free number left. Files before it may have been written.
pub fn allot(folder: &Path) -> Result<Vec<Allotted>, AllotError> {
    let sources = Sources::read(folder)?;
    let listed = listed(&sources.numbers).unwrap_or_default();
    let mut used: BTreeSet<(Kind, u32)> =
        listed.keys().copied().chain(given(&sources)?.into_keys()).collect();
    for (name, text) in &sources.families {
        let mut document = edited(name, text)?;
        if number_models(name, &mut document, &mut used)? {
            write(&folder.join("families").join(name), &document.to_string())?;
        }
    }
    let mut document = edited("providers.toml", &sources.providers)?;
    if number_providers(&mut document, &mut used)? {
        write(&folder.join("providers.toml"), &document.to_string())?;
    }
    let after = given(&Sources::read(folder)?)?;
    let new: Vec<Allotted> = after
        .into_iter()
        .filter(|(key, _)| !listed.contains_key(key))
        .map(|((kind, number), name)| Allotted { kind: kind.as_str(), number, name })
        .collect();
    if !new.is_empty() {
        let mut text = sources.numbers.trim_end().to_owned();
        text.push('\n');
        for Allotted { kind, number, name } in &new {
            text.push_str(&format!("{kind},{number},{name}\n"));
        }
        write(&folder.join("numbers.csv"), &text)?;
    }
    Ok(new)
}

fn edited(file: &str, text: &str) -> Result<DocumentMut, AllotError> {
    text.parse().map_err(|source| AllotError::Parse { file: file.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), AllotError> {
    std::fs::write(path, text).map_err(|source| SourceError { path: path.to_owned(), source }.into())
}

fn number_models(
    file: &str,
    document: &mut DocumentMut,
    used: &mut BTreeSet<(Kind, u32)>,
) -> Result<bool, AllotError> {
    let families = document.get_mut("family").and_then(Item::as_array_of_tables_mut);
    let models: Vec<&mut Table> = families
        .into_iter()
        .flat_map(|families| families.iter_mut())
        .filter_map(|family| family.get_mut("model").and_then(Item::as_array_of_tables_mut))
        .flat_map(|models| models.iter_mut())
        .collect();
    let own = models.iter().find_map(|model| number_of(model)).map(|number| number / BLOCK);
    let block = own.unwrap_or_else(|| {
        let last =
            used.iter().filter(|(kind, _)| *kind == Kind::Model).map(|(_, number)| number / BLOCK).max();
        last.unwrap_or(0) + 1
    });
    let mut changed = false;
    for model in models.into_iter().filter(|model| number_of(model).is_none()) {
        let taken = used.range((Kind::Model, block * BLOCK)..(Kind::Model, (block + 1) * BLOCK)).next_back();
        let number = taken.map_or(block * BLOCK, |(_, number)| *number) + 1;
        if number / BLOCK != block {
            return Err(AllotError::Full(file.to_owned()));
        }
        give(model, number);
        used.insert((Kind::Model, number));
        changed = true;
    }
    Ok(changed)
}

fn number_providers(
    document: &mut DocumentMut,
    used: &mut BTreeSet<(Kind, u32)>,
) -> Result<bool, AllotError> {
    let mut changed = false;
    let providers = document.get_mut("provider").and_then(Item::as_array_of_tables_mut);
    for provider in providers.into_iter().flat_map(|providers| providers.iter_mut()) {
        if number_of(provider).is_none() {
            let last = used.range((Kind::Provider, 0)..).next_back().map_or(0, |(_, number)| *number);
            let number =
                u32::from(u16::try_from(last + 1).map_err(|_| CompileError::TooMany("provider numbers"))?);
            give(provider, number);
            used.insert((Kind::Provider, number));
            changed = true;
        }
    }
    Ok(changed)
}

fn number_of(table: &Table) -> Option<u32> {
    table.get("id").and_then(Item::as_integer).and_then(|number| u32::try_from(number).ok())
}

/// Writes the number as the first key, as every entry has it, in the indentation of the others.
fn give(table: &mut Table, number: u32) {
    let indent = table.iter().next().and_then(|(key, _)| {
        table
            .key(key)
            .and_then(|key| key.leaf_decor().prefix().and_then(|prefix| prefix.as_str().map(str::to_owned)))
    });
    table.insert("id", value(i64::from(number)));
    if let (Some(indent), Some(mut key)) = (indent, table.key_mut("id")) {
        key.leaf_decor_mut().set_prefix(indent);
    }
    table.sort_values_by(|one, _, two, _| (two.get() == "id").cmp(&(one.get() == "id")));
}
