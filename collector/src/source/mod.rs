//! Sources: each reads one dialect of telemetry, skip-by-default, and hands on items that borrow from the payload.
//!
//! A source looks at an allow-list of fields and passes over everything else without decoding or copying it. It knows the
//! encoding, not the meaning: what an item says about requests is decided by a profile (`crate::profile`).

pub mod access_log;
pub mod als;
pub mod attributes;
pub mod keys;
pub mod otlp;
pub mod prometheus;
pub mod protobuf;
pub mod tap;
pub mod webhook;

use crate::discard::Refusal;

/// A payload that cannot be read at all. Nothing of it was counted.
pub type Payload<T> = Result<T, Refusal>;
