//! The letters that wait, in the order in which they were set aside.

use super::done::Done;
use super::letter::Letter;
use super::{Chosen, open};
use crate::bounded::{Begin, Go, ReadError};
use crate::config;

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// All letters that wait.
    pub waiting: u64,
    /// Those of them that were asked for.
    pub matching: u64,
    /// The first of these, at most the limit.
    pub letters: Vec<Letter>,
}

/// Reads the letters. Blocks.
pub(super) fn list(
    kafka: &config::Kafka,
    group_id: &str,
    chosen: &Chosen,
    limit: usize,
) -> Result<Listing, ReadError> {
    let (letters, marks) = open(kafka, group_id)?;
    let mut done = Done::default();
    let spans = letters.spans(Begin::Oldest)?;
    // After the ends of the letters were looked up: what is done by then is not listed.
    done.catch_up(&marks)?;
    let mut listing = Listing::default();
    letters.read(&spans, |message| {
        let letter = Letter::read(message);
        if !done.contains(letter.place) {
            listing.waiting += 1;
            if chosen.has(&letter) {
                listing.matching += 1;
                if listing.letters.len() < limit {
                    listing.letters.push(letter);
                }
            }
        }
        Go::On
    })?;
    listing.letters.sort_by_key(|letter| (letter.time_ms, letter.place));
    letters.close();
    marks.close();
    Ok(listing)
}
