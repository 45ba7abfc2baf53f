//! What another register changes: which names change class.

use std::collections::BTreeSet;

use crate::lint::spellings;
use crate::{Catalogue, Classification, CompileError, Day, Origin, Sources};

/// A name whose class or model is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: String,
    /// What the old register says.
    pub old: Classification,
    /// What the new one says.
    pub new: Classification,
    /// Name of the model in the old register, empty if none.
    pub old_model: &'static str,
    /// Name of the model in the new one, empty if none.
    pub new_model: &'static str,
}

/// The names whose openness or model differs between `old` and `new` on day `at`: `names`, and every name that a
/// pattern of either register describes.
///
/// # Errors
/// One of them makes no register.
pub fn diff(
    old: &Sources,
    new: &Sources,
    names: impl IntoIterator<Item = String>,
    at: Day,
) -> Result<Vec<Change>, CompileError> {
    let mut all: BTreeSet<String> = names.into_iter().collect();
    all.extend(spellings(old)?);
    all.extend(spellings(new)?);
    let (old, new) = (Catalogue::compiled(old)?, Catalogue::compiled(new)?);
    let of = |catalogue: &Catalogue, name: &str| {
        let found = catalogue.classify(name, Origin::default(), at);
        (found, catalogue.model(found.model).map_or("", |model| model.name()))
    };
    let changes = all.into_iter().filter_map(|name| {
        let (was, old_model) = of(&old, &name);
        let (is, new_model) = of(&new, &name);
        let differs = was.openness != is.openness || was.model != is.model;
        differs.then_some(Change { name, old: was, new: is, old_model, new_model })
    });
    Ok(changes.collect())
}
