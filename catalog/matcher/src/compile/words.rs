//! Gathers the words and the trie while the register is compiled, then lays them out as the hash tables of `lexicon.rs`.

use std::collections::HashMap;

use zerocopy::little_endian::{U16, U32};

use super::{CompileError, index};
use crate::lexicon::{Node, OUTSIDE, Symbol, hash_edge, hash_word};
use crate::tables::{Draft, Edge, Word};

/// Words with what is known of them, and the edges of the trie.
#[derive(Debug)]
pub(super) struct Words {
    symbols: HashMap<Vec<u8>, Symbol>,
    words: Vec<(Vec<u8>, u8)>,
    edges: HashMap<(Node, Symbol), Node>,
    nodes: usize,
}

impl Words {
    /// The outside word and the root.
    pub(super) fn new() -> Words {
        Words { symbols: HashMap::new(), words: vec![(Vec::new(), 0)], edges: HashMap::new(), nodes: 1 }
    }

    /// Adds `word` if it is new, and `flags` to what is known of it.
    pub(super) fn add(&mut self, word: &[u8], flags: u8) -> Result<Symbol, CompileError> {
        let symbol = match self.symbols.get(word) {
            Some(symbol) => *symbol,
            None => {
                let symbol = index(self.words.len(), "words")?;
                self.symbols.insert(word.to_vec(), symbol);
                self.words.push((word.to_vec(), 0));
                symbol
            }
        };
        self.words[usize::from(symbol)].1 |= flags;
        Ok(symbol)
    }

    /// The node after `node` on `symbol`, made if it is new.
    pub(super) fn edge(&mut self, node: Node, symbol: Symbol) -> Result<Node, CompileError> {
        if let Some(to) = self.edges.get(&(node, symbol)) {
            return Ok(*to);
        }
        let to = index(self.nodes, "nodes of the trie")?;
        self.nodes += 1;
        self.edges.insert((node, symbol), to);
        Ok(to)
    }

    /// How many nodes the trie has.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Lays the tables out.
    pub(super) fn write(&self, draft: &mut Draft) -> Result<(), CompileError> {
        let mut slots = vec![U16::new(OUTSIDE); table_size(self.words.len())];
        for (symbol, (letters, flags)) in self.words.iter().enumerate() {
            let length =
                u8::try_from(letters.len()).map_err(|_| CompileError::TooMany("letters of a word"))?;
            let start = U32::new(draft.text.len() as u32);
            draft.text.extend_from_slice(letters);
            draft.words.push(Word { start, length, flags: *flags });
            if symbol != usize::from(OUTSIDE) {
                let slot = free(&slots, hash_word(letters), |slot| slot.get() == OUTSIDE);
                slots[slot] = U16::new(index(symbol, "words")?);
            }
        }
        draft.word_slots = slots;
        let mut edges = vec![Edge::default(); table_size(self.edges.len())];
        // In order, so that one register is always compiled to the same bytes.
        let mut sorted: Vec<_> = self.edges.iter().collect();
        sorted.sort_unstable();
        for ((node, symbol), to) in sorted {
            let slot = free(&edges, hash_edge(*node, *symbol), |edge| edge.to.get() == 0);
            edges[slot] = Edge { node: U16::new(*node), symbol: U16::new(*symbol), to: U16::new(*to) };
        }
        draft.edges = edges;
        Ok(())
    }
}

/// A power of two that keeps a table of `count` entries at most half full.
fn table_size(count: usize) -> usize {
    (count * 2).next_power_of_two().max(2)
}

/// The first free slot for `hash`.
fn free<T>(slots: &[T], hash: u32, is_free: impl Fn(&T) -> bool) -> usize {
    let mask = slots.len() - 1;
    let mut slot = hash as usize & mask;
    while !is_free(&slots[slot]) {
        slot = (slot + 1) & mask;
    }
    slot
}
