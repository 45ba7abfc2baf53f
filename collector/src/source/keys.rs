//! Allow-lists of attributes: which keys of a span or metric point are looked at, and what each says.
//!
//! The common list (`attributes.rs`) is fixed at compile time; a profile that is data brings its own, which is compiled at start
//! into the same form: keys by length, told apart by their last eight bytes. A reader is compiled for each kind of list, so the
//! common one pays nothing for the other.

use super::attributes::{self, Role};

/// Longest key that can be on a list.
pub const LONGEST_KEY: usize = 63;

/// An allow-list.
pub trait AllowList {
    /// Whether the parent, the start and the events of a span are read too.
    const RELATIONS: bool;

    /// The role and rank of an attribute key, if it is on the list.
    fn role_of(&self, key: &[u8]) -> Option<(Role, u8)>;
}

/// The common list, of the GenAI conventions and of LiteLLM.
#[derive(Clone, Copy, Debug)]
pub struct Common;

impl AllowList for Common {
    const RELATIONS: bool = false;

    #[inline]
    fn role_of(&self, key: &[u8]) -> Option<(Role, u8)> {
        attributes::role_of(key)
    }
}

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, or too long.
    #[error("write a key of 1 to {LONGEST_KEY} bytes")]
    Length,
    /// It is there already.
    #[error("a key can stand once")]
    Twice,
}

/// The list of a profile that is data.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Ascending by length.
    keys: Vec<Key>,
    /// Bit n is set if there is a key of length n.
    lengths: u64,
    /// `starts[n]` is the first key of length n or more.
    starts: [u8; LONGEST_KEY + 2],
}

#[derive(Clone, Debug)]
struct Key {
    tail: u64,
    role: (Role, u8),
    name: Box<[u8]>,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { keys: Vec::new(), lengths: 0, starts: [0; LONGEST_KEY + 2] }
    }
}

impl Keys {
    /// Adds a key with its role and its rank among the role's synonyms.
    ///
    /// # Errors
    /// It is empty, too long, or there already.
    pub fn add(&mut self, name: &str, role: Role, rank: u8) -> Result<(), KeyError> {
        let name = name.as_bytes();
        // At most 255 keys, so that places fit into a byte.
        if name.is_empty() || name.len() > LONGEST_KEY || self.keys.len() >= usize::from(u8::MAX) {
            return Err(KeyError::Length);
        }
        if self.role_of(name).is_some() {
            return Err(KeyError::Twice);
        }
        let at = self.keys.partition_point(|key| key.name.len() <= name.len());
        self.keys.insert(at, Key { tail: attributes::tail(name), role: (role, rank), name: name.into() });
        self.lengths |= 1 << name.len();
        self.starts[name.len() + 1..].iter_mut().for_each(|start| *start += 1);
        Ok(())
    }
}

impl AllowList for Keys {
    const RELATIONS: bool = true;

    #[inline]
    fn role_of(&self, key: &[u8]) -> Option<(Role, u8)> {
        let length = key.len();
        if length > LONGEST_KEY || self.lengths >> length & 1 == 0 {
            return None;
        }
        let tail = attributes::tail(key);
        let candidates = usize::from(self.starts[length])..usize::from(self.starts[length + 1]);
        let found = self
            .keys
            .get(candidates)?
            .iter()
            .find(|candidate| candidate.tail == tail && attributes::same_head(&candidate.name, key));
        found.map(|key| key.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_nothing_else() {
        let mut keys = Keys::default();
        let names =
            ["a", "b", "stream", "agw.ai.time_to_first_token", "openinference.span.kind", "llm.provider"];
        for (rank, name) in names.into_iter().enumerate() {
            keys.add(name, Role::Operation, rank as u8).unwrap();
        }
        for (rank, name) in names.into_iter().enumerate() {
            assert_eq!(keys.role_of(name.as_bytes()), Some((Role::Operation, rank as u8)), "{name}");
        }
        for name in ["", "c", "strean", "xpeninference.span.kind", "llm.provided", &"x".repeat(200)] {
            assert_eq!(keys.role_of(name.as_bytes()), None, "{name}");
        }
        assert_eq!(keys.add("stream", Role::Streaming, 0), Err(KeyError::Twice));
        assert_eq!(keys.add("", Role::Streaming, 0), Err(KeyError::Length));
        assert_eq!(keys.add(&"x".repeat(64), Role::Streaming, 0), Err(KeyError::Length));
    }
}
