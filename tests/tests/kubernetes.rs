//! What we deliver for Kubernetes and Docker, on a real API server, on the library that Docker Compose loads files with, on a real
//! ClickHouse, and by the parsers of our own programs.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod api_server;
mod chart;
mod clickhouse;
mod compose;
mod guide;
mod policy;
mod samples;
