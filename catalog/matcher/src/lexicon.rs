//! The words of the register and the trie of its patterns, as hash tables in the compiled register.
//!
//! A word is a number (`Symbol`); 0 is any word that the register does not know. The trie's edges are one hash table keyed
//! by (node, symbol). Both tables are open-addressed with linear probing and at most half full (`compile/words.rs` fills
//! them). Guarantees: a look-up allocates nothing and always ends.

use crate::tables::Tables;

/// Number of a word; 0 is a word outside the register.
pub(crate) type Symbol = u16;
/// A node of the trie; 0 is the root.
pub(crate) type Node = u16;

/// A word outside the register.
pub(crate) const OUTSIDE: Symbol = 0;

/// What is known of a word, as bits.
pub(crate) mod flag {
    /// Often follows a model's name (`instruct`, `preview`).
    pub(crate) const QUALIFIER: u8 = 1;
    /// A host's or vendor's word before a model's name (`databricks`, `us`).
    pub(crate) const HOST: u8 = 2;
    /// Says that weights were tuned, merged or converted (`gguf`, `lora`).
    pub(crate) const DERIVED: u8 = 4;
}

impl Tables {
    /// The symbol of `word`, or `OUTSIDE`.
    #[inline]
    pub(crate) fn symbol(&self, word: &[u8]) -> Symbol {
        let mask = self.word_slots.len() - 1;
        let mut slot = hash_word(word) as usize & mask;
        loop {
            let symbol = self.word_slots[slot].get();
            if symbol == OUTSIDE {
                return OUTSIDE;
            }
            let known = self.words[usize::from(symbol)];
            if usize::from(known.length) == word.len() && self.letters(known.start, word.len()) == word {
                return symbol;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The flags of a symbol.
    #[inline]
    pub(crate) fn flags(&self, symbol: Symbol) -> u8 {
        self.words[usize::from(symbol)].flags
    }

    /// The node after `node` on `symbol`.
    #[inline]
    pub(crate) fn next(&self, node: Node, symbol: Symbol) -> Option<Node> {
        let mask = self.edges.len() - 1;
        let mut slot = hash_edge(node, symbol) as usize & mask;
        loop {
            let edge = self.edges[slot];
            match edge.to.get() {
                0 => return None,
                to if edge.node.get() == node && edge.symbol.get() == symbol => return Some(to),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// FNV-1a, folded: words are short, and the table is fixed, so nobody can choose its collisions.
#[inline]
pub(crate) fn hash_word(word: &[u8]) -> u32 {
    let hash =
        word.iter().fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ (hash >> 15)
}

#[inline]
pub(crate) fn hash_edge(node: Node, symbol: Symbol) -> u32 {
    let key = (u32::from(node) << 16 | u32::from(symbol)).wrapping_mul(0x9e37_79b1);
    key ^ (key >> 16)
}
