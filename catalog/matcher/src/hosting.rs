//! Who serves a request, from the provider label and the upstream's address. Never from the model's name, but for the
//! tags with which a local runtime says that it only forwards (`:cloud`).
//!
//! | address | label | hosting | provider |
//! |---|---|---|---|
//! | a known host | any | that host's | that host's |
//! | private | none, or one that only names the schema (`openai`) | `self_hosted` | unlisted |
//! | private | of a runtime (`ollama`, `hosted_vllm`) | `self_hosted` | the label's |
//! | private | of a marketplace (a private link) | `marketplace` | the label's |
//! | private | any other | `unknown`: a proxy, or own weights behind a borrowed label | the label's |
//! | another public host | one that only names the schema | `unknown` | unlisted |
//! | another public host, or none | any other | the label's | the label's |
//! | none | one that only names the schema | `first_party` for its maker's models, else `unknown` | the label's |
//!
//! A maker's own service is `first_party` for the maker's models, `third_party` for another's, `unknown` if the model's
//! maker is not known. Guarantees: pure, no allocation.

use crate::address::{Host, host_matches};
use crate::lexicon::hash_label;
use crate::tables::{NONE, ProviderRow, Tables};
use crate::{Hosting, Origin, ProviderId};

/// Longest label that is looked at.
const MAX_LABEL: usize = 64;

/// What a label means.
#[derive(Clone, Copy, Debug)]
enum Labelled {
    /// Row of the provider.
    Provider(u16),
    /// Names a schema or a proxy, no provider.
    Schema,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hosted {
    pub(crate) hosting: Hosting,
    pub(crate) provider: ProviderId,
}

/// What an address proves.
enum Place {
    None,
    Private,
    /// Row of the provider.
    Known(u16),
    Public,
}

impl ProviderRow {
    pub(crate) fn hosting(&self) -> Hosting {
        Hosting::from_number(u64::from(self.hosting)).unwrap_or_default()
    }

    fn is_schema(&self) -> bool {
        self.schema != 0
    }

    fn id(&self) -> ProviderId {
        ProviderId(self.id.get())
    }
}

impl Tables {
    /// Who serves the model `name` of `developer` at `origin`.
    pub(crate) fn resolve(&self, origin: Origin<'_>, name: &str, developer: Option<u16>) -> Hosted {
        let label = self.label(origin.provider);
        let nobody = |hosting| Hosted { hosting, provider: ProviderId::UNLISTED };
        match (self.place(origin.address), label) {
            (Place::Known(place), _) => self.at(place, name, developer),
            (Place::Private, None | Some(Labelled::Schema)) => nobody(Hosting::SelfHosted),
            (Place::Private, Some(Labelled::Provider(place))) => self.at_private(place, name, developer),
            (Place::Public | Place::None, None | Some(Labelled::Schema)) => nobody(Hosting::Unknown),
            (Place::Public, Some(Labelled::Provider(place))) if self.provider_row(place).is_schema() => {
                nobody(Hosting::Unknown)
            }
            (Place::None, Some(Labelled::Provider(place))) if self.provider_row(place).is_schema() => {
                let hosted = self.at(place, name, developer);
                let own = hosted.hosting == Hosting::FirstParty;
                Hosted { hosting: if own { Hosting::FirstParty } else { Hosting::Unknown }, ..hosted }
            }
            (Place::Public | Place::None, Some(Labelled::Provider(place))) => self.at(place, name, developer),
        }
    }

    fn provider_row(&self, place: u16) -> &'static ProviderRow {
        &self.providers[usize::from(place)]
    }

    /// Served by the provider at `place`.
    fn at(&self, place: u16, name: &str, developer: Option<u16>) -> Hosted {
        let row = self.provider_row(place);
        let suffixes = row.remote_suffixes.of(self.remote_suffixes);
        let forwarded = suffixes.iter().any(|suffix| ends_with(name, suffix.bytes(self)));
        let provider = match row.remote.get() {
            remote if remote != NONE && forwarded => self.provider_row(remote),
            _ => row,
        };
        let own = Some(row.developer.get()).filter(|own| *own != NONE);
        let hosting = match (provider.hosting(), developer) {
            (Hosting::FirstParty, None) => Hosting::Unknown,
            (Hosting::FirstParty, maker) if maker != own => Hosting::ThirdParty,
            (hosting, _) => hosting,
        };
        Hosted { hosting, provider: provider.id() }
    }

    /// Labelled as the provider at `place`, but reached at a private address.
    fn at_private(&self, place: u16, name: &str, developer: Option<u16>) -> Hosted {
        let provider = self.provider_row(place);
        if provider.is_schema() {
            return Hosted { hosting: Hosting::SelfHosted, provider: ProviderId::UNLISTED };
        }
        match provider.hosting() {
            Hosting::SelfHosted | Hosting::Marketplace => self.at(place, name, developer),
            _ => Hosted { hosting: Hosting::Unknown, provider: provider.id() },
        }
    }

    fn label(&self, label: &str) -> Option<Labelled> {
        let label = label.trim();
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        let mut text = [0; MAX_LABEL];
        for (to, from) in text.iter_mut().zip(label.bytes()) {
            *to = normal_byte(from);
        }
        let label = &text[..label.len()];
        let mask = self.label_slots.len() - 1;
        let mut slot = hash_label(label) as usize & mask;
        loop {
            let row = usize::from(self.label_slots[slot].get()).checked_sub(1)?;
            if self.labels[row].text.bytes(self) == label {
                return Some(match self.labels[row].provider.get() {
                    NONE => Labelled::Schema,
                    row => Labelled::Provider(row),
                });
            }
            slot = (slot + 1) & mask;
        }
    }

    fn place(&self, address: &str) -> Place {
        let Some(host) = Host::of(address) else { return Place::None };
        if host.is_private() {
            return Place::Private;
        }
        let host = host.as_str();
        if let Ok(place) = self.hosts.binary_search_by(|known| known.text.bytes(self).cmp(host.as_bytes())) {
            return Place::Known(self.hosts[place].provider.get());
        }
        if self.undecided_hosts.iter().any(|pattern| host_matches(host, self.text(*pattern))) {
            return Place::Public;
        }
        let found = self.host_patterns.iter().find(|pattern| host_matches(host, self.text(pattern.text)));
        found.map_or(Place::Public, |pattern| Place::Known(pattern.provider.get()))
    }
}

/// Labels are compared in lower case with `_` for every separator: `aws.bedrock`, `fireworks-ai`.
pub(crate) fn normal_byte(byte: u8) -> u8 {
    match byte {
        b'-' | b'.' | b' ' | b'/' => b'_',
        other => other.to_ascii_lowercase(),
    }
}

fn ends_with(name: &str, suffix: &[u8]) -> bool {
    let name = name.trim().as_bytes();
    name.len() >= suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}
