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

use std::collections::BTreeSet;

use crate::address::{Host, host_matches};
use crate::build::{BuildError, index};
use crate::data::ProvidersFile;
use crate::{Hosting, Origin, Provider, ProviderId};

/// Longest label that is looked at.
const MAX_LABEL: usize = 64;

/// The providers and how to find them.
#[derive(Debug)]
pub(crate) struct Providers {
    /// By number.
    all: Vec<Provider>,
    details: Vec<Details>,
    /// Labels in normal form, sorted.
    labels: Vec<(String, Labelled)>,
    /// Whole host names, sorted.
    hosts: Vec<(String, u16)>,
    /// Host patterns, the longest first.
    host_patterns: Vec<(String, u16)>,
    /// Patterns of public hosts that prove nothing (a cloud's load balancers).
    undecided: Vec<String>,
}

/// What is not public of a provider.
#[derive(Debug)]
struct Details {
    developer: Option<u16>,
    /// The label is also used by whatever speaks this provider's schema.
    schema: bool,
    remote_suffixes: Vec<String>,
    remote: Option<u16>,
}

/// What a label means.
#[derive(Clone, Copy, Debug)]
enum Labelled {
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
    Known(u16),
    Public,
}

impl Providers {
    /// Builds the tables.
    pub(crate) fn build(mut file: ProvidersFile, developers: &[String]) -> Result<Providers, BuildError> {
        file.provider.sort_by_key(|provider| provider.id);
        let place_of = |name: &str| file.provider.iter().position(|provider| provider.name == name);
        let mut details = Vec::new();
        let mut labels: Vec<(String, Labelled)> = Vec::new();
        let (mut hosts, mut host_patterns) = (Vec::new(), Vec::new());
        for (place, entry) in file.provider.iter().enumerate() {
            let place = index(place, "providers")?;
            let known = |maker: &String| developers.iter().position(|known| known == maker);
            let developer =
                entry.developer.as_ref().and_then(known).map(|at| index(at, "developers")).transpose()?;
            let remote =
                entry.remote.as_deref().and_then(place_of).map(|at| index(at, "providers")).transpose()?;
            let remote_suffixes = entry.remote_suffix.clone();
            details.push(Details { developer, schema: entry.schema, remote_suffixes, remote });
            for label in std::iter::once(&entry.name).chain(&entry.labels) {
                labels.push((normal(label), Labelled::Provider(place)));
            }
            for host in &entry.hosts {
                let whole = !host.contains('*') && !host.starts_with('.');
                if whole { &mut hosts } else { &mut host_patterns }.push((host.clone(), place));
            }
        }
        labels.extend(file.schema_labels.iter().map(|label| (normal(label), Labelled::Schema)));
        labels.sort_by(|one, two| one.0.cmp(&two.0));
        hosts.sort();
        host_patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        refuse_twice(labels.iter().map(|(label, _)| label))?;
        refuse_twice(hosts.iter().chain(&host_patterns).map(|(host, _)| host))?;
        if let Some(pair) = file.provider.windows(2).find(|pair| pair[0].id == pair[1].id || pair[0].id == 0)
        {
            return Err(BuildError::ProviderNumber(pair[0].id));
        }
        let all = file.provider.into_iter().map(|entry| Provider {
            id: ProviderId(entry.id),
            name: entry.name,
            hosting: entry.hosting,
            developer: entry.developer.unwrap_or_default(),
        });
        Ok(Providers {
            all: all.collect(),
            details,
            labels,
            hosts,
            host_patterns,
            undecided: file.undecided_hosts,
        })
    }

    /// Who serves the model `name` of `developer` at `origin`.
    pub(crate) fn resolve(&self, origin: Origin<'_>, name: &str, developer: Option<u16>) -> Hosted {
        let label = self.label(origin.provider);
        let nobody = |hosting| Hosted { hosting, provider: ProviderId::UNLISTED };
        match (self.place(origin.address), label) {
            (Place::Known(place), _) => self.at(place, name, developer),
            (Place::Private, None | Some(Labelled::Schema)) => nobody(Hosting::SelfHosted),
            (Place::Private, Some(Labelled::Provider(place))) => self.at_private(place, name, developer),
            (Place::Public | Place::None, None | Some(Labelled::Schema)) => nobody(Hosting::Unknown),
            (Place::Public, Some(Labelled::Provider(place))) if self.details[usize::from(place)].schema => {
                nobody(Hosting::Unknown)
            }
            (Place::None, Some(Labelled::Provider(place))) if self.details[usize::from(place)].schema => {
                let hosted = self.at(place, name, developer);
                let own = hosted.hosting == Hosting::FirstParty;
                Hosted { hosting: if own { Hosting::FirstParty } else { Hosting::Unknown }, ..hosted }
            }
            (Place::Public | Place::None, Some(Labelled::Provider(place))) => self.at(place, name, developer),
        }
    }

    /// The provider with this number.
    pub(crate) fn get(&self, id: ProviderId) -> Option<&Provider> {
        self.all.binary_search_by_key(&id, |provider| provider.id).ok().map(|place| &self.all[place])
    }

    /// Every provider, by number.
    pub(crate) fn all(&self) -> &[Provider] {
        &self.all
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        let strings = self.labels.iter().map(|(label, _)| label.capacity()).sum::<usize>()
            + self.hosts.iter().chain(&self.host_patterns).map(|(host, _)| host.capacity()).sum::<usize>();
        strings
            + self.labels.capacity() * size_of::<(String, Labelled)>()
            + (self.hosts.capacity() + self.host_patterns.capacity()) * size_of::<(String, u16)>()
            + self.details.capacity() * size_of::<Details>()
    }

    /// Served by the provider at `place`.
    fn at(&self, place: u16, name: &str, developer: Option<u16>) -> Hosted {
        let details = &self.details[usize::from(place)];
        let forwarded = details.remote_suffixes.iter().any(|suffix| ends_with(name, suffix));
        let provider = match details.remote {
            Some(remote) if forwarded => &self.all[usize::from(remote)],
            _ => &self.all[usize::from(place)],
        };
        let hosting = match (provider.hosting, developer) {
            (Hosting::FirstParty, None) => Hosting::Unknown,
            (Hosting::FirstParty, maker) if maker != details.developer => Hosting::ThirdParty,
            (hosting, _) => hosting,
        };
        Hosted { hosting, provider: provider.id }
    }

    /// Labelled as the provider at `place`, but reached at a private address.
    fn at_private(&self, place: u16, name: &str, developer: Option<u16>) -> Hosted {
        let provider = &self.all[usize::from(place)];
        if self.details[usize::from(place)].schema {
            return Hosted { hosting: Hosting::SelfHosted, provider: ProviderId::UNLISTED };
        }
        match provider.hosting {
            Hosting::SelfHosted | Hosting::Marketplace => self.at(place, name, developer),
            _ => Hosted { hosting: Hosting::Unknown, provider: provider.id },
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
        let place = self.labels.binary_search_by(|(known, _)| known.as_bytes().cmp(label)).ok()?;
        Some(self.labels[place].1)
    }

    fn place(&self, address: &str) -> Place {
        let Some(host) = Host::of(address) else { return Place::None };
        if host.is_private() {
            return Place::Private;
        }
        let host = host.as_str();
        if let Ok(place) = self.hosts.binary_search_by(|(known, _)| known.as_str().cmp(host)) {
            return Place::Known(self.hosts[place].1);
        }
        if self.undecided.iter().any(|pattern| host_matches(host, pattern)) {
            return Place::Public;
        }
        let found = self.host_patterns.iter().find(|(pattern, _)| host_matches(host, pattern));
        found.map_or(Place::Public, |(_, place)| Place::Known(*place))
    }
}

fn refuse_twice<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), BuildError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(BuildError::Twice(name.clone()));
        }
    }
    Ok(())
}

/// Labels are compared in lower case with `_` for every separator: `aws.bedrock`, `fireworks-ai`.
fn normal(label: &str) -> String {
    label.bytes().map(|byte| char::from(normal_byte(byte))).collect()
}

fn normal_byte(byte: u8) -> u8 {
    match byte {
        b'-' | b'.' | b' ' | b'/' => b'_',
        other => other.to_ascii_lowercase(),
    }
}

fn ends_with(name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.trim().as_bytes(), suffix.as_bytes());
    name.len() >= suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}
