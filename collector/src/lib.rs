//! The sidecar: reads a gateway's telemetry, classifies, counts, and sends counts.
//!
//! `source` reads a dialect, `profile` says what it means, `count` counts, `window` seals, `deliver` keeps and sends;
//! `intake` and `run` assemble them. Everything up to `window` is pure: the caller passes the time.

pub mod admin;
pub mod aliases;
pub mod claim;
pub mod classifier;
pub mod command;
pub mod config;
pub mod count;
pub mod deliver;
pub mod discard;
pub mod drain;
pub mod intake;
mod message;
pub mod observation;
pub mod profile;
pub mod receiver;
pub mod report_view;
pub mod run;
pub mod scrape;
pub mod seal;
pub mod shutdown;
pub mod source;
pub mod standby;
pub mod tap;
mod tls;
pub mod window;
