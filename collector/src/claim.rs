//! Claims: of two collectors on one machine that count the same gateway instance, the second refuses to start.
//!
//! In: a configuration with `gateway_id`. Out: a claim, held as long as the process runs (flock: the kernel gives it back however
//! the process ends), or an error that names the other collector, its source, and which of the two tells the requests better.
//!
//! ```text
//! claims_folder/GATEWAY_ID.VANTAGE.lock    one line of JSON: who holds it; the file stays, only the lock says that it is held
//! ```
//!
//! The folder is by default `weighbridge-claims` beside the data folder: collectors of one machine keep their data folders side by
//! side, and no folder of the system is there and writable in every container. Collectors whose data folders lie apart, or that
//! run in containers of one pod, need a `claims_folder` that they share. Vantages do not refuse each other, as they are
//! never summed. Nothing is claimed without `gateway_id`: one gateway may be counted for two measuring sides on purpose.
//! Does not see collectors of other machines. Nothing of a claim leaves the machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError, Precedence};

/// Name of the default folder, beside the data folder.
const FOLDER: &str = "weighbridge-claims";

/// Why a gateway instance cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another collector counts it.
    #[error(
        "gateway_id: {gateway_id} is counted already, by {holder}; its requests would count twice. {advice}"
    )]
    Held {
        /// The gateway instance.
        gateway_id: String,
        /// Who holds it.
        holder: String,
        /// Which one to keep.
        advice: String,
    },
    /// The folder of claims.
    #[error(
        "claims_folder: {path}: {source}; write a folder that every collector of this machine may write in"
    )]
    Folder {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ClaimError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            ClaimError::Held { .. } => "gateway_claimed",
            ClaimError::Folder { .. } => "claims_folder",
            ClaimError::Config(error) => error.code(),
        }
    }
}

/// What a claim's file says of its holder.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    process: u32,
    config: PathBuf,
    source: String,
    precedence: Precedence,
}

/// A gateway instance that no other collector of this machine counts while this lives.
#[derive(Debug)]
pub struct Claim {
    _lock: fs::File,
}

impl Claim {
    /// Claims the configured gateway instance; nothing without `gateway_id`.
    ///
    /// # Errors
    /// See `ClaimError`.
    pub fn take(config: &Config) -> Result<Option<Claim>, ClaimError> {
        let Some(gateway_id) = &config.gateway_id else { return Ok(None) };
        let folder = config.claims_folder.clone().unwrap_or_else(|| default_folder(&config.data_folder));
        let path = folder.join(format!("{gateway_id}.{}.lock", config.vantage()?.name()));
        let wrong = |source| ClaimError::Folder { path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(wrong)?;
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(wrong)?;
        let ours = Holder {
            process: std::process::id(),
            config: config.file.clone().unwrap_or_else(|| config.data_folder.clone()),
            source: config.source_name(),
            precedence: config.precedence(),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(wrong)?;
            // Empty for the moment between a lock and its line.
            let holder = serde_json::from_str(&text).ok();
            return Err(refusal(gateway_id, &ours, holder.as_ref()));
        }
        let line = serde_json::to_string(&ours).map_err(|error| wrong(error.into()))?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(wrong)?;
        file.write_all(line.as_bytes()).map_err(wrong)?;
        Ok(Some(Claim { _lock: file }))
    }
}

fn default_folder(data_folder: &Path) -> PathBuf {
    // Two spellings of one folder (a link, a path from here) must not be two claims.
    let data_folder = std::path::absolute(data_folder).unwrap_or_else(|_| data_folder.to_path_buf());
    let data_folder = fs::canonicalize(&data_folder).unwrap_or(data_folder);
    data_folder.parent().unwrap_or(&data_folder).join(FOLDER)
}

fn refusal(gateway_id: &str, ours: &Holder, holder: Option<&Holder>) -> ClaimError {
    let gateway_id = gateway_id.to_owned();
    let Some(holder) = holder else {
        return ClaimError::Held {
            gateway_id,
            holder: "another collector".to_owned(),
            advice: "Stop one of the two".to_owned(),
        };
    };
    let (mine, theirs) = (ours.precedence, holder.precedence);
    let advice = match mine.cmp(&theirs) {
        std::cmp::Ordering::Less => {
            format!("This one's {} tell more than its {}: stop the other", mine.name(), theirs.name())
        }
        std::cmp::Ordering::Greater => {
            format!("Its {} tell more than this one's {}: keep the other", theirs.name(), mine.name())
        }
        std::cmp::Ordering::Equal => format!("Both read {}: keep one of them", mine.name()),
    };
    ClaimError::Held {
        gateway_id,
        holder: format!("{} ({}; process {})", holder.config.display(), holder.source, holder.process),
        advice: format!(
            "{advice} (order: {}). Another gateway instance needs another gateway_id",
            Precedence::ORDER
        ),
    }
}
