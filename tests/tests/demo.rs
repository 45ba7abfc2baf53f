//! `weighbridge demo` with a relative data folder, as `make demo` runs it: the split equals the generator's truth.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::process::Command;

use weighbridge_tests::processes::{free_port, release_binary, tool};

#[test]
fn the_demo_ends_with_the_generators_truth_and_again_on_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    for run in ["first", "second"] {
        let mut command = Command::new(release_binary("weighbridge"));
        command.args(["demo", "--seconds", "3", "--requests", "6000", "--data", "relative"]);
        for option in ["--grpc-port", "--http-port", "--admin-port", "--clickhouse-port"] {
            command.args([option, &free_port().to_string()]);
        }
        command.env("WEIGHBRIDGE_LIBCHDB", tool("clickhouse/libchdb.so")).current_dir(folder.path());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{run}: {text}\n{errors}");
        assert!(!errors.contains("Code: "), "{run}: nothing went wrong, and nothing is told: {errors}");
        assert!(text.contains("equal to the generator's truth in all"), "{run}: {text}");
    }
}
