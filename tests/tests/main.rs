//! Everything that runs on real servers, as one program: it is linked once, and while one test waits for a broker or a window
//! another one works (`RUST_TEST_THREADS`). Each test starts its own servers on free ports, in a folder of its own.
//!
//! A file of this folder is a module here; `every_file_is_a_module` fails on one that is not.

mod aggregator;
mod small_set;
mod whole_path;

mod aggregator_pipeline;
mod aggregator_schema;
mod answers;
mod answers_change;
mod audit;
mod cluster;
mod conservation;
mod dead_letter;
mod demo;
mod documents;
mod door;
mod end_to_end;
mod envoy;
mod faults;
mod grafana;
mod helm;
mod images;
mod kubernetes;
mod litellm_truth;
mod load_group;
mod nginx;
mod questions;
mod report;
mod secured_servers;
mod servers;
mod sidecar;
mod tap;

#[test]
fn every_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let own = std::fs::read_to_string(folder.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(folder).expect("this folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(
                own.lines().any(|line| line == format!("mod {module};")),
                "tests of {name} would not run"
            );
        }
    }
}
