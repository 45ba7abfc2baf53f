//! The allow-list of one gateway's log: field paths compiled into a tree.

use super::record::{Record, Role, Value};

/// Longest key that can be on the list.
const LONGEST: usize = 63;
/// Deepest path.
const MAX_STEPS: usize = 16;

/// Why a field path is not one.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// No leading slash, or an empty step.
    #[error("{0}: write a path such as /ai/proxy/meta/response_model or /response_code")]
    Form(String),
    /// A key or a path over its limit.
    #[error("{0}: a key has at most {LONGEST} bytes, a path at most {MAX_STEPS} steps")]
    Length(String),
    /// `@length` is a number and has no fields; `@json` inside `@json`.
    #[error("{0}: `@length` must be the last step, and `@json` can stand once")]
    Step(String),
}

pub(super) type Slot = (Role, u8);

/// What is wanted of the value at one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    /// The value itself.
    slot: Option<Slot>,
    /// It again, under other roles.
    more_slots: Vec<Slot>,
    /// Its fields, if it is an object.
    pub(super) object: Option<Box<Node>>,
    /// Its last element, if it is an array.
    pub(super) last: Option<Box<Point>>,
    /// Its length, if it is an array.
    pub(super) length: Vec<Slot>,
    /// The document in it, if it is a string.
    pub(super) json: Option<Box<Node>>,
    /// What may be read of the value and of everything in it: bit n for role n.
    pub(super) roles: u32,
}

impl Point {
    /// The fields of the value, if it is an object.
    pub(crate) fn object(&self) -> Option<&Node> {
        self.object.as_deref()
    }

    /// The value itself is wanted.
    pub(super) fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// The only role of the value, if nothing in it is wanted.
    pub(super) fn only_slot(&self) -> Option<Slot> {
        let only = self.more_slots.is_empty() && self.json.is_none();
        self.slot.filter(|_| only)
    }

    /// Keeps the value itself, for what it is wanted.
    #[inline(always)]
    pub(crate) fn set<'a>(&self, record: &mut Record<'a>, value: Value<'a>) {
        let Some(slot) = self.slot else { return };
        record.set(slot, value);
        if !self.more_slots.is_empty() {
            self.set_more(record, value);
        }
    }

    #[cold]
    fn set_more<'a>(&self, record: &mut Record<'a>, value: Value<'a>) {
        self.more_slots.iter().for_each(|slot| record.set(*slot, value));
    }
}

/// The wanted keys of one object, ascending by length.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    keys: Vec<Key>,
    /// Bit n is set if there is a key of length n.
    lengths: u64,
    /// `starts[n]` is the first key of length n or more.
    starts: [u8; LONGEST + 2],
}

#[derive(Clone, Debug)]
struct Key {
    name: Box<[u8]>,
    tail: u64,
    point: Point,
}

impl Default for Node {
    fn default() -> Self {
        Node { keys: Vec::new(), lengths: 0, starts: [0; LONGEST + 2] }
    }
}

/// The last eight bytes, or all of a shorter key, so that nearly all other keys are told apart without comparing strings.
#[inline(always)]
fn tail(key: &[u8]) -> u64 {
    match key.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => key.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
    }
}

/// The same of the key at `start..end` of a line, with one load.
#[inline(always)]
fn tail_in(line: &[u8], start: usize, end: usize) -> Option<u64> {
    match line.get(..end)?.last_chunk::<8>() {
        Some(last) if end - start >= 8 => Some(u64::from_le_bytes(*last)),
        Some(last) if end > start => Some(u64::from_le_bytes(*last) >> (8 * (8 - (end - start)))),
        _ => Some(tail(line.get(start..end)?)),
    }
}

/// Whether two keys of one length, whose last eight bytes are known to be the same, are the same. In words of eight bytes:
/// keys are too short for a call of `memcmp` to pay.
#[inline(always)]
fn same_head(name: &[u8], key: &[u8]) -> bool {
    let (name, key) = (name.as_chunks::<8>().0, key.as_chunks::<8>().0);
    name.iter().zip(key).all(|(a, b)| u64::from_le_bytes(*a) == u64::from_le_bytes(*b))
}

impl Node {
    /// What is wanted of the value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Point> {
        self.get_in(key, 0, key.len())
    }

    /// What is wanted of the value of the key at `start..end` of a line.
    #[inline(always)]
    pub(super) fn get_in(&self, line: &[u8], start: usize, end: usize) -> Option<&Point> {
        let length = end - start;
        if length > LONGEST || self.lengths >> length & 1 == 0 {
            return None;
        }
        let candidates = usize::from(self.starts[length])..usize::from(self.starts[length + 1]);
        let tail = tail_in(line, start, end)?;
        for key in self.keys.get(candidates)? {
            if key.tail == tail && same_head(&key.name, line.get(start..end)?) {
                return Some(&key.point);
            }
        }
        None
    }

    fn entry(&mut self, name: &[u8]) -> &mut Point {
        let at = match self.keys.iter().position(|key| *key.name == *name) {
            Some(at) => at,
            None => {
                let at = self.keys.partition_point(|key| key.name.len() <= name.len());
                self.keys.insert(at, Key { name: name.into(), tail: tail(name), point: Point::default() });
                self.lengths |= 1 << name.len();
                for start in &mut self.starts[name.len() + 1..] {
                    *start += 1;
                }
                at
            }
        };
        &mut self.keys[at].point
    }
}

/// The allow-list of one gateway's log.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) root: Node,
}

impl Fields {
    /// Adds a path: its value is `role`, with `rank` among the role's synonyms.
    ///
    /// # Errors
    /// The path cannot be read.
    pub fn add(&mut self, path: &str, role: Role, rank: u8) -> Result<(), PathError> {
        let steps: Vec<&str> =
            path.strip_prefix('/').map(|steps| steps.split('/').collect()).unwrap_or_default();
        let (Some((first, rest)), false) = (steps.split_first(), steps.iter().any(|step| step.is_empty()))
        else {
            return Err(PathError::Form(path.to_owned()));
        };
        if steps.len() > MAX_STEPS || steps.iter().any(|step| step.len() > LONGEST) {
            return Err(PathError::Length(path.to_owned()));
        }
        let too_many = steps.iter().filter(|step| **step == "@json").count() > 1;
        let length_inside = rest.iter().rev().skip(1).any(|step| *step == "@length");
        if too_many
            || length_inside
            || matches!(*first, "@length" | "@last" | "@json")
            || rest.last() == Some(&"@json")
        {
            return Err(PathError::Step(path.to_owned()));
        }
        let mut point = self.root.entry(&key(first));
        let mut steps = rest.iter();
        let bit = 1 << role as u32;
        point.roles |= bit;
        while let Some(step) = steps.next() {
            point = match *step {
                "@length" => {
                    point.length.push((role, rank));
                    return Ok(());
                }
                "@last" => point.last.get_or_insert_default(),
                "@json" => {
                    // Checked above: it is not the last step.
                    let Some(inner) = steps.next() else { return Err(PathError::Step(path.to_owned())) };
                    point.json.get_or_insert_default().entry(&key(inner))
                }
                name => point.object.get_or_insert_default().entry(&key(name)),
            };
            point.roles |= bit;
        }
        match point.slot {
            None => point.slot = Some((role, rank)),
            Some(_) => point.more_slots.push((role, rank)),
        }
        Ok(())
    }

    /// The fields of the whole line, for sources that are not JSON as a whole.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

/// A key with the escapes of JSON Pointer resolved.
fn key(step: &str) -> Vec<u8> {
    step.replace("~1", "/").replace("~0", "~").into_bytes()
}
