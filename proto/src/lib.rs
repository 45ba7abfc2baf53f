//! The wire between collector and ingest.
//!
//! `v1` is generated from `weighbridge/v1/uplink.proto`, which states what may travel and how it may change. `cells` packs
//! and unpacks the counts, `report` seals, checks and names a report, `names` gives every enumeration value its one name,
//! `uplink` is the service over raw report bytes.

pub mod cells;
pub mod codec;
pub mod names;
pub mod report;

/// Messages and enumerations, generated.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/weighbridge.v1.rs"));
}

/// The `Uplink` service, client and server, generated. Reports are raw bytes.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod uplink {
    include!(concat!(env!("OUT_DIR"), "/weighbridge.v1.Uplink.rs"));
}

/// The compiled `.proto` files, a serialized `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
