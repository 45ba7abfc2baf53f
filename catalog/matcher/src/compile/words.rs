//! Gathers the words and the trie while the register is compiled, then lays them out as the tables of `lexicon.rs`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use zerocopy::little_endian::{U16, U64};

use super::{CompileError, Texts, index};
use crate::lexicon::{KEY_LETTERS, Node, OUTSIDE, Symbol, hash_word, key_of};
use crate::tables::{Draft, Word};

/// Words with what is known of them, and the trie.
#[derive(Debug)]
pub(super) struct Words {
    symbols: HashMap<Vec<u8>, Symbol>,
    words: Vec<(Vec<u8>, u8)>,
    /// By node: its children.
    children: Vec<BTreeMap<Symbol, Node>>,
}

impl Words {
    /// The outside word and the root.
    pub(super) fn new() -> Words {
        Words { symbols: HashMap::new(), words: vec![(Vec::new(), 0)], children: vec![BTreeMap::new()] }
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

    /// The node after `node` on `symbol`, made if it is new. Nodes are numbered as they come; `write` numbers them anew.
    pub(super) fn edge(&mut self, node: Node, symbol: Symbol) -> Result<Node, CompileError> {
        let new = index(self.children.len(), "nodes of the trie")?;
        let to = *self.children[usize::from(node)].entry(symbol).or_insert(new);
        if to == new {
            self.children.push(BTreeMap::new());
        }
        Ok(to)
    }

    /// Lays the tables out, and says for each node which number it has in them.
    pub(super) fn write(&self, texts: &mut Texts, draft: &mut Draft) -> Result<Vec<Node>, CompileError> {
        self.write_words(texts, draft)?;
        let mut numbers = vec![0; self.children.len()];
        draft.roots = vec![U16::new(0); self.words.len()];
        draft.node_symbols.push(U16::new(OUTSIDE));
        let mut waiting = VecDeque::from([0]);
        while let Some(node) = waiting.pop_front() {
            draft.first_child.push(U16::new(index(draft.node_symbols.len(), "nodes of the trie")?));
            for (symbol, child) in &self.children[usize::from(node)] {
                let number = index(draft.node_symbols.len(), "nodes of the trie")?;
                numbers[usize::from(*child)] = number;
                draft.node_symbols.push(U16::new(*symbol));
                if node == 0 {
                    draft.roots[usize::from(*symbol)] = U16::new(number);
                }
                waiting.push_back(*child);
            }
        }
        draft.first_child.push(U16::new(index(draft.node_symbols.len(), "nodes of the trie")?));
        Ok(numbers)
    }

    fn write_words(&self, texts: &mut Texts, draft: &mut Draft) -> Result<(), CompileError> {
        let mut slots = vec![U16::new(OUTSIDE); table_size(self.words.len())];
        for (symbol, (letters, flags)) in self.words.iter().enumerate() {
            let mut long = 0;
            if letters.len() > KEY_LETTERS {
                draft.long_words.push(texts.add(&String::from_utf8_lossy(letters))?);
                long = index(draft.long_words.len(), "words")?;
            }
            let key = key_of(letters);
            draft.words.push(Word { key: U64::new(key), long: U16::new(long), flags: *flags });
            if symbol != usize::from(OUTSIDE) {
                let slot = free(&slots, hash_word(letters, key));
                slots[slot] = U16::new(index(symbol, "words")?);
            }
        }
        draft.word_slots = slots;
        Ok(())
    }
}

/// A power of two that keeps a table of `count` entries at most half full.
pub(super) fn table_size(count: usize) -> usize {
    (count * 2).next_power_of_two().max(2)
}

/// The first free slot for `hash`.
pub(super) fn free(slots: &[U16], hash: u32) -> usize {
    let mask = slots.len() - 1;
    let mut slot = hash as usize & mask;
    while slots[slot].get() != 0 {
        slot = (slot + 1) & mask;
    }
    slot
}
