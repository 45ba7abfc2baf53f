//! The dashboards and alert rules of `deploy/grafana`, read as Grafana reads them.
//!
//! `board` loads them, `lint` judges their structure without any server, `macros` and `variables` make of a panel's query what
//! ClickHouse is asked, `run` asks it and judges the answer, `data` fills a ledger with traffic to ask about.

pub mod board;
pub mod data;
pub mod lint;
pub mod macros;
pub mod run;
pub mod schema;
pub mod variables;
