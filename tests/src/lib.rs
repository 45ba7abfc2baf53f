//! The harness of the end-to-end tests: real Kafka, ClickHouse, LiteLLM, Envoy, nginx, Ollama and Kubernetes, real Weighbridge binaries, a fake
//! model provider, and a client that knows what it sent.
//!
//! Guarantees: everything listens on 127.0.0.1; only processes started here are signalled, and each dies with the
//! test that started it; every wait has a limit; a service that is missing fails the test with the command that
//! installs it.
//! Does not guarantee: that two tests may share a server. Each test starts its own.

pub mod answers;
pub mod canary;
pub mod capture;
pub mod chromium;
pub mod clickhouse;
pub mod collector;
pub mod driver;
pub mod envoy;
pub mod faults;
pub mod gguf;
pub mod grafana;
pub mod helm;
pub mod kafka;
pub mod kubernetes;
pub mod litellm;
pub mod nginx;
pub mod ollama;
pub mod panels;
pub mod plain_proxy;
pub mod pod_security;
pub mod podman;
pub mod processes;
pub mod scenario;
pub mod simple_ingest;
pub mod simulated;
pub mod telemetry;
pub mod tls;
pub mod truth;
pub mod upstream;
pub mod usage;
