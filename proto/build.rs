//! Generates the messages and the service of `weighbridge/v1/uplink.proto`, without a protoc binary.
//!
//! Reports cross the service as raw bytes (`codec::RawCodec`): the collector sends what its spool holds, ingest forwards
//! what it received, and a field that one of them does not know survives.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=weighbridge");
    let descriptors = protox::compile(["weighbridge/v1/uplink.proto"], ["."])?;
    // Kept for the tests that walk the descriptor.
    let path = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.binpb");
    fs::write(path, descriptors.encode_to_vec())?;
    let mut messages = prost_build::Config::new();
    messages.bytes(["."]);
    messages.compile_fds(descriptors)?;
    let deliver = tonic_build::manual::Method::builder()
        .name("deliver")
        .route_name("Deliver")
        .comment("Reports up, receipts down; one receipt per report.")
        .input_type("::bytes::Bytes")
        .output_type("crate::v1::Receipt")
        .codec_path("crate::codec::RawCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let uplink = tonic_build::manual::Service::builder()
        .name("Uplink")
        .package("weighbridge.v1")
        .comment("Raw encoded reports up, receipts down.")
        .method(deliver)
        .build();
    tonic_build::manual::Builder::new().compile(&[uplink]);
    Ok(())
}
