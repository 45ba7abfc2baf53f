//! Which version of the aggregator each stage is: a link of its own, which is turned while the stage is down.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The binaries.
pub(super) struct Versions {
    pub(super) this: PathBuf,
    pub(super) previous: Option<PathBuf>,
}

impl Versions {
    /// The link that `stage` is started through, made when it is new: this version.
    pub(super) fn link(&self, folder: &Path, stage: &str) -> PathBuf {
        let link = path(folder, stage);
        if !link.is_symlink() {
            symlink(&self.this, &link).expect("a link to the aggregator");
        }
        link
    }

    /// Turns the link to the other version.
    pub(super) fn exchange(&self, folder: &Path, stage: &str) {
        let link = path(folder, stage);
        let is_this = std::fs::read_link(&link).expect("a link to the aggregator") == self.this;
        let other = if is_this { self.previous.as_ref().unwrap_or(&self.this) } else { &self.this };
        std::fs::remove_file(&link).expect("the old link");
        symlink(other, &link).expect("a link to the aggregator");
    }
}

fn path(folder: &Path, stage: &str) -> PathBuf {
    folder.join(format!("{stage}-binary"))
}
