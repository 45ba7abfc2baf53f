//! The register's files, as they are written. Format, one developer per file in `data/families/`:
//!
//! ```toml
//! developer = "OpenAI"
//! organisations = ["openai"]       # publishes weights only: what no rule names is open with the class below
//! organisations-sized = [...]      # the same, but only names that tell a parameter count
//! organisations-openness = "open-permissive"
//!
//! [[family]]
//! id = "gpt"                       # what `Classification::family` says
//! developer = "OpenAI"             # only where one file holds several small developers
//! brand = ["gpt"]                  # the family is known, the model and its openness are not
//! weak = false                     # the brand is an ordinary word: every next word must be known
//! openness = "closed"              # what each model inherits
//! licence = "proprietary"
//! source = ["AA 2026-07-10"]       # why
//!   [[family.model]]
//!   id = 101                       # permanent; `catalog lint --allot` gives it
//!   name = "gpt-4o"
//!   match = ["gpt 4 o"]            # token lists, see below
//!   alias = false                  # a maker's moving name
//!   weak = false                   # these patterns are ordinary words
//!   sized = false                  # closed, and yet its names tell a parameter count
//!   contested = "why nobody can decide it" # openness is unknown, whatever the family says
//!     [[family.model.period]]      # replaces `openness` from that day on
//!     from = "2026-08-28"
//!     openness = "open-restricted"
//!     licence = "GLM-5.3 License"
//! ```
//!
//! A pattern is tokens in order, split like names (`token.rs`). `a|b` is either. After the tokens may follow `* word` (that
//! word later anywhere), `#b` (a parameter count later), `$` (nothing but qualifiers), `!` (nothing). The heaviest match wins.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Day, Hosting, Openness};

/// The files of a data folder.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `register.toml`.
    pub register: String,
    /// `words.toml`.
    pub words: String,
    /// `providers.toml`.
    pub providers: String,
    /// `numbers.csv`.
    pub numbers: String,
    /// `families/`: file name and text, by name.
    pub families: Vec<(String, String)>,
}

/// A data folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct SourceError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Sources {
    /// Reads `folder`.
    ///
    /// # Errors
    /// A file is missing or is not UTF-8.
    pub fn read(folder: &Path) -> Result<Sources, SourceError> {
        let text =
            |path: PathBuf| std::fs::read_to_string(&path).map_err(|source| SourceError { path, source });
        let families_folder = folder.join("families");
        let failed = |source| SourceError { path: families_folder.clone(), source };
        let mut families = Vec::new();
        for entry in std::fs::read_dir(&families_folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let name =
                    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                families.push((name, text(path)?));
            }
        }
        families.sort();
        Ok(Sources {
            register: text(folder.join("register.toml"))?,
            words: text(folder.join("words.toml"))?,
            providers: text(folder.join("providers.toml"))?,
            numbers: text(folder.join("numbers.csv"))?,
            families,
        })
    }
}

/// `data/register.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RegisterFile {
    pub(crate) version: String,
    pub(crate) facts_until: Date,
}

/// `data/words.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WordsFile {
    pub(crate) qualifiers: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) derived: Vec<String>,
    pub(crate) routers: Vec<String>,
}

/// One file of `data/families/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FamiliesFile {
    pub(crate) developer: String,
    #[serde(default)]
    pub(crate) organisations: Vec<String>,
    #[serde(default)]
    pub(crate) organisations_sized: Vec<String>,
    #[serde(default)]
    pub(crate) organisations_openness: Openness,
    #[serde(default)]
    pub(crate) family: Vec<FamilyEntry>,
}

/// A family.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FamilyEntry {
    pub(crate) id: String,
    pub(crate) developer: Option<String>,
    #[serde(default)]
    pub(crate) brand: Vec<String>,
    #[serde(default)]
    pub(crate) weak: bool,
    pub(crate) openness: Option<Openness>,
    pub(crate) licence: Option<String>,
    #[serde(default)]
    pub(crate) source: Vec<String>,
    #[serde(default)]
    pub(crate) model: Vec<ModelEntry>,
}

/// A model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ModelEntry {
    pub(crate) id: Option<u32>,
    pub(crate) name: String,
    #[serde(rename = "match")]
    pub(crate) patterns: Vec<String>,
    pub(crate) openness: Option<Openness>,
    pub(crate) licence: Option<String>,
    #[serde(default)]
    pub(crate) source: Vec<String>,
    #[serde(default)]
    pub(crate) alias: bool,
    #[serde(default)]
    pub(crate) weak: bool,
    #[serde(default)]
    pub(crate) sized: bool,
    pub(crate) contested: Option<String>,
    #[serde(default)]
    pub(crate) period: Vec<PeriodEntry>,
}

/// Openness from a day on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PeriodEntry {
    pub(crate) from: Date,
    pub(crate) openness: Openness,
    pub(crate) licence: Option<String>,
}

/// `data/providers.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProvidersFile {
    pub(crate) undecided_hosts: Vec<String>,
    pub(crate) schema_labels: Vec<String>,
    pub(crate) provider: Vec<ProviderEntry>,
}

/// A provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProviderEntry {
    pub(crate) id: Option<u16>,
    pub(crate) name: String,
    pub(crate) hosting: Hosting,
    pub(crate) developer: Option<String>,
    #[serde(default)]
    pub(crate) schema: bool,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    #[serde(default)]
    pub(crate) remote_suffix: Vec<String>,
    pub(crate) remote: Option<String>,
}

/// A day, written `yyyy-mm-dd`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Date(pub(crate) Day);

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        Day::from_text(&text).map(Date).ok_or_else(|| format!("not a day (yyyy-mm-dd): {text}"))
    }
}
