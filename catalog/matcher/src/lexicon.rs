//! The words of the register and the trie of its patterns, as tables of the compiled register.
//!
//! A word is a number (`Symbol`); 0 is any word that the register does not know. Words are found by a hash table, open-addressed
//! with linear probing and at most half full. The trie's nodes are numbered breadth first, so a node's children stand
//! together, sorted by symbol (`compile/words.rs` lays both out). Guarantees: a look-up allocates nothing and always ends.

use crate::tables::Tables;

/// Number of a word; 0 is a word outside the register.
pub(crate) type Symbol = u16;
/// A node of the trie; 0 is the root.
pub(crate) type Node = u16;

/// A word outside the register.
pub(crate) const OUTSIDE: Symbol = 0;

/// Letters of a word that its key holds.
pub(crate) const KEY_LETTERS: usize = 8;
/// Up to this many children are looked through, more are halved.
const FEW: usize = 8;

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
    /// The symbol of `word`, whose first eight letters are `key`, or `OUTSIDE`.
    #[inline]
    pub(crate) fn symbol(&self, word: &[u8], key: u64) -> Symbol {
        let mask = self.word_slots.len() - 1;
        let mut slot = hash_word(word, key) as usize & mask;
        loop {
            let symbol = self.word_slots[slot].get();
            if symbol == OUTSIDE {
                return OUTSIDE;
            }
            let known = &self.words[usize::from(symbol)];
            if known.key.get() == key && self.is_rest(known.long.get(), word) {
                return symbol;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Whether `word` is the long word of row `long - 1`, or is no long word when `long` is 0.
    #[inline]
    fn is_rest(&self, long: u16, word: &[u8]) -> bool {
        match (long, word.len() > KEY_LETTERS) {
            (0, is_long) => !is_long,
            (_, false) => false,
            (row, true) => self.long_words[usize::from(row) - 1].bytes(self) == word,
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
        if node == 0 {
            return Some(self.roots[usize::from(symbol)].get()).filter(|node| *node != 0);
        }
        let place = usize::from(node);
        let (first, last) = (self.first_child[place].get(), self.first_child[place + 1].get());
        let symbols = &self.node_symbols[usize::from(first)..usize::from(last)];
        let found = if symbols.len() <= FEW {
            symbols.iter().position(|known| known.get() == symbol)
        } else {
            symbols.binary_search_by_key(&symbol, |known| known.get()).ok()
        };
        found.map(|at| first + at as Node)
    }
}

/// The first eight letters of `word`, zeros after a shorter one.
pub(crate) fn key_of(word: &[u8]) -> u64 {
    let mut key = [0; KEY_LETTERS];
    key.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(key)
}

/// Multiplicative, over the first and the last eight letters: the table is fixed, so nobody can choose its collisions.
#[inline]
pub(crate) fn hash_word(word: &[u8], key: u64) -> u32 {
    let last = if word.len() > KEY_LETTERS {
        word.last_chunk().map_or(0, |last| u64::from_le_bytes(*last))
    } else {
        0
    };
    ((key ^ last.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// FNV-1a, for labels.
#[inline]
pub(crate) fn hash_label(label: &[u8]) -> u32 {
    let hash =
        label.iter().fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ (hash >> 15)
}
