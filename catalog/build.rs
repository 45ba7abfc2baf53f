//! Compiles `data/` into the tables that the library embeds.

use std::error::Error;
use std::path::{Path, PathBuf};

use weighbridge_matcher::{Sources, compile};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=data");
    let out: PathBuf = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?.into();
    let bytes = compile(&Sources::read(Path::new("data"))?)?;
    std::fs::write(out.join("register.bin"), bytes)?;
    Ok(())
}
