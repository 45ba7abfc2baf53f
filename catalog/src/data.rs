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
//!   id = 101                       # permanent
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

use serde::Deserialize;

use crate::{Day, Hosting, Openness};

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
    pub(crate) id: u32,
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
    pub(crate) id: u16,
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
        let mut parts = text.split('-').map(str::parse::<i32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None)
                if (1..=12).contains(&month) && (1..=31).contains(&day) =>
            {
                Ok(Date(Day::from_civil(year, month as u32, day as u32)))
            }
            _ => Err(format!("not a day (yyyy-mm-dd): {text}")),
        }
    }
}
