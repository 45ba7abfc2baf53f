//! The register as a document that other programs read: `catalog export` writes it, `migrate` loads it into ClickHouse.

use serde::{Deserialize, Serialize};

use crate::{Catalogue, Day, Hosting, Openness};

/// The whole register, without the patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterExport {
    /// Version, `yyyymmdd * 100 + counter`.
    pub version: u32,
    /// Day of the newest fact, `yyyy-mm-dd`.
    pub facts_until: String,
    /// Every model, by number.
    pub models: Vec<ModelExport>,
    /// Every provider, by number.
    pub providers: Vec<ProviderExport>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelExport {
    /// Permanent number.
    pub id: u32,
    /// Name in the register.
    pub name: String,
    /// Family.
    pub family: String,
    /// Developer.
    pub developer: String,
    /// Openness by date, oldest first.
    pub periods: Vec<PeriodExport>,
    /// Why no class is given, if the facts do not decide one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contested: Option<String>,
    /// Where the facts come from.
    pub sources: Vec<String>,
}

/// Openness from a day on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodExport {
    /// First day, `yyyy-mm-dd`; `None` has no beginning. The first period also holds for all days before it.
    pub from: Option<String>,
    /// Openness from that day on.
    pub openness: Openness,
    /// Licence of the weights, empty if none is known.
    pub licence: String,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderExport {
    /// Permanent number.
    pub id: u16,
    /// Name in the register.
    pub name: String,
    /// Hosting when nothing else tells.
    pub hosting: Hosting,
    /// The maker that it belongs to, empty if it serves others' models only.
    pub developer: String,
}

impl Catalogue {
    /// The register as a document.
    pub fn export(&self) -> RegisterExport {
        let models = self.models().map(|model| ModelExport {
            id: model.id().0,
            name: model.name().to_owned(),
            family: model.family().to_owned(),
            developer: model.developer().to_owned(),
            periods: model
                .periods()
                .map(|period| PeriodExport {
                    from: (period.from != Day(i32::MIN)).then(|| period.from.to_string()),
                    openness: period.openness,
                    licence: period.licence.to_owned(),
                })
                .collect(),
            contested: model.contested().map(str::to_owned),
            sources: model.sources().map(str::to_owned).collect(),
        });
        let providers = self.providers().map(|provider| ProviderExport {
            id: provider.id.0,
            name: provider.name.to_owned(),
            hosting: provider.hosting,
            developer: provider.developer.to_owned(),
        });
        RegisterExport {
            version: self.version().0,
            facts_until: self.facts_until().to_string(),
            models: models.collect(),
            providers: providers.collect(),
        }
    }
}
