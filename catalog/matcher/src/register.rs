//! The register: looks names up, and lends out what it says of models and providers.

use crate::compile::{CompileError, Sources, compile};
use crate::matcher::Verdict;
use crate::tables::{FormatError, ModelRow, PeriodRow, ProviderRow, Tables};
use crate::{CatalogueVersion, Classification, Day, Hosting, ModelId, Openness, Origin, ProviderId};

/// The register and its matcher. All texts that it lends out live as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    pub(crate) tables: Tables,
}

/// A model of the register.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    tables: &'a Tables,
    row: &'static ModelRow,
}

/// Openness of a model's weights from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First day.
    pub from: Day,
    /// Openness from that day on.
    pub openness: Openness,
    /// Licence of the weights, empty if none is known.
    pub licence: &'static str,
}

/// A provider of the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Permanent number.
    pub id: ProviderId,
    /// Name in the register (`openai`, `bedrock`).
    pub name: &'static str,
    /// Hosting when nothing else tells.
    pub hosting: Hosting,
    /// The maker that this provider belongs to, empty if it serves others' models only.
    pub developer: &'static str,
}

impl Model<'_> {
    /// Permanent number.
    pub fn id(&self) -> ModelId {
        ModelId(self.row.id.get())
    }

    /// Name in the register (`gpt-4o`, `llama-3.3`).
    pub fn name(&self) -> &'static str {
        self.tables.text(self.row.name)
    }

    /// Family (`gpt`, `llama`).
    pub fn family(&self) -> &'static str {
        self.tables.text(self.tables.families[usize::from(self.row.family.get())].name)
    }

    /// Developer (`OpenAI`).
    pub fn developer(&self) -> &'static str {
        let family = &self.tables.families[usize::from(self.row.family.get())];
        self.tables.text(self.tables.developers[usize::from(family.developer.get())])
    }

    /// Why no class is given, if the facts do not decide one.
    pub fn contested(&self) -> Option<&'static str> {
        (!self.row.contested.is_empty()).then(|| self.tables.text(self.row.contested))
    }

    /// Where the facts come from.
    pub fn sources(&self) -> impl Iterator<Item = &'static str> {
        self.row.sources.of(self.tables.sources).iter().map(|source| self.tables.text(*source))
    }

    /// Openness by date, oldest first; the first period also holds for all days before it.
    pub fn periods(&self) -> impl Iterator<Item = Period> {
        self.period_rows().iter().map(|row| Period {
            from: Day(row.from.get()),
            openness: row.openness(),
            licence: self.tables.text(row.licence),
        })
    }

    /// Openness of the weights on a day. A day before the first period gets the first one: the name was not yet in
    /// public use, so an early clock or a preview must not turn it unknown.
    pub fn openness_at(&self, day: Day) -> Openness {
        self.period_at(day).map_or(Openness::Unknown, PeriodRow::openness)
    }

    /// Licence of the weights on a day, empty if none is known.
    pub fn licence_at(&self, day: Day) -> &'static str {
        self.period_at(day).map_or("", |period| self.tables.text(period.licence))
    }

    fn period_rows(&self) -> &'static [PeriodRow] {
        self.row.periods.of(self.tables.periods)
    }

    fn period_at(&self, day: Day) -> Option<&'static PeriodRow> {
        let rows = self.period_rows();
        rows.iter().rev().find(|period| period.from.get() <= day.0).or(rows.first())
    }
}

impl PeriodRow {
    fn openness(&self) -> Openness {
        Openness::from_number(u64::from(self.openness)).unwrap_or_default()
    }
}

impl Catalogue {
    /// The register in `bytes`, which `compile` made in the same build.
    ///
    /// # Errors
    /// The bytes are of another format.
    pub fn from_bytes(bytes: &'static [u8]) -> Result<Catalogue, FormatError> {
        Ok(Catalogue { tables: Tables::parse(bytes)? })
    }

    /// Compiles a data folder's files. The register stays in memory until the process ends.
    ///
    /// # Errors
    /// The files make no register.
    pub fn compiled(sources: &Sources) -> Result<Catalogue, CompileError> {
        let bytes: &'static [u8] = Box::leak(compile(sources)?.into_boxed_slice());
        // What `compile` writes, `from_bytes` reads; the texts and tables of one build cannot differ in format.
        Catalogue::from_bytes(bytes).map_err(|_| CompileError::TooMany("sections"))
    }

    /// Version of the data.
    pub fn version(&self) -> CatalogueVersion {
        CatalogueVersion(self.tables.version)
    }

    /// Day of the newest fact in the data. Traffic after it is classified with what was known then.
    pub fn facts_until(&self) -> Day {
        Day(self.tables.facts_until)
    }

    /// Classify `name`, seen at `origin`, on day `at`.
    pub fn classify(&self, name: &str, origin: Origin<'_>, at: Day) -> Classification {
        let verdict = self.tables.look_up(name);
        let (model, openness) = match verdict {
            Verdict { model: Some(row), .. } => {
                let model = self.at_row(row);
                (model.id(), model.openness_at(at))
            }
            Verdict { model: None, .. } => (ModelId::UNLISTED, verdict.openness),
        };
        let (hosting, provider) = self.hosted(name, origin, verdict.developer, openness);
        Classification { model, family: verdict.family, openness, hosting, provider, reason: verdict.reason }
    }

    /// Who serves `model` under `name` at `origin` on day `at`.
    pub fn hosting_of(
        &self,
        model: Model<'_>,
        name: &str,
        origin: Origin<'_>,
        at: Day,
    ) -> (Hosting, ProviderId) {
        let family = &self.tables.families[usize::from(model.row.family.get())];
        self.hosted(name, origin, Some(family.developer.get()), model.openness_at(at))
    }

    fn hosted(
        &self,
        name: &str,
        origin: Origin<'_>,
        developer: Option<u16>,
        openness: Openness,
    ) -> (Hosting, ProviderId) {
        let host = self.tables.resolve(origin, name, developer);
        // Closed weights run nowhere but at their maker's and its partners': a private address is another gateway then.
        let hosting = match (openness, host.hosting) {
            (Openness::Closed, Hosting::SelfHosted) => Hosting::Unknown,
            (_, hosting) => hosting,
        };
        (hosting, host.provider)
    }

    fn at_row(&self, row: u16) -> Model<'_> {
        Model { tables: &self.tables, row: &self.tables.models[usize::from(row)] }
    }

    /// The model with this number.
    pub fn model(&self, id: ModelId) -> Option<Model<'_>> {
        let place = self.tables.models.binary_search_by_key(&id.0, |row| row.id.get()).ok()?;
        Some(Model { tables: &self.tables, row: &self.tables.models[place] })
    }

    /// The model with this name in the register.
    pub fn model_named(&self, name: &str) -> Option<Model<'_>> {
        self.models().find(|model| model.name() == name)
    }

    /// Every model, by number.
    pub fn models(&self) -> impl Iterator<Item = Model<'_>> {
        self.tables.models.iter().map(|row| Model { tables: &self.tables, row })
    }

    /// The provider with this number.
    pub fn provider(&self, id: ProviderId) -> Option<Provider> {
        let place = self.tables.providers.binary_search_by_key(&id.0, |row| row.id.get()).ok()?;
        Some(self.provider_at(&self.tables.providers[place]))
    }

    /// Every provider, by number.
    pub fn providers(&self) -> impl Iterator<Item = Provider> {
        self.tables.providers.iter().map(|row| self.provider_at(row))
    }

    fn provider_at(&self, row: &ProviderRow) -> Provider {
        Provider {
            id: ProviderId(row.id.get()),
            name: self.tables.text(row.name),
            hosting: row.hosting(),
            developer: self
                .tables
                .developers
                .get(usize::from(row.developer.get()))
                .map_or("", |text| self.tables.text(*text)),
        }
    }

    /// Every family that `Classification::family` can say, without repetition, in no stated order.
    pub fn families(&self) -> impl Iterator<Item = &'static str> {
        self.tables.families.iter().map(|family| self.tables.text(family.name))
    }

    /// Bytes that look-ups read: the matcher's tables, without licences and sources.
    pub fn table_bytes(&self) -> usize {
        self.tables.look_up_bytes()
    }
}
