//! The words of the register and the trie of its patterns, in four flat arrays.
//!
//! A word is a number (`Symbol`); 0 is any word that the register does not know. The trie's edges are one hash table keyed
//! by (node, symbol). Both tables are open-addressed with linear probing and at most half full.
//! Guarantees: a look-up allocates nothing and always ends.

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

/// The words and the trie.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    letters: Vec<u8>,
    words: Vec<Word>,
    word_slots: Vec<Symbol>,
    edges: Vec<Edge>,
    edge_slots: Vec<u16>,
    nodes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    start: u32,
    length: u8,
    flags: u8,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    node: Node,
    symbol: Symbol,
    to: Node,
}

impl Lexicon {
    /// An empty lexicon: the outside word and the root.
    pub(crate) fn new() -> Lexicon {
        let outside = Word { start: 0, length: 0, flags: 0 };
        Lexicon {
            words: vec![outside],
            word_slots: vec![0; 2],
            edge_slots: vec![0; 2],
            nodes: 1,
            ..Lexicon::default()
        }
    }

    /// The symbol of `word`, or `OUTSIDE`.
    pub(crate) fn symbol(&self, word: &[u8]) -> Symbol {
        let mask = self.word_slots.len() - 1;
        let mut slot = hash_word(word) as usize & mask;
        loop {
            match self.word_slots[slot] {
                OUTSIDE => return OUTSIDE,
                symbol if self.letters_of(symbol) == word => return symbol,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The flags of a symbol.
    pub(crate) fn flags(&self, symbol: Symbol) -> u8 {
        self.words[usize::from(symbol)].flags
    }

    /// The node after `node` on `symbol`.
    pub(crate) fn next(&self, node: Node, symbol: Symbol) -> Option<Node> {
        let mask = self.edge_slots.len() - 1;
        let mut slot = hash_edge(node, symbol) as usize & mask;
        loop {
            match self.edge_slots[slot] {
                0 => return None,
                number => {
                    let edge = self.edges[usize::from(number) - 1];
                    if edge.node == node && edge.symbol == symbol {
                        return Some(edge.to);
                    }
                    slot = (slot + 1) & mask;
                }
            }
        }
    }

    /// Adds `word` if it is new, and `flags` to what is known of it.
    pub(crate) fn add_word(&mut self, word: &[u8], flags: u8) -> Symbol {
        let mut symbol = self.symbol(word);
        if symbol == OUTSIDE {
            symbol = self.words.len() as Symbol;
            let start = self.letters.len() as u32;
            self.letters.extend_from_slice(word);
            self.words.push(Word { start, length: word.len() as u8, flags: 0 });
            if self.words.len() * 2 > self.word_slots.len() {
                self.word_slots = vec![OUTSIDE; self.word_slots.len() * 2];
                for known in 1..=symbol {
                    self.place_word(known);
                }
            } else {
                self.place_word(symbol);
            }
        }
        self.words[usize::from(symbol)].flags |= flags;
        symbol
    }

    /// The node after `node` on `symbol`, made if it is new.
    pub(crate) fn add_edge(&mut self, node: Node, symbol: Symbol) -> Node {
        if let Some(to) = self.next(node, symbol) {
            return to;
        }
        let to = self.nodes as Node;
        self.nodes += 1;
        self.edges.push(Edge { node, symbol, to });
        if self.edges.len() * 2 > self.edge_slots.len() {
            self.edge_slots = vec![0; self.edge_slots.len() * 2];
            for number in 0..self.edges.len() {
                self.place_edge(number);
            }
        } else {
            self.place_edge(self.edges.len() - 1);
        }
        to
    }

    /// How many nodes the trie has.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many words there are, the outside word included.
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.letters.capacity()
            + self.words.capacity() * size_of::<Word>()
            + self.word_slots.capacity() * size_of::<Symbol>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.edge_slots.capacity() * size_of::<u16>()
    }

    fn letters_of(&self, symbol: Symbol) -> &[u8] {
        let word = self.words[usize::from(symbol)];
        let start = word.start as usize;
        &self.letters[start..start + usize::from(word.length)]
    }

    fn place_word(&mut self, symbol: Symbol) {
        let mask = self.word_slots.len() - 1;
        let mut slot = hash_word(self.letters_of(symbol)) as usize & mask;
        while self.word_slots[slot] != OUTSIDE {
            slot = (slot + 1) & mask;
        }
        self.word_slots[slot] = symbol;
    }

    fn place_edge(&mut self, number: usize) {
        let mask = self.edge_slots.len() - 1;
        let edge = self.edges[number];
        let mut slot = hash_edge(edge.node, edge.symbol) as usize & mask;
        while self.edge_slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.edge_slots[slot] = number as u16 + 1;
    }
}

/// FNV-1a, folded: words are short, and the table is fixed, so nobody can choose its collisions.
fn hash_word(word: &[u8]) -> u32 {
    let hash =
        word.iter().fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ (hash >> 15)
}

fn hash_edge(node: Node, symbol: Symbol) -> u32 {
    let key = (u32::from(node) << 16 | u32::from(symbol)).wrapping_mul(0x9e37_79b1);
    key ^ (key >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_edges_are_found_again() {
        let mut lexicon = Lexicon::new();
        let words: Vec<String> = (0..5_000).map(|number| format!("w{number}")).collect();
        for word in &words {
            let symbol = lexicon.add_word(word.as_bytes(), 0);
            lexicon.add_edge(0, symbol);
        }
        for (number, word) in words.iter().enumerate() {
            let symbol = lexicon.symbol(word.as_bytes());
            assert_eq!(usize::from(symbol), number + 1);
            assert_eq!(lexicon.next(0, symbol), Some(number as Node + 1));
        }
        assert_eq!(lexicon.symbol(b"never"), OUTSIDE);
        assert_eq!(lexicon.next(0, OUTSIDE), None);
        assert_eq!(lexicon.next(1, 1), None);
    }
}
