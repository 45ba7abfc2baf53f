//! The two axes of a classification, with the numbers of the wire (`proto/weighbridge/v1/uplink.proto`) and one name each,
//! used in SQL, JSON, YAML and on the terminal. Numbers and names never change.

use serde::{Deserialize, Serialize};

/// A property of a model's weights at a date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Openness {
    /// Not in the register, opaque, or undecided at the date.
    #[default]
    Unknown = 0,
    /// No published weights.
    Closed = 1,
    /// Weights for research or non-commercial use only.
    OpenNoncommercial = 2,
    /// Weights under a custom licence that limits use, size, revenue or territory.
    OpenRestricted = 3,
    /// Weights under an OSI-approved or equivalent licence.
    OpenPermissive = 4,
    /// Permissive, with training data information and code (OSAID sense).
    OpenSource = 5,
}

impl Openness {
    /// Every class, in the order of the wire numbers.
    pub const ALL: [Openness; 6] = [
        Openness::Unknown,
        Openness::Closed,
        Openness::OpenNoncommercial,
        Openness::OpenRestricted,
        Openness::OpenPermissive,
        Openness::OpenSource,
    ];

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Openness::Unknown => "unknown",
            Openness::Closed => "closed",
            Openness::OpenNoncommercial => "open-noncommercial",
            Openness::OpenRestricted => "open-restricted",
            Openness::OpenPermissive => "open-permissive",
            Openness::OpenSource => "open-source",
        }
    }

    /// The class with this wire number.
    pub const fn from_number(number: u64) -> Option<Openness> {
        match number {
            0 => Some(Openness::Unknown),
            1 => Some(Openness::Closed),
            2 => Some(Openness::OpenNoncommercial),
            3 => Some(Openness::OpenRestricted),
            4 => Some(Openness::OpenPermissive),
            5 => Some(Openness::OpenSource),
            _ => None,
        }
    }

    /// One of the four open classes.
    pub const fn is_open(self) -> bool {
        !matches!(self, Openness::Unknown | Openness::Closed)
    }
}

/// Who runs the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Hosting {
    /// Not told.
    #[default]
    Unknown = 0,
    /// The maker's own API.
    FirstParty = 1,
    /// Another inference host or an aggregator.
    ThirdParty = 2,
    /// A cloud marketplace (Bedrock, Azure, Vertex, ...).
    Marketplace = 3,
    /// The organisation's own machines.
    SelfHosted = 4,
}

impl Hosting {
    /// Every kind, in the order of the wire numbers.
    pub const ALL: [Hosting; 5] = [
        Hosting::Unknown,
        Hosting::FirstParty,
        Hosting::ThirdParty,
        Hosting::Marketplace,
        Hosting::SelfHosted,
    ];

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Hosting::Unknown => "unknown",
            Hosting::FirstParty => "first_party",
            Hosting::ThirdParty => "third_party",
            Hosting::Marketplace => "marketplace",
            Hosting::SelfHosted => "self_hosted",
        }
    }

    /// The kind with this wire number.
    pub const fn from_number(number: u64) -> Option<Hosting> {
        match number {
            0 => Some(Hosting::Unknown),
            1 => Some(Hosting::FirstParty),
            2 => Some(Hosting::ThirdParty),
            3 => Some(Hosting::Marketplace),
            4 => Some(Hosting::SelfHosted),
            _ => None,
        }
    }
}
