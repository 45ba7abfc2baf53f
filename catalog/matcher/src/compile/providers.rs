//! Compiles `providers.toml`.

use std::collections::BTreeSet;

use zerocopy::little_endian::U16;

use super::source::{ProviderEntry, ProvidersFile};
use super::words::{free, table_size};
use super::{CompileError, Texts, index};
use crate::hosting::normal_byte;
use crate::lexicon::hash_label;
use crate::tables::{Draft, NONE, Named, ProviderRow, Span};

/// Writes the sections of providers. `developers` are those of the families, by row.
pub(super) fn write(
    mut file: ProvidersFile,
    developers: &[String],
    texts: &mut Texts,
    draft: &mut Draft,
) -> Result<(), CompileError> {
    file.provider.sort_by_key(|provider| provider.id);
    if let Some(pair) = file.provider.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(CompileError::ProviderNumber(pair[1].id.unwrap_or(0)));
    }
    let (mut labels, mut hosts, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
    for (place, entry) in file.provider.iter().enumerate() {
        let row = index(place, "providers")?;
        draft.providers.push(provider(entry, &file.provider, developers, texts, &mut draft.remote_suffixes)?);
        labels.extend(std::iter::once(&entry.name).chain(&entry.labels).map(|label| (normal(label), row)));
        for host in &entry.hosts {
            let whole = !host.contains('*') && !host.starts_with('.');
            if whole { &mut hosts } else { &mut patterns }.push((host.clone(), row));
        }
    }
    labels.extend(file.schema_labels.iter().map(|label| (normal(label), NONE)));
    labels.sort();
    hosts.sort();
    patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
    refuse_twice(labels.iter().map(|(label, _)| label))?;
    refuse_twice(hosts.iter().chain(&patterns).map(|(host, _)| host))?;
    for (from, to) in
        [(labels, &mut draft.labels), (hosts, &mut draft.hosts), (patterns, &mut draft.host_patterns)]
    {
        for (name, row) in from {
            to.push(Named { text: texts.add(&name)?, provider: U16::new(row) });
        }
    }
    let mut slots = vec![U16::new(0); table_size(draft.labels.len())];
    for (row, label) in draft.labels.iter().enumerate() {
        let slot = free(&slots, hash_label(texts.bytes_of(label.text)));
        slots[slot] = U16::new(index(row + 1, "labels")?);
    }
    draft.label_slots = slots;
    for pattern in &file.undecided_hosts {
        draft.undecided_hosts.push(texts.add(pattern)?);
    }
    Ok(())
}

fn provider(
    entry: &ProviderEntry,
    all: &[ProviderEntry],
    developers: &[String],
    texts: &mut Texts,
    suffixes: &mut Vec<crate::tables::Text>,
) -> Result<ProviderRow, CompileError> {
    let unknown = |name: &String| CompileError::UnknownName(entry.name.clone(), name.clone());
    let place = |name: &Option<String>, found: &dyn Fn(&String) -> Option<usize>, what| match name {
        None => Ok(NONE),
        Some(name) => index(found(name).ok_or_else(|| unknown(name))?, what),
    };
    let remote = place(&entry.remote, &|name| all.iter().position(|other| other.name == *name), "providers")?;
    let developer =
        place(&entry.developer, &|name| developers.iter().position(|known| known == name), "developers")?;
    let start = index(suffixes.len(), "suffixes")?;
    for suffix in &entry.remote_suffix {
        suffixes.push(texts.add(suffix)?);
    }
    Ok(ProviderRow {
        id: U16::new(
            entry.id.filter(|id| *id > 0).ok_or_else(|| CompileError::NoNumber(entry.name.clone()))?,
        ),
        name: texts.add(&entry.name)?,
        developer: U16::new(developer),
        hosting: entry.hosting as u8,
        schema: entry.schema.into(),
        remote_suffixes: Span {
            start: U16::new(start),
            count: U16::new(index(entry.remote_suffix.len(), "suffixes")?),
        },
        remote: U16::new(remote),
    })
}

fn refuse_twice<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), CompileError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(CompileError::Twice(name.clone()));
        }
    }
    Ok(())
}

/// Labels are compared in lower case with `_` for every separator: `aws.bedrock`, `fireworks-ai`.
fn normal(label: &str) -> String {
    label.bytes().map(|byte| char::from(normal_byte(byte))).collect()
}
