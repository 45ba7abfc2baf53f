//! Paths of an API: patterns over the last steps of a path, so that a prefix (`/openai`, `/compatible-mode`) makes no difference.

use std::borrow::Cow;

use arrayvec::ArrayVec;
use percent_encoding::percent_decode_str;

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}: write a path such as chat/completions or models/{{model}}:generateContent, without a slash in front, of at most 8 steps"
)]
pub struct PatternError(String);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Word(Box<str>),
    /// Anything, with this end.
    Model(Box<str>),
    Alias,
}

/// Most steps of a pattern.
const MAX_STEPS: usize = 8;

/// The last steps of a path.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Step>);

/// The last steps of a path that is looked for, the last one first.
#[derive(Clone, Debug)]
pub(super) struct Path<'a>(ArrayVec<&'a str, MAX_STEPS>);

impl<'a> Path<'a> {
    /// A query after it is not looked at.
    pub(super) fn new(path: &'a str) -> Path<'a> {
        let path = path.split('?').next().unwrap_or_default();
        Path(path.trim_end_matches('/').rsplit('/').take(MAX_STEPS).collect())
    }
}

/// What a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// The model that is asked for.
    pub(super) model: Option<Box<str>>,
    /// A deployment by the operator's own word.
    pub(super) alias: Option<Box<str>>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
        let wrong = || PatternError(text.to_owned());
        let step = |step: &str| {
            if step.is_empty() {
                return Err(wrong());
            }
            Ok(match step.strip_prefix("{model}") {
                Some(end) => Step::Model(end.into()),
                None if step == "{alias}" => Step::Alias,
                None if step.contains(['{', '}']) => return Err(wrong()),
                None => Step::Word(step.into()),
            })
        };
        let steps = text.split('/').map(step).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > MAX_STEPS { Err(wrong()) } else { Ok(Pattern(steps)) }
    }

    /// How many steps: the pattern with the most is the one that is meant.
    pub(super) fn steps(&self) -> usize {
        self.0.len()
    }

    /// What `path` names, if its last steps are these.
    pub(super) fn matches(&self, path: &Path<'_>) -> Option<Named> {
        let mut named = Named::default();
        let mut steps = path.0.iter().copied();
        for step in self.0.iter().rev() {
            let found = steps.next()?;
            match step {
                Step::Word(word) => (**word == *found).then_some(())?,
                Step::Model(end) => {
                    // Clients may write the colon as `%3A`.
                    let found = decoded(found).unwrap_or_default();
                    let model = found.strip_suffix(&**end).filter(|model| !model.is_empty())?;
                    named.model = Some(model.into());
                }
                Step::Alias => {
                    let alias = decoded(found)?;
                    named.alias = Some(alias.as_ref().into());
                }
            }
        }
        Some(named)
    }
}

/// `None` for what is no text.
fn decoded(step: &str) -> Option<Cow<'_, str>> {
    if !step.contains('%') {
        return Some(step.into());
    }
    percent_decode_str(step).decode_utf8().ok()
}
