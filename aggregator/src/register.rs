//! The register of models as tables of ClickHouse.
//!
//! In: the register of this binary, or a document that `weighbridge-collector catalog export` wrote. Out: the tables `models`,
//! `providers` and `model_periods`, each replaced whole in one step, and the dictionaries over them. A register older than
//! the one in a table never replaces it.

use std::path::{Path, PathBuf};

use tracing::info;
use weighbridge_catalog::{Day, Hosting, ModelExport, RegisterExport};

use crate::store::{Store, StoreError};

/// The tables of the register; each has a `*_stage` table beside it.
pub const TABLES: [&str; 3] = ["models", "providers", "model_periods"];
/// The dictionaries over them.
const DICTIONARIES: [&str; 3] = ["model_on_day", "model_by_id", "provider_by_id"];
/// Rows per INSERT of the register; a statement stays far below the server's limit of 256 KiB.
const ROWS: usize = 200;
/// First and last day of `Date32`.
const FIRST_DAY: &str = "1900-01-01";
const LAST_DAY: &str = "2299-12-31";

/// Why a register cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The file.
    #[error("register: {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not such a document.
    #[error("register: {path}: {reason}; write it with `weighbridge-collector catalog export`")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

impl RegisterError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            RegisterError::Read { .. } => "register_read",
            RegisterError::Parse { .. } => "register_parse",
        }
    }
}

/// The register in a file, or the one of this binary.
///
/// # Errors
/// The file cannot be read or is no register.
pub fn read(file: Option<&Path>) -> Result<RegisterExport, RegisterError> {
    let Some(path) = file else { return Ok(weighbridge_catalog::embedded().export()) };
    let bytes =
        std::fs::read(path).map_err(|source| RegisterError::Read { path: path.to_path_buf(), source })?;
    let refuse = |reason: String| RegisterError::Parse { path: path.to_path_buf(), reason };
    let register: RegisterExport =
        serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
    let days =
        register.models.iter().flat_map(|model| &model.periods).filter_map(|period| period.from.as_deref());
    for day in days {
        Day::from_text(day).ok_or_else(|| refuse(format!("{day} is no day")))?;
    }
    Ok(register)
}

/// Version of the register in a table, 0 if it is empty.
pub(crate) async fn version_in(store: &Store, table: &str) -> Result<u32, StoreError> {
    let sql = format!("SELECT max(catalogue_version) FROM {{database}}.{table}");
    Ok(store.rows::<u32>(&sql).await?.first().copied().unwrap_or(0))
}

/// Replaces the tables by `register`, unless they hold a newer one.
///
/// # Errors
/// ClickHouse refused, or cannot be reached. Run it again: each table is old or new.
pub(crate) async fn fill(store: &Store, register: &RegisterExport) -> Result<(), StoreError> {
    let version = register.version;
    for (table, rows) in TABLES.into_iter().zip([models(register), providers(register), periods(register)]) {
        if version_in(store, table).await? > version {
            info!(table, "holds a newer register, left as it is");
            continue;
        }
        store.run(&format!("TRUNCATE TABLE {{database}}.{table}_stage")).await?;
        for chunk in rows.chunks(ROWS) {
            store.run(&format!("INSERT INTO {{database}}.{table}_stage VALUES {}", chunk.join(", "))).await?;
        }
        let replace = format!(
            "ALTER TABLE {{database}}.{table} REPLACE PARTITION tuple() FROM {{database}}.{table}_stage"
        );
        store.run(&replace).await?;
        store.run(&format!("TRUNCATE TABLE {{database}}.{table}_stage")).await?;
        info!(table, rows = rows.len(), version, "register filled");
    }
    if store.is_replicated() {
        // A dictionary that is loaded before its server has the rows would keep the old ones.
        for table in TABLES {
            store.define(&format!("SYSTEM SYNC REPLICA {{database}}.{table}")).await?;
        }
    }
    for dictionary in DICTIONARIES {
        store.define(&format!("SYSTEM RELOAD DICTIONARY {{database}}.{dictionary}")).await?;
    }
    Ok(())
}

fn models(register: &RegisterExport) -> Vec<String> {
    let version = register.version;
    let unlisted = format!("(0, 'unlisted', 'unlisted', '', {version})");
    let row = |model: &ModelExport| {
        let (name, family, developer) = (quote(&model.name), quote(&model.family), quote(&model.developer));
        format!("({}, {name}, {family}, {developer}, {version})", model.id)
    };
    std::iter::once(unlisted).chain(register.models.iter().map(row)).collect()
}

fn providers(register: &RegisterExport) -> Vec<String> {
    let version = register.version;
    let unlisted = format!("(0, 'unlisted', '{}', {version})", Hosting::Unknown.as_str());
    let rows = register.providers.iter().map(|provider| {
        let (name, hosting) = (quote(&provider.name), provider.hosting.as_str());
        format!("({}, {name}, '{hosting}', {version})", provider.id)
    });
    std::iter::once(unlisted).chain(rows).collect()
}

/// One row a period; the first one also holds for all days before it, as in the register.
fn periods(register: &RegisterExport) -> Vec<String> {
    let mut rows = Vec::new();
    for model in &register.models {
        let contested = quote(model.contested.as_deref().unwrap_or_default());
        let sources: Vec<String> = model.sources.iter().map(|source| quote(source)).collect();
        for (index, period) in model.periods.iter().enumerate() {
            let from = period.from.as_deref().filter(|_| index > 0).unwrap_or(FIRST_DAY);
            let next = model.periods.get(index + 1).and_then(|next| next.from.as_deref());
            let until = next
                .and_then(Day::from_text)
                .map_or_else(|| LAST_DAY.to_owned(), |day| Day(day.0 - 1).to_string());
            rows.push(format!(
                "({}, '{from}', '{until}', '{}', {}, {contested}, [{}], {})",
                model.id,
                period.openness.as_str(),
                quote(&period.licence),
                sources.join(", "),
                register.version
            ));
        }
    }
    rows
}

/// A string literal of ClickHouse.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote(r"a'b\c"), r"'a\'b\\c'");
    }

    #[test]
    fn periods_leave_no_day_out() {
        let register = read(None).unwrap();
        let glm = register.models.iter().find(|model| model.name == "glm-5.3").unwrap().clone();
        let rows = periods(&RegisterExport { models: vec![glm], ..register });
        assert_eq!(rows.len(), 2);
        assert!(rows[0].contains("'1900-01-01', '2026-08-27', 'closed'"), "{}", rows[0]);
        assert!(rows[1].contains("'2026-08-28', '2299-12-31', 'open-restricted'"), "{}", rows[1]);
    }

    #[test]
    fn an_export_reads_back_and_anything_else_names_the_fix() {
        let folder = std::env::temp_dir().join(format!("weighbridge-register-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("register.json");
        let own = read(None).unwrap();
        std::fs::write(&path, serde_json::to_vec(&own).unwrap()).unwrap();
        assert_eq!(read(Some(&path)).unwrap(), own);
        std::fs::write(&path, "{}").unwrap();
        let error = read(Some(&path)).unwrap_err();
        assert!(error.to_string().contains("catalog export"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
