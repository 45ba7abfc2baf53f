//! How much of a list of names the register decides, and the largest groups that it does not.

use std::collections::BTreeMap;

use crate::envelope::Envelope;
use crate::token::{Kind, Pieces};
use crate::{Catalogue, Day, Openness, Origin, Reason};

/// Names of a group shown as examples.
const EXAMPLES: usize = 3;

/// Undecided names that begin with the same word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The first word of the last path segment.
    pub word: String,
    /// How many names.
    pub names: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

/// What a register says of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Names in the list.
    pub names: usize,
    /// Open in any class.
    pub open: usize,
    /// Closed.
    pub closed: usize,
    /// Unknown because a name says nothing: a private resource or a router.
    pub silent: usize,
    /// Unknown, with a known family.
    pub family_only: usize,
    /// Unknown otherwise.
    pub unknown: usize,
    /// Undecided names by first word, the largest group first.
    pub groups: Vec<Group>,
}

impl Coverage {
    /// Open or closed, or known to say nothing: per cent of the names, 100 for an empty list.
    pub fn decided_percent(&self) -> f64 {
        let decided = self.open + self.closed + self.silent;
        if self.names == 0 { 100.0 } else { decided as f64 * 100.0 / self.names as f64 }
    }
}

/// Classifies `names` (provider label and name) on day `at`.
pub fn coverage<'a>(
    catalogue: &Catalogue,
    names: impl IntoIterator<Item = (&'a str, &'a str)>,
    at: Day,
) -> Coverage {
    let mut found = Coverage::default();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (provider, name) in names {
        let said = catalogue.classify(name, Origin { provider, address: "" }, at);
        found.names += 1;
        match (said.openness, said.reason) {
            (Openness::Closed, _) => found.closed += 1,
            (Openness::Unknown, Reason::Opaque | Reason::Router) => found.silent += 1,
            (Openness::Unknown, _) => {
                if said.family.is_empty() {
                    found.unknown += 1
                } else {
                    found.family_only += 1
                }
                let word = first_word(name);
                let group = groups.entry(word.clone()).or_insert_with(|| Group {
                    word,
                    names: 0,
                    examples: Vec::new(),
                });
                group.names += 1;
                if group.examples.len() < EXAMPLES {
                    group.examples.push(name.to_owned());
                }
            }
            _ => found.open += 1,
        }
    }
    found.groups = groups.into_values().collect();
    found.groups.sort_by_key(|group| std::cmp::Reverse(group.names));
    found
}

/// The first word of the last path segment; empty for a name without letters.
fn first_word(name: &str) -> String {
    let mut envelope = Envelope::new();
    if !envelope.open(name) {
        return String::new();
    }
    let segment = envelope.segment(0).unwrap_or_default();
    let word = Pieces::of(segment)
        .find(|piece| piece.kind == Kind::Word)
        .map(|piece| &segment[piece.start..piece.end]);
    word.map_or_else(String::new, |word| String::from_utf8_lossy(word).into_owned())
}
