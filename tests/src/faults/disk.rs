//! A disk of its own for a process' data, small enough to be filled.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const CHUNK: usize = 1 << 20;

/// Mounted until it is dropped. Needs root.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// A disk of `size` (`1g`) at `folder`.
    pub fn mount(folder: &Path, size: &str) -> Disk {
        std::fs::create_dir_all(folder).expect("a folder to mount on");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "weighbridge-test"])
            .arg(folder));
        Disk { folder: folder.to_owned() }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes the last byte.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file that fills");
        let mut size = CHUNK;
        while size > 0 {
            match file.write(&vec![1; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("cannot fill the disk: {error}"),
            }
        }
    }

    /// Gives back what `fill` took.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file that fills");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: its process may still be ending. Nothing to do about a failure, and the test may be failing already.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("mount (util-linux) runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
