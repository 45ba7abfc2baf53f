//! Rows as columns in ClickHouse's Native format, the form that costs the server least to insert.
//!
//! ```text
//! block = varint(columns) varint(rows) { varint-string(name) varint-string(type) value{rows} }
//! ```
//!
//! All values are fixed-size and little-endian; a UUID is its two halves, each little-endian. What is equal in a group of rows is
//! held once and repeated where it is written, and a block is written piece by piece, any number of times: it is never whole in
//! memory. Guarantees: a block has the same number of values in every column, checked before it can be written. Names and
//! types are checked by the server.

use std::marker::PhantomData;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::encode_varint;

/// Bytes of a piece, nearly: ClickHouse reads a compressed body piece by piece, and one of this size stays in the cache of both sides.
const PIECE_BYTES: usize = 1024 * 1024;

/// A value of fixed size.
pub(crate) trait Fixed: Copy {
    /// Bytes of a value.
    const SIZE: usize;
    /// Writes it into a slot of `SIZE` bytes.
    fn write(self, slot: &mut [u8]);
}

macro_rules! fixed {
    ($($type:ty),+) => {$(
        impl Fixed for $type {
            const SIZE: usize = size_of::<$type>();
            fn write(self, slot: &mut [u8]) {
                slot.copy_from_slice(&self.to_le_bytes());
            }
        }
    )+};
}
fixed!(i8, u16, u32, u64);

/// A UUID, from its 16 bytes in the order of its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uuid(pub(crate) [u8; 16]);

impl Fixed for Uuid {
    const SIZE: usize = 16;
    fn write(self, slot: &mut [u8]) {
        let whole = u128::from_be_bytes(self.0);
        slot.copy_from_slice(&whole.rotate_left(64).to_le_bytes());
    }
}

/// The values of one column.
#[derive(Debug)]
pub(crate) struct Column<T> {
    values: Vec<u8>,
    of: PhantomData<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column { values: Vec::new(), of: PhantomData }
    }
}

impl<T: Fixed> Column<T> {
    pub(crate) fn push(&mut self, value: T) {
        self.extend(std::iter::once(value));
    }

    pub(crate) fn extend(&mut self, values: impl ExactSizeIterator<Item = T>) {
        let first = self.values.len();
        self.values.resize(first + values.len() * T::SIZE, 0);
        for (slot, value) in self.values[first..].chunks_exact_mut(T::SIZE).zip(values) {
            value.write(slot);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.values
    }
}

/// Name and ClickHouse type of a column, bytes of a value, the values.
pub(crate) type Told<'a> = (&'static str, &'static str, usize, &'a [u8]);

/// Columns as this binary writes them.
pub(crate) trait Columns {
    /// Bytes of a row, encoded.
    const ROW_BYTES: usize;
    /// Each column with its values.
    fn told(&self) -> Vec<Told<'_>>;
}

/// Neighbouring rows with one value in the columns that are held once a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its place in those columns.
    pub(crate) index: usize,
    /// Its rows in the columns that hold a value for each.
    pub(crate) rows: Range<usize>,
}

/// Columns of different lengths: a mistake in this crate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {0} has another number of values than its rows")]
pub(crate) struct Uneven(&'static str);

/// A column of a block, and whether its values are one for each group.
#[derive(Debug)]
struct Source<'a> {
    told: Told<'a>,
    by_group: bool,
}

/// The rows of one insert.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The table that they are of.
    pub(crate) table: &'static str,
    /// How many.
    pub(crate) rows: usize,
    groups: Vec<Group>,
    sources: Vec<Source<'a>>,
}

impl<'a> Block<'a> {
    /// Rows in the order of `groups`, which together are all rows.
    pub(crate) fn new(
        table: &'static str,
        groups: Vec<Group>,
        of_groups: &[&'a dyn Held],
        of_rows: &[&'a dyn Held],
    ) -> Result<Block<'a>, Uneven> {
        let rows = groups.iter().map(|group| group.rows.len()).sum();
        let sides = [(of_groups, groups.len(), true), (of_rows, rows, false)];
        let mut sources = Vec::new();
        for (columns, needed, by_group) in sides {
            for told in columns.iter().flat_map(|columns| columns.held()) {
                if told.3.len() != needed * told.2 {
                    return Err(Uneven(told.0));
                }
                sources.push(Source { told, by_group });
            }
        }
        Ok(Block { table, rows, groups, sources })
    }

    #[cfg(test)]
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Names of the columns, for `INSERT INTO table (...)`.
    pub(crate) fn names(&self) -> String {
        self.sources.iter().map(|source| source.told.0).collect::<Vec<_>>().join(", ")
    }

    /// The block from its beginning.
    pub(crate) fn pieces(&self) -> Pieces<'_> {
        Pieces { block: self, column: 0, group: 0 }
    }
}

/// `Columns` whose type does not matter.
pub(crate) trait Held {
    /// As `Columns::told`.
    fn held(&self) -> Vec<Told<'_>>;
}

impl<T: Columns> Held for T {
    fn held(&self) -> Vec<Told<'_>> {
        self.told()
    }
}

/// A block as it is sent.
pub(crate) struct Pieces<'a> {
    block: &'a Block<'a>,
    column: usize,
    group: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let Block { rows, groups, sources, .. } = self.block;
        if self.column == sources.len() {
            return None;
        }
        // The last group of a piece goes over its end.
        let mut out = BytesMut::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        if (self.column, self.group) == (0, 0) {
            encode_varint(sources.len() as u64, &mut out);
            encode_varint(*rows as u64, &mut out);
        }
        while out.len() < PIECE_BYTES && self.column < sources.len() {
            let Source { told: (name, kind, size, values), by_group } = sources[self.column];
            if self.group == 0 {
                for text in [name, kind] {
                    encode_varint(text.len() as u64, &mut out);
                    out.put_slice(text.as_bytes());
                }
            }
            for group in &groups[self.group..] {
                if out.len() >= PIECE_BYTES {
                    break;
                }
                self.group += 1;
                if by_group {
                    repeat(&values[group.index * size..][..size], group.rows.len(), &mut out);
                } else {
                    out.put_slice(&values[group.rows.start * size..group.rows.end * size]);
                }
            }
            if self.group == groups.len() {
                (self.column, self.group) = (self.column + 1, 0);
            }
        }
        Some(out.freeze())
    }
}

/// Appends `value` `n` times.
fn repeat(value: &[u8], n: usize, out: &mut BytesMut) {
    fn fixed<const SIZE: usize>(value: &[u8], n: usize, out: &mut BytesMut) {
        let first = out.len();
        out.resize(first + n * SIZE, 0);
        let (slots, _) = out[first..].as_chunks_mut::<SIZE>();
        if let Ok(value) = value.try_into() {
            slots.fill(value);
        }
    }
    match value.len() {
        1 => fixed::<1>(value, n, out),
        2 => fixed::<2>(value, n, out),
        4 => fixed::<4>(value, n, out),
        8 => fixed::<8>(value, n, out),
        16 => fixed::<16>(value, n, out),
        _ => (0..n).for_each(|_| out.put_slice(value)),
    }
}

/// Declares a struct of columns and its `Columns`.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $kind:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $crate::native::Column<$type>,)+
        }

        impl $crate::native::Columns for $name {
            const ROW_BYTES: usize = 0 $(+ <$type as $crate::native::Fixed>::SIZE)+;
            fn told(&self) -> Vec<$crate::native::Told<'_>> {
                vec![$((
                    stringify!($field),
                    $kind,
                    <$type as $crate::native::Fixed>::SIZE,
                    self.$field.bytes(),
                )),+]
            }
        }
    };
}
pub(crate) use columns;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    columns! {
        Sides { a: u16 = "UInt16", id: Uuid = "UUID", }
    }
    columns! {
        Whole { wide: u64 = "UInt64", flag: i8 = "Int8", long: u32 = "UInt32", }
    }
    columns! {
        Counted { n: u64 = "UInt64", }
    }

    fn group(index: usize, rows: Range<usize>) -> Group {
        Group { index, rows }
    }

    fn bytes(block: &Block<'_>) -> Vec<u8> {
        block.pieces().flatten().collect()
    }

    #[test]
    fn layout() {
        let (mut of_rows, mut of_groups) = (Sides::default(), Whole::default());
        of_rows.a.extend([0x0102, 0x0304, 0x0506].into_iter());
        of_groups.wide.extend([7, 8].into_iter());
        of_groups.flag.extend([-1, 2].into_iter());
        of_groups.long.extend([9, 10].into_iter());
        let groups = vec![group(1, 2..3), group(0, 0..2)];
        let uneven = Block::new("pair", groups.clone(), &[&of_groups], &[&of_rows]);
        assert_eq!(uneven.unwrap_err(), Uneven("id"));
        of_rows.id.push(Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]));
        of_rows.id.extend([Uuid([0; 16]), Uuid([1; 16])].into_iter());
        let one_group = Block::new("pair", vec![group(0, 0..3)], &[&of_groups], &[&of_rows]);
        assert_eq!(one_group.unwrap_err(), Uneven("wide"));
        let block = Block::new("pair", groups, &[&of_groups], &[&of_rows]).unwrap();
        assert_eq!((block.table, block.rows, block.names().as_str()), ("pair", 3, "wide, flag, long, a, id"));
        let mut expected = vec![5, 3];
        expected.extend_from_slice(b"\x04wide\x06UInt64");
        [8_u64, 7, 7].iter().for_each(|value| expected.extend_from_slice(&value.to_le_bytes()));
        expected.extend_from_slice(b"\x04flag\x04Int8\x02\xff\xff");
        expected.extend_from_slice(b"\x04long\x06UInt32\x0a\0\0\0\x09\0\0\0\x09\0\0\0");
        expected.extend_from_slice(b"\x01a\x06UInt16\x06\x05\x02\x01\x04\x03\x02id\x04UUID");
        expected.extend_from_slice(&[1; 16]);
        expected.extend_from_slice(&[7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
        expected.extend_from_slice(&[0; 16]);
        assert_eq!(bytes(&block), expected);
        assert_eq!(bytes(&block), expected, "a second try is the same");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn groups_across_pieces_are_whole(lengths in prop::collection::vec(0_usize..40_000, 0..12)) {
            let (mut of_groups, mut of_rows, mut groups) = (Counted::default(), Counted::default(), Vec::new());
            let mut rows = 0;
            for (index, length) in lengths.iter().enumerate() {
                of_groups.n.push(index as u64);
                of_rows.n.extend((rows..rows + length).map(|row| row as u64));
                groups.insert(0, group(index, rows..rows + length));
                rows += length;
            }
            let held: Vec<u64> = groups.iter().flat_map(|group| vec![group.index as u64; group.rows.len()]).collect();
            let order: Vec<u64> = groups.iter().flat_map(|group| group.rows.clone()).map(|row| row as u64).collect();
            let block = Block::new("t", groups, &[&of_groups], &[&of_rows]).unwrap();
            let mut expected = vec![2];
            encode_varint(rows as u64, &mut expected);
            for values in [held, order] {
                expected.extend_from_slice(b"\x01n\x06UInt64");
                values.iter().for_each(|value| expected.extend_from_slice(&value.to_le_bytes()));
            }
            prop_assert_eq!(bytes(&block), expected);
            let largest = block.pieces().map(|piece| piece.len()).max().unwrap_or(0);
            prop_assert!(largest < PIECE_BYTES + 40_000 * 8 + 64, "{}", largest);
        }
    }
}
