//! Lists the profiles that come with the collector: every file of `profiles/` and its folders, so that a new gateway is a file.
//!
//! Out: `profiles.rs`, for each folder a constant of `(name, text)` pairs, ascending by name. The name is the file's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a build that cannot go on ends")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Constant and folder.
const FOLDERS: [(&str, &str); 5] =
    [("PROMETHEUS", ""), ("OTLP", "otlp"), ("ACCESS_LOG", "access-log"), ("API", "api"), ("TAP", "tap")];

fn main() {
    // Given to the linker by scripts/build-collector.sh.
    println!("cargo::rerun-if-changed=start-first.ld");
    let profiles = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("profiles");
    let mut text = String::new();
    for (constant, folder) in FOLDERS {
        let folder = profiles.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        writeln!(text, "pub(super) const {constant}: &[(&str, &str)] = &[").unwrap();
        for file in files {
            println!("cargo::rerun-if-changed={}", file.display());
            let name = file.file_stem().unwrap().to_str().unwrap();
            writeln!(text, "    ({name:?}, include_str!({:?})),", file.to_str().unwrap()).unwrap();
        }
        writeln!(text, "];").unwrap();
    }
    let out = Path::new(&std::env::var("OUT_DIR").unwrap()).join("profiles.rs");
    std::fs::write(out, text).unwrap();
}
