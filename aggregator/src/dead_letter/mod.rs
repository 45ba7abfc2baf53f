//! Dead letters: what `load` could not load, listed, replayed or dropped.
//!
//! In: the topic `<topic>.dlq`, see `letter`. Out: a listing that never shows a value; values back in the topic of reports, byte for
//! byte; marks of what is done, see `done`.
//! Guarantees: a letter that was replayed or dropped is not listed again, nor replayed, nor dropped. What was asked for happens
//! before it is marked, each confirmed by every replica in sync: a kill at any moment leaves a letter waiting or done, and at worst
//! replays it twice, which identity absorbs. Letters that come while it runs are left for the next run, so that a replay of
//! what is still poison, which comes back as a new letter, ends.
//! Does not guarantee: that a replayed value can be loaded. It cannot until load or the tables have changed.
//!
//! | file | what |
//! |---|---|
//! | `letter` | a letter as a record |
//! | `done` | which letters are done |
//! | `list`, `render` | what waits |
//! | `settle` | replay and drop |
//! | `waiting` | the gauge of `load` |

mod done;
pub(crate) mod letter;
mod list;
mod render;
mod settle;
pub(crate) mod waiting;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use rdkafka::error::KafkaError;
use tokio::task::spawn_blocking;

pub use letter::{Letter, Name, Place};
pub use list::Listing;
pub use render::render;
pub use settle::Settled;

use crate::bounded::{ReadError, TopicReader};
use crate::config::Config;
pub use crate::table::Format;
use crate::{config, kafka};
use done::Outcome;

/// Letters listed without `--limit`: a screen or two.
const DEFAULT_LIMIT: usize = 100;

/// What is to happen with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadLetterAction {
    /// Show what waits: position, time, reason, origin, size, name. Never the value.
    List {
        /// Letters with this reason only.
        #[arg(long)]
        reason: Option<String>,
        /// Letters shown at most.
        #[arg(long, default_value_t = DEFAULT_LIMIT)]
        limit: usize,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Put values back into the topic of reports, for a load that can read them now.
    Replay(Selection),
    /// Give letters up.
    Drop {
        /// Which.
        #[command(flatten)]
        selection: Selection,
        /// Needed: what is dropped is counted nowhere any more.
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// All that wait now.
    #[arg(long, required_unless_present = "offset", conflicts_with = "offset")]
    pub all: bool,
    /// This one; may be repeated. An offset as `list` shows it, `41` or `0:41`.
    #[arg(long)]
    pub offset: Vec<Place>,
    /// Of these, letters with this reason only.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Letters by position and reason. No position means all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    places: Vec<Place>,
    reason: Option<String>,
}

impl Chosen {
    fn has(&self, letter: &Letter) -> bool {
        let is_reason = self.reason.as_ref().is_none_or(|reason| *reason == letter.reason);
        is_reason && (self.places.is_empty() || self.places.contains(&letter.place))
    }
}

impl From<Selection> for Chosen {
    fn from(selection: Selection) -> Chosen {
        Chosen { places: selection.offset, reason: selection.reason }
    }
}

/// Why dead letters could not be listed or settled. What was settled before is marked.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// An option that cannot be used, and the fix.
    #[error("{option}: {problem}")]
    Argument {
        /// The option.
        option: &'static str,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// A topic could not be read.
    #[error("dead letters: {0}")]
    Read(#[from] ReadError),
    /// The configuration of the producer, or librdkafka itself.
    #[error("dead letters: no Kafka producer: {0}")]
    Producer(KafkaError),
    /// Kafka did not confirm a record. It may be there all the same; run it again.
    #[error("dead letters: {topic} did not take a record: {source}; run it again")]
    NotDelivered {
        /// Where it should have gone.
        topic: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// A task ended: a mistake in this program.
    #[error("dead letters: a task stopped")]
    Stopped,
}

impl DeadLetterError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            DeadLetterError::Argument { .. } => "dead_letter_argument",
            DeadLetterError::Read(error) => error.code(),
            DeadLetterError::Producer(_) => "dead_letter_producer",
            DeadLetterError::NotDelivered { .. } => "dead_letter_not_delivered",
            DeadLetterError::Stopped => "dead_letter_stopped",
        }
    }
}

/// Does it; gives what is to be printed, and whether everything that was asked for is done.
///
/// # Errors
/// See `DeadLetterError`.
pub async fn run(config: &Config, action: DeadLetterAction) -> Result<(String, bool), DeadLetterError> {
    let kafka = &config.kafka;
    if kafka.bootstrap_servers.is_empty() {
        let problem = "is empty; set it in the file or by WEIGHBRIDGE_KAFKA_BOOTSTRAP_SERVERS".to_owned();
        return Err(DeadLetterError::Argument { option: "kafka.bootstrap_servers", problem });
    }
    let group_id = &config.load.group_id;
    let (selection, outcome) = match action {
        DeadLetterAction::List { reason, limit, format } => {
            let (kafka, group_id) = (kafka.clone(), group_id.clone());
            let chosen = Chosen { places: Vec::new(), reason };
            let listing = spawn_blocking(move || list::list(&kafka, &group_id, &chosen, limit)).await;
            let listing = listing.map_err(|_| DeadLetterError::Stopped)??;
            return Ok((render(&listing, format), true));
        }
        DeadLetterAction::Drop { yes: false, .. } => {
            let problem = "is needed: what is dropped is counted nowhere any more".to_owned();
            return Err(DeadLetterError::Argument { option: "--yes", problem });
        }
        DeadLetterAction::Drop { selection, yes: true } => (selection, Outcome::Dropped),
        DeadLetterAction::Replay(selection) => (selection, Outcome::Replayed),
    };
    let settled = settle::settle(kafka, group_id, &selection.into(), outcome).await?;
    let is_done = settled.unknown.is_empty() && settled.without_value.is_empty();
    Ok((told(&settled, outcome), is_done))
}

fn told(settled: &Settled, outcome: Outcome) -> String {
    let mut out = format!("{} {}", settled.settled, outcome.name());
    if settled.already > 0 {
        // Writing to a String does not fail.
        let _ = write!(out, ", {} were done before", settled.already);
    }
    out.push('\n');
    for letter in &settled.without_value {
        let (partition, offset) =
            (letter.original_partition.unwrap_or(-1), letter.original_offset.unwrap_or(-1));
        let _ = writeln!(
            out,
            "{}: the value was too large for a dead letter; it is in {} at {partition}:{offset} as long as that is kept",
            letter.place, letter.original_topic
        );
    }
    for place in &settled.unknown {
        let _ = writeln!(out, "{place}: no such letter, or not with this reason");
    }
    out
}

/// Readers of the letters and of the marks.
fn open(kafka: &config::Kafka, group_id: &str) -> Result<(TopicReader, TopicReader), ReadError> {
    let letters = TopicReader::new(kafka, group_id, &kafka::dead_letter_topic(&kafka.topic))?;
    let marks = TopicReader::new(kafka, group_id, &kafka::done_topic(&kafka.topic))?;
    Ok((letters, marks))
}
