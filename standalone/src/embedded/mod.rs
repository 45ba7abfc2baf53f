//! Servers that the standalone command brings along, so that a laptop needs no container.
//!
//! `clickhouse` starts and stops a ClickHouse as a child process; `libchdb` is what that child runs.

pub mod clickhouse;
pub mod config;
pub mod libchdb;
