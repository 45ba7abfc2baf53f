//! What is wrong with the door's files or its configuration. Never holds a secret.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the door cannot be opened, or the registry not be changed.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A file cannot be read or written.
    #[error("door: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("door: {path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A field of `ingest.door` is missing for what is asked.
    #[error("door: set {0} in the configuration")]
    Unset(&'static str),
    /// The mode does not fit the address that ingest listens on.
    #[error("door: {0}")]
    Exposed(&'static str),
    /// A name that cannot be one.
    #[error("door: a name is 1 to 64 letters, digits, dots, hyphens and underscores")]
    Name,
    /// Somebody of this name is in the registry.
    #[error("door: this name is registered; `contributor rotate` gives it a new token")]
    NameTaken,
    /// Nobody of this name is in the registry.
    #[error("door: no contributor has this name; `contributor list` shows all")]
    UnknownName,
    /// A revoked contributor gets no new credentials.
    #[error("door: this contributor is revoked; `contributor add` lets it in again")]
    Revoked,
    /// A certificate that is somebody's already.
    #[error("door: the key of this certificate is registered already")]
    CertificateTaken,
    /// The system gives no random numbers.
    #[error("door: no random numbers: {0}")]
    Random(getrandom::Error),
    /// TLS cannot be set up.
    #[error("door: TLS: {0}")]
    Tls(String),
}

impl DoorError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            DoorError::File { .. } => "door_file",
            DoorError::Content { .. } => "door_content",
            DoorError::Unset(_) => "door_unset",
            DoorError::Exposed(_) => "door_exposed",
            DoorError::Name => "door_name",
            DoorError::NameTaken => "door_name_taken",
            DoorError::UnknownName => "door_unknown_name",
            DoorError::Revoked => "door_revoked",
            DoorError::CertificateTaken => "door_certificate_taken",
            DoorError::Random(_) => "door_random",
            DoorError::Tls(_) => "door_tls",
        }
    }

    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> DoorError {
        move |source| DoorError::File { path: path.to_owned(), source }
    }

    pub(super) fn content(path: &Path, problem: impl fmt::Display) -> DoorError {
        DoorError::Content { path: path.to_owned(), problem: problem.to_string() }
    }
}
