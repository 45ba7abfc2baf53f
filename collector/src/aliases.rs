//! The contributor's own names for models: what a private name (`acme-prod-7`) serves.
//!
//! In: a YAML file that never leaves the edge.
//!
//! ```yaml
//! aliases:
//!   - name: acme-prod-7        # as the gateway tells it, with or without the provider before the first `/`
//!     model: llama-3.3         # name of a model in the register; `weighbridge-collector catalog export` lists them
//!     hosting: self_hosted     # optional; without it hosting comes from provider label and address as for any name
//! ```
//!
//! Out: a model of the register for a name. Guarantees: an alias wins over the register; what it says is checked when the
//! file is read, so a wrong file stops the start and names the entry and the fix.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weighbridge_catalog::{Catalogue, Hosting, ModelId};

/// Why a file of aliases is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// The file.
    #[error("aliases: {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML, an unknown field, a value of the wrong kind.
    #[error("aliases: {0}")]
    Parse(String),
    /// An entry.
    #[error("aliases: entry {number}: {fix}")]
    Entry {
        /// Which entry, from 1. Its name is private and not repeated.
        number: usize,
        /// What to write instead.
        fix: String,
    },
}

impl AliasError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            AliasError::Read { .. } => "aliases_read",
            AliasError::Parse(_) => "aliases_parse",
            AliasError::Entry { .. } => "aliases_entry",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    aliases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    model: String,
    hosting: Option<Hosting>,
}

/// What a private name serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The model.
    pub model: ModelId,
    /// Who runs it, if the contributor says so.
    pub hosting: Option<Hosting>,
}

/// All aliases, by name in lower case.
#[derive(Clone, Default)]
pub struct Aliases(HashMap<String, Alias>);

impl std::fmt::Debug for Aliases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aliases({} private names)", self.0.len())
    }
}

impl Aliases {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See `AliasError`.
    pub fn load(path: &Path, catalogue: &Catalogue) -> Result<Aliases, AliasError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AliasError::Read { path: path.to_path_buf(), source })?;
        Aliases::parse(&text, catalogue)
    }

    /// Parses and checks a text.
    ///
    /// # Errors
    /// See `AliasError`.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Aliases, AliasError> {
        let file: File =
            serde_saphyr::from_str(text).map_err(|error| AliasError::Parse(error.to_string()))?;
        let mut aliases = HashMap::with_capacity(file.aliases.len());
        for (index, entry) in file.aliases.into_iter().enumerate() {
            let fail = |fix: String| AliasError::Entry { number: index + 1, fix };
            let name = entry.name.trim().to_ascii_lowercase();
            if name.is_empty() {
                return Err(fail("name: write the name as the gateway tells it".to_owned()));
            }
            let model = catalogue.model_named(&entry.model).ok_or_else(|| {
                fail(format!(
                    "model: {} is not in the register; `weighbridge-collector catalog export` lists its names",
                    entry.model
                ))
            })?;
            let alias = Alias { model: model.id(), hosting: entry.hosting };
            if aliases.insert(name, alias).is_some() {
                return Err(fail("name: an earlier entry has it; leave one of them out".to_owned()));
            }
        }
        Ok(Aliases(aliases))
    }

    /// What `name` serves, if the contributor named it.
    pub fn get(&self, name: &str) -> Option<Alias> {
        if self.0.is_empty() {
            return None;
        }
        let name = name.trim().to_ascii_lowercase();
        let found = self.0.get(&name).or_else(|| name.split_once('/').and_then(|(_, rest)| self.0.get(rest)));
        found.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Aliases, AliasError> {
        Aliases::parse(text, weighbridge_catalog::embedded())
    }

    #[test]
    fn names_are_found_with_and_without_their_provider() {
        let aliases =
            parse("aliases: [{name: Acme-Prod-7, model: llama-3.3, hosting: self_hosted}]").unwrap();
        let llama = weighbridge_catalog::embedded().model_named("llama-3.3").unwrap().id();
        let expected = Some(Alias { model: llama, hosting: Some(Hosting::SelfHosted) });
        for name in ["acme-prod-7", "ACME-prod-7", "hosted_vllm/acme-prod-7", " acme-prod-7 "] {
            assert_eq!(aliases.get(name), expected, "{name}");
        }
        for name in ["acme-prod-8", "a/b/acme-prod-7", ""] {
            assert_eq!(aliases.get(name), None, "{name}");
        }
    }

    #[test]
    fn every_fault_names_the_entry_and_the_fix_but_no_private_name() {
        for (text, expected) in [
            (
                "aliases: [{name: secret-1, model: llama-99}]",
                "entry 1: model: llama-99 is not in the register",
            ),
            ("aliases: [{name: ' ', model: llama-3.3}]", "entry 1: name: write"),
            (
                "aliases: [{name: secret-1, model: llama-3.3}, {name: Secret-1, model: gpt-4o}]",
                "entry 2: name: an earlier entry has it",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        assert!(parse("aliases: [{name: a, model: gpt-4o, hosting: here}]").is_err());
        assert!(parse("aliases: [{name: a, model: gpt-4o, host: b}]").is_err());
    }

    #[test]
    fn debug_tells_no_name() {
        let aliases = parse("aliases: [{name: secret-1, model: gpt-4o}]").unwrap();
        assert_eq!(format!("{aliases:?}"), "Aliases(1 private names)");
    }
}
