//! Paths of an API: patterns over the last steps of a path, so that a prefix (`/openai`, `/compatible-mode`) makes no difference.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}: write a path such as chat/completions or models/{{model}}:generateContent, without a slash in front"
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

/// The last steps of a path.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Step>);

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
        text.split('/').map(step).collect::<Result<_, _>>().map(Pattern)
    }

    /// How many steps: the pattern with the most is the one that is meant.
    pub(super) fn steps(&self) -> usize {
        self.0.len()
    }

    /// What `path` (a query after it is not looked at) names, if its last steps are these.
    pub(super) fn matches(&self, path: &str) -> Option<Named> {
        let path = path.split('?').next().unwrap_or_default();
        let mut named = Named::default();
        let mut steps = path.trim_end_matches('/').split('/').rev();
        for step in self.0.iter().rev() {
            let found = steps.next()?;
            match step {
                Step::Word(word) => (**word == *found).then_some(())?,
                Step::Model(end) => {
                    // Clients may write the colon as `%3A`.
                    let found = percent_decode_str(found).decode_utf8().unwrap_or(Cow::Borrowed(""));
                    let model = found.strip_suffix(&**end).filter(|model| !model.is_empty())?;
                    named.model = Some(model.into());
                }
                Step::Alias => {
                    let alias = percent_decode_str(found).decode_utf8().ok()?;
                    named.alias = Some(alias.as_ref().into());
                }
            }
        }
        Some(named)
    }
}
