//! End-to-end tests on real Kafka, ClickHouse and gateways.
