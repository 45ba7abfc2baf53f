//! The sidecar: reads a gateway's telemetry, classifies, counts, and sends counts.
