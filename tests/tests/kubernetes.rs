//! What we deliver for Kubernetes and Docker, on a real API server, on the library that Docker Compose loads files with, on a real
//! ClickHouse, and by the parsers of our own programs.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "kubernetes/api_server.rs"]
mod api_server;
#[path = "kubernetes/clickhouse.rs"]
mod clickhouse;
#[path = "kubernetes/compose.rs"]
mod compose;
#[path = "kubernetes/guide.rs"]
mod guide;
#[path = "kubernetes/policy.rs"]
mod policy;
#[path = "kubernetes/samples.rs"]
mod samples;
