//! A disk of its own for Kafka's data, small enough to be filled.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A thousand faults write about a third of it.
const SIZE: &str = "size=1g";
const CHUNK: usize = 1 << 20;

/// Mounted until it is dropped. Needs root, as the tests of the collector's full disk do.
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(super) fn mount(folder: &Path) -> Disk {
        std::fs::create_dir_all(folder).expect("a folder to mount on");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "kafka"]).arg(folder));
        Disk { folder: folder.to_owned() }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes the last byte.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file that fills");
        let mut size = CHUNK;
        while size > 0 {
            match file.write(&vec![1; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("cannot fill Kafka's disk: {error}"),
            }
        }
    }

    /// Gives back what `fill` took.
    pub(super) fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file that fills");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: Kafka may still be ending. Nothing to do about a failure, and the test may be failing already.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("mount (util-linux) runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
