//! The centre: from reports to answers.
//!
//! | module | what it does |
//! |---|---|
//! | `ingest` | takes reports over gRPC, answers when Kafka has them |
//! | `door` | who may send, and under which pseudonym it is kept |
//! | `load` | Kafka to ClickHouse, and the rollup |
//! | `migrate` | tables, views, the register of models, the topic |
//! | `cluster` | the same schema over shards and replicas |
//! | `questions` | the commands that answer, one question each |
//! | `split` | which share goes to open-weight and which to closed models |
//! | `report` | all of it in one document with charts |
//! | `answers` | periods, filters, errors and forms of every answer |
//! | `dead_letter` | what load set aside: listed, replayed or dropped |
//! | `audit` | collectors' ledgers, Kafka, ClickHouse and the rollup compared |
//! | `admin`, `telemetry` | health, metrics, logs, OTLP |
//! | `ready` | asks processes whether they are ready, waits for the schema |
//!
//! Exactness stands on the identity of a report, not on any of these: each may be killed, doubled or rolled back at any
//! time. A report may travel many times; its rows carry its name as their key and count once.

pub mod admin;
pub mod answers;
pub mod audit;
mod backoff;
mod bounded;
pub mod clock;
pub mod cluster;
mod comments;
pub mod config;
pub mod dead_letter;
pub mod door;
pub mod ingest;
pub mod kafka;
pub mod load;
pub mod migrate;
mod native;
pub mod questions;
mod ranges;
pub mod ready;
pub mod record;
pub mod register;
pub mod report;
mod retention;
mod sabotage;
pub mod split;
pub mod store;
mod table;
pub mod telemetry;
mod tls;
