//! Names to numbers: the one place where a model name is looked at, through a bounded cache.
//!
//! In: a model name, its provider label and upstream address, as a source spells them. Out: numbers of the register. The
//! contributor's own aliases win over the register.
//! Guarantees: nothing of a name outlives the call but its keyed hash (random key per process, never exported), which
//! indexes the cache; a cached answer is the catalogue's answer of the same day.

use std::hash::{BuildHasher as _, Hasher as _};

use weighbridge_catalog::{Catalogue, Classification, Day, ModelId, Openness, Origin, ProviderId, Reason};

use crate::aliases::Aliases;

/// Entries of the direct-mapped cache: gateways serve tens of models, an entry takes 72 bytes.
const CACHE_ENTRIES: usize = 256;

/// Classifies names on one day.
pub struct Classifier {
    catalogue: &'static Catalogue,
    aliases: Aliases,
    hasher: foldhash::fast::RandomState,
    day: Day,
    cache: Box<[Option<(u64, Classification)>]>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("day", &self.day).finish_non_exhaustive()
    }
}

impl Classifier {
    /// A classifier over `aliases` and `catalogue`, for traffic of `day`.
    pub fn new(catalogue: &'static Catalogue, aliases: Aliases, day: Day) -> Classifier {
        let cache = vec![None; CACHE_ENTRIES].into_boxed_slice();
        Classifier { catalogue, aliases, hasher: foldhash::fast::RandomState::default(), day, cache }
    }

    /// The catalogue in use.
    pub fn catalogue(&self) -> &'static Catalogue {
        self.catalogue
    }

    /// Classifies from now on for `day`: openness is a property at a date.
    pub fn set_day(&mut self, day: Day) {
        if day != self.day {
            self.day = day;
            self.cache.fill(None);
        }
    }

    /// What the register says of `name` seen at `origin`.
    #[inline]
    pub fn classify(&mut self, name: &str, origin: Origin<'_>) -> Classification {
        let mut hasher = self.hasher.build_hasher();
        for part in [name, origin.provider, origin.address] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        let hash = hasher.finish();
        let slot = &mut self.cache[hash as usize % CACHE_ENTRIES];
        if let Some((cached, classification)) = slot
            && *cached == hash
        {
            return *classification;
        }
        let classification = look_up(self.catalogue, &self.aliases, name, origin, self.day);
        *slot = Some((hash, classification));
        classification
    }

    /// What a request is counted under that reached no model.
    pub fn unserved() -> Classification {
        Classification {
            model: ModelId::UNLISTED,
            family: "",
            openness: Openness::Unknown,
            hosting: weighbridge_catalog::Hosting::Unknown,
            provider: ProviderId::UNLISTED,
            reason: Reason::Unmatched,
        }
    }
}

fn look_up(
    catalogue: &Catalogue,
    aliases: &Aliases,
    name: &str,
    origin: Origin<'_>,
    day: Day,
) -> Classification {
    let aliased = aliases.get(name).and_then(|alias| Some((alias, catalogue.model(alias.model)?)));
    let Some((alias, model)) = aliased else { return catalogue.classify(name, origin, day) };
    let (hosting, provider) = catalogue.hosting_of(model, name, origin, day);
    Classification {
        model: model.id(),
        family: model.family(),
        openness: model.openness_at(day),
        hosting: alias.hosting.unwrap_or(hosting),
        provider,
        reason: Reason::Alias,
    }
}
