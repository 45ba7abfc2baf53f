//! The wire between collector and ingest. `v1` is generated from `weighbridge/v1/uplink.proto`, which states what may travel
//! and how it may change; `cells` packs and unpacks the counts; `report` seals, checks and names a report.

pub mod cells;
pub mod report;

/// Messages and service, generated.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("weighbridge.v1");
}

/// The compiled `.proto` files, a serialized `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
