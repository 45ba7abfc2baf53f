//! How many letters wait, for the gauge that `load` shows.

use tokio::task::spawn_blocking;
use tracing::debug;

use super::done::Done;
use super::open;
use crate::bounded::{Begin, ReadError, TopicReader};
use crate::config;

/// Looks at the topics of dead letters and of marks again and again; keeps what it read of the marks.
pub(crate) struct Watch {
    kafka: config::Kafka,
    group_id: String,
    open: Option<(TopicReader, TopicReader, Done)>,
}

impl Watch {
    pub(crate) fn new(kafka: &config::Kafka, group_id: &str) -> Watch {
        Watch { kafka: kafka.clone(), group_id: group_id.to_owned(), open: None }
    }

    /// The number of letters that wait now; `None` while Kafka does not say.
    pub(crate) async fn look(&mut self) -> Option<u64> {
        let (kafka, group_id, open) = (self.kafka.clone(), self.group_id.clone(), self.open.take());
        let looked = spawn_blocking(move || look(&kafka, &group_id, open)).await.ok()?;
        match looked {
            Ok((waiting, open)) => {
                self.open = Some(open);
                Some(waiting)
            }
            Err(error) => {
                debug!(%error, code = error.code(), "dead letters are not counted now");
                None
            }
        }
    }
}

type Open = (TopicReader, TopicReader, Done);

fn look(kafka: &config::Kafka, group_id: &str, was_open: Option<Open>) -> Result<(u64, Open), ReadError> {
    let (letters, marks, mut done) = match was_open {
        Some(open) => open,
        None => {
            let (letters, marks) = open(kafka, group_id)?;
            (letters, marks, Done::default())
        }
    };
    let waiting = (|| {
        done.catch_up(&marks)?;
        Ok(done.waiting(&letters.spans(Begin::Oldest)?))
    })();
    match waiting {
        Ok(waiting) => Ok((waiting, (letters, marks, done))),
        Err(error) => {
            letters.close();
            marks.close();
            Err(error)
        }
    }
}
