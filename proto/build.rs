//! Generates the messages and the service from `weighbridge/v1/uplink.proto`, without a protoc binary.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=weighbridge");
    let descriptors = protox::compile(["weighbridge/v1/uplink.proto"], ["."])?;
    // Kept for the test that walks the report's descriptor.
    let path = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.binpb");
    fs::write(path, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".weighbridge.v1").compile_fds(descriptors)?;
    Ok(())
}
