//! The register: built once from the embedded data files.

use std::sync::LazyLock;

use crate::build;
use crate::hosting::Providers;
use crate::matcher::{Matcher, Verdict};
use crate::{CatalogueVersion, Classification, Day, Hosting, ModelId, Openness, Origin, ProviderId, Reason};

/// A model of the register.
#[derive(Debug)]
pub struct Model {
    /// Permanent number.
    pub id: ModelId,
    /// Name in the register (`gpt-4o`, `llama-3.3`).
    pub name: String,
    /// Family (`gpt`, `llama`).
    pub family: String,
    /// Developer (`OpenAI`).
    pub developer: String,
    /// Openness by date, oldest first; the first period also holds for all days before it.
    pub periods: Vec<Period>,
    /// Why no class is given, if the facts do not decide one.
    pub contested: Option<String>,
    /// Where the facts come from.
    pub sources: Vec<String>,
}

/// Openness of a model's weights from a day on.
#[derive(Debug)]
pub struct Period {
    /// First day.
    pub from: Day,
    /// Openness from that day on.
    pub openness: Openness,
    /// Licence of the weights, empty if none is known.
    pub licence: String,
}

impl Model {
    /// Openness of the weights on a day. A day before the first period gets the first one: the name was not yet in
    /// public use, so an early clock or a preview must not turn it unknown.
    pub fn openness_at(&self, day: Day) -> Openness {
        self.period_at(day).map_or(Openness::Unknown, |period| period.openness)
    }

    /// Licence of the weights on a day, empty if none is known.
    pub fn licence_at(&self, day: Day) -> &str {
        self.period_at(day).map_or("", |period| &period.licence)
    }

    fn period_at(&self, day: Day) -> Option<&Period> {
        self.periods.iter().rev().find(|period| period.from <= day).or(self.periods.first())
    }
}

/// A provider of the register.
#[derive(Debug)]
pub struct Provider {
    /// Permanent number.
    pub id: ProviderId,
    /// Name in the register (`openai`, `bedrock`).
    pub name: String,
    /// Hosting when nothing else tells.
    pub hosting: Hosting,
    /// The maker that this provider belongs to, empty if it serves others' models only.
    pub developer: String,
}

/// The register and its matcher.
#[derive(Debug)]
pub struct Catalogue {
    pub(crate) version: CatalogueVersion,
    pub(crate) facts_until: Day,
    /// By number.
    pub(crate) models: Vec<Model>,
    pub(crate) matcher: Matcher,
    pub(crate) providers: Providers,
}

static EMBEDDED: LazyLock<Catalogue> = LazyLock::new(|| match build::catalogue() {
    Ok(catalogue) => catalogue,
    // The files are part of the binary, and the unit test `the_embedded_register_builds` builds them: a binary in which
    // this panics has not passed its tests.
    Err(error) => panic!("embedded register: {error}"),
});

impl Catalogue {
    /// The register compiled into the binary.
    pub fn embedded() -> &'static Catalogue {
        &EMBEDDED
    }

    /// Version of the data.
    pub fn version(&self) -> CatalogueVersion {
        self.version
    }

    /// Day of the newest fact in the data. Traffic after it is classified with what was known then.
    pub fn facts_until(&self) -> Day {
        self.facts_until
    }

    /// Classify `name`, seen at `origin`, on day `at`.
    pub fn classify(&self, name: &str, origin: Origin<'_>, at: Day) -> Classification {
        let verdict = self.matcher.look_up(name);
        let host = self.providers.resolve(origin, name, verdict.developer);
        let (model, openness) = match verdict {
            Verdict { model: Some(index), .. } => {
                let model = &self.models[usize::from(index)];
                (model.id, model.openness_at(at))
            }
            Verdict { model: None, .. } => (ModelId::UNLISTED, verdict.openness),
        };
        // Closed weights run nowhere but at their maker's and its partners': a private address is another gateway then.
        let hosting = match (openness, host.hosting) {
            (Openness::Closed, Hosting::SelfHosted) => Hosting::Unknown,
            (_, hosting) => hosting,
        };
        Classification {
            model,
            family: verdict.family,
            openness,
            hosting,
            provider: host.provider,
            reason: verdict.reason,
        }
    }

    /// The model with this number.
    pub fn model(&self, id: ModelId) -> Option<&Model> {
        self.models.binary_search_by_key(&id, |model| model.id).ok().map(|index| &self.models[index])
    }

    /// Every model, by number.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// The provider with this number.
    pub fn provider(&self, id: ProviderId) -> Option<&Provider> {
        self.providers.get(id)
    }

    /// Every provider, by number.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.all().iter()
    }

    /// Every family that `Classification::family` can say, without repetition, in no stated order.
    pub fn families(&self) -> impl Iterator<Item = &'static str> {
        self.matcher.families()
    }

    /// Bytes that the matcher's tables hold, the texts of models and providers not counted.
    pub fn table_bytes(&self) -> usize {
        self.matcher.bytes() + self.providers.bytes()
    }
}

impl Verdict {
    /// A verdict that names nothing.
    pub(crate) const fn nothing(reason: Reason) -> Verdict {
        Verdict { model: None, family: "", developer: None, openness: Openness::Unknown, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_register_builds() {
        let built = build::catalogue();
        assert!(built.is_ok(), "{:?}", built.err());
    }
}
