//! The compiled register: one block of bytes that is read where it lies.
//!
//! Format, little-endian, nothing aligned: `MAGIC`; version (u32); facts-until (i32, days since 1970); the number of rows
//! of each section (u32), in the order of `sections!`; the sections' rows. A text is a place in the section `text`.
//! Nothing in it is a pointer, so a process that maps the block shares it and touches only the pages that it reads.
//!
//! In: bytes that `Draft::to_bytes` wrote. Guarantees: reading allocates nothing; bytes of another length or magic are
//! refused. Rows are trusted: they come from the compiler of the same build.

use zerocopy::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Format and its version.
const MAGIC: &[u8; 8] = b"WBREG\0\0\x01";
/// Stands for no row where a row's place may be missing.
pub(crate) const NONE: u16 = u16::MAX;

/// Declares a row: fixed size, any bytes are one.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: $type,)+ }
    )+};
}

rows! {
    /// A place in the section `text`.
    Text { start: U32, length: U16, }
    /// A range of rows of another section.
    Span { start: U16, count: U16, }
    /// A word of a pattern. `key` is its first eight letters; a longer one is whole in row `long - 1` of `long_words`.
    Word { key: U64, long: U16, flags: u8, }
    /// A pattern of the register, without its prefix: that is its place in the trie.
    Rule {
        /// Row of `models`; of `families` if the pattern proves no more (`rule_flag::FAMILY`).
        names: U16,
        /// Rows of `conditions`.
        conditions: Span,
        /// How specific the pattern is.
        weight: u8,
        /// Bits of `rule_flag`.
        flags: u8,
    }
    /// A condition on the tokens after a rule's prefix: a kind of `condition_kind`, and a word for `LATER`.
    Condition { kind: u8, symbol: U16, }
    /// A family.
    Family { name: Text, developer: U16, }
    /// An organisation that publishes weights only.
    Organisation { name: Text, developer: U16, openness: u8, sized: u8, }
    /// A model.
    ModelRow { id: U32, name: Text, family: U16, periods: Span, contested: Text, sources: Span, }
    /// Openness from a day on.
    PeriodRow { from: I32, openness: u8, licence: Text, }
    /// A provider.
    ProviderRow {
        id: U16,
        name: Text,
        /// Row of `developers`, or `NONE`.
        developer: U16,
        hosting: u8,
        /// The label is also used by whatever speaks this provider's schema.
        schema: u8,
        /// Rows of `remote_suffixes`.
        remote_suffixes: Span,
        /// Row of `providers` that serves names with such a suffix, or `NONE`.
        remote: U16,
    }
    /// A label or host and the row of `providers` that it means; `NONE` names a schema or a proxy.
    Named { text: Text, provider: U16, }
}

/// What is known of a rule.
pub(crate) mod rule_flag {
    /// The prefix holds a digit.
    pub(crate) const VERSIONED: u8 = 1;
    /// Made of ordinary words.
    pub(crate) const WEAK: u8 = 2;
    /// A maker's moving name.
    pub(crate) const ALIAS: u8 = 4;
    /// A router, no model.
    pub(crate) const ROUTER: u8 = 8;
    /// At some date the weights are open.
    pub(crate) const OPEN: u8 = 16;
    /// Closed at every date, and no model of it tells a parameter count.
    pub(crate) const NEVER_SIZED: u8 = 32;
    /// The pattern proves the family only.
    pub(crate) const FAMILY: u8 = 64;
}

/// Kinds of condition.
pub(crate) mod condition_kind {
    /// The word comes later.
    pub(crate) const LATER: u8 = 0;
    /// A parameter count comes later.
    pub(crate) const SIZED: u8 = 1;
    /// Nothing but qualifiers comes later.
    pub(crate) const ENDS: u8 = 2;
    /// Nothing comes later.
    pub(crate) const LAST: u8 = 3;
}

/// Why bytes are no compiled register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compiled register of this version")]
pub struct FormatError;

/// Declares the sections, in the order in which they are written.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident: $row:ty,)+) => {
        /// The sections of a compiled register.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct Tables {
            pub(crate) version: u32,
            pub(crate) facts_until: i32,
            $($(#[$doc])* pub(crate) $name: &'static [$row],)+
        }

        /// The sections while they are made.
        #[derive(Debug, Default)]
        pub(crate) struct Draft {
            pub(crate) version: u32,
            pub(crate) facts_until: i32,
            $(pub(crate) $name: Vec<$row>,)+
        }

        impl Tables {
            /// Reads the tables out of `bytes`.
            pub(crate) fn parse(bytes: &'static [u8]) -> Result<Tables, FormatError> {
                let mut rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(FormatError)?;
                let version = take_u32(&mut rest)?;
                let facts_until = take_u32(&mut rest)?.cast_signed();
                $(let $name = take_u32(&mut rest)?;)+
                $(let $name = take_rows::<$row>(&mut rest, $name)?;)+
                if rest.is_empty() { Ok(Tables { version, facts_until, $($name,)+ }) } else { Err(FormatError) }
            }

            /// Bytes of the sections that a look-up of a name reads.
            pub(crate) fn look_up_bytes(&self) -> usize {
                let all = 0 $(+ size_of_val(self.$name))+;
                // Names, licences and sources are read by number only, not in a look-up.
                let read: usize = [self.long_words, self.undecided_hosts, self.remote_suffixes]
                    .into_iter()
                    .flatten()
                    .chain([self.labels, self.hosts, self.host_patterns].into_iter().flatten().map(|row| &row.text))
                    .chain(self.organisations.iter().map(|row| &row.name))
                    .map(|text| usize::from(text.length.get()))
                    .sum();
                all - size_of_val(self.text) - size_of_val(self.sources) + read
            }
        }

        impl Draft {
            /// The block of bytes.
            pub(crate) fn to_bytes(&self) -> Vec<u8> {
                let mut bytes = MAGIC.to_vec();
                bytes.extend(self.version.to_le_bytes());
                bytes.extend(self.facts_until.to_le_bytes());
                $(bytes.extend((self.$name.len() as u32).to_le_bytes());)+
                $(bytes.extend(self.$name.as_bytes());)+
                bytes
            }
        }
    };
}

sections! {
    /// All letters.
    text: u8,
    /// The register's words; row 0 is the word outside it.
    words: Word,
    /// Words of more than eight letters.
    long_words: Text,
    /// Hash table of the words, a power of two, 0 where empty.
    word_slots: U16,
    /// By word: the node after the root, 0 if there is none.
    roots: U16,
    /// By node, the root's row being unused: its first child; one row more than nodes. Children stand together, by symbol.
    first_child: U16,
    /// By node: the word that leads to it.
    node_symbols: U16,
    /// By node: the first rule that ends there; one row more than nodes.
    rules_at: U16,
    /// By node, the heaviest first.
    rules: Rule,
    /// Conditions of rules.
    conditions: Condition,
    /// Families.
    families: Family,
    /// Developers.
    developers: Text,
    /// By name.
    organisations: Organisation,
    /// By number.
    models: ModelRow,
    /// Oldest first within a model.
    periods: PeriodRow,
    /// Sources of models.
    sources: Text,
    /// By number.
    providers: ProviderRow,
    /// Suffixes of names that a local runtime forwards.
    remote_suffixes: Text,
    /// Labels in normal form.
    labels: Named,
    /// Hash table of the labels, a power of two, one more than the row and 0 where empty.
    label_slots: U16,
    /// Whole host names, sorted.
    hosts: Named,
    /// Host patterns, the longest first.
    host_patterns: Named,
    /// Patterns of public hosts that prove nothing.
    undecided_hosts: Text,
}

impl Tables {
    /// The text at a place.
    pub(crate) fn text(&self, place: Text) -> &'static str {
        let start = place.start.get() as usize;
        let bytes = self.text.get(start..start + usize::from(place.length.get())).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The bytes at a place; for comparisons, which need no check that they are text.
    pub(crate) fn letters(&self, start: U32, length: usize) -> &'static [u8] {
        let start = start.get() as usize;
        self.text.get(start..start + length).unwrap_or_default()
    }
}

impl Text {
    /// The bytes of this text.
    pub(crate) fn bytes(self, tables: &Tables) -> &'static [u8] {
        tables.letters(self.start, usize::from(self.length.get()))
    }

    /// Nothing is written here.
    pub(crate) fn is_empty(self) -> bool {
        self.length.get() == 0
    }
}

impl Span {
    /// The rows of this range.
    pub(crate) fn of<T>(self, rows: &'static [T]) -> &'static [T] {
        let start = usize::from(self.start.get());
        rows.get(start..start + usize::from(self.count.get())).unwrap_or_default()
    }
}

fn take_u32(rest: &mut &'static [u8]) -> Result<u32, FormatError> {
    let (number, after) = rest.split_first_chunk::<4>().ok_or(FormatError)?;
    *rest = after;
    Ok(u32::from_le_bytes(*number))
}

fn take_rows<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    rest: &mut &'static [u8],
    count: u32,
) -> Result<&'static [T], FormatError> {
    let (rows, after) = <[T]>::ref_from_prefix_with_elems(rest, count as usize).map_err(|_| FormatError)?;
    *rest = after;
    Ok(rows)
}
