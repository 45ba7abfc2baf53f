//! How far a log file was read.

use serde::{Deserialize, Serialize};

/// A place in a file that keeps its meaning when the file is renamed, copied or truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// The file.
    pub inode: u64,
    /// Everything before it was counted: always the beginning of a line.
    pub offset: u64,
    /// Number of bytes before the offset that `check` covers.
    pub check_bytes: u8,
    /// CRC-32C of them: tells this file from another one that took its inode or its place.
    pub check: u32,
}
