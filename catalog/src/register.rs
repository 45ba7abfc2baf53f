//! The register: built once from the embedded data files.

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
}

/// The register and its matcher.
#[derive(Debug)]
pub struct Catalogue {}

static EMBEDDED: Catalogue = Catalogue {};

impl Catalogue {
    /// The register compiled into the binary.
    pub fn embedded() -> &'static Catalogue {
        &EMBEDDED
    }

    /// Version of the data.
    pub fn version(&self) -> CatalogueVersion {
        CatalogueVersion(2_026_112_301)
    }

    /// Classify `name`, seen at `origin`, on day `at`.
    pub fn classify(&self, _name: &str, _origin: Origin<'_>, _at: Day) -> Classification {
        Classification {
            model: ModelId::UNLISTED,
            family: "",
            openness: Openness::Unknown,
            hosting: Hosting::Unknown,
            provider: ProviderId::UNLISTED,
            reason: Reason::Unmatched,
        }
    }

    /// The model with this number.
    pub fn model(&self, _id: ModelId) -> Option<&Model> {
        None
    }

    /// Every model, by number.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        std::iter::empty()
    }

    /// The provider with this number.
    pub fn provider(&self, _id: ProviderId) -> Option<&Provider> {
        None
    }

    /// Every provider, by number.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        std::iter::empty()
    }
}
