//! Rows as columns in ClickHouse's Native format, the form that costs the server least to insert.
//!
//! ```text
//! block = varint(columns) varint(rows) { varint-string(name) varint-string(type) value{rows} }
//! ```
//!
//! All values are fixed-size and little-endian; a UUID is its two halves, each little-endian. Guarantees: a block has the same
//! number of values in every column, checked when it is encoded. Names and types are checked by the server.

use std::marker::PhantomData;
use std::ops::Range;

use bytes::Bytes;
use prost::encoding::encode_varint;

/// A value of fixed size.
pub(crate) trait Fixed: Copy {
    /// Bytes of a value.
    const SIZE: usize;
    /// Appends it.
    fn put(self, out: &mut Vec<u8>);
}

macro_rules! fixed {
    ($($type:ty),+) => {$(
        impl Fixed for $type {
            const SIZE: usize = size_of::<$type>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
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
    fn put(self, out: &mut Vec<u8>) {
        let whole = u128::from_be_bytes(self.0);
        out.extend_from_slice(&((whole >> 64) as u64).to_le_bytes());
        out.extend_from_slice(&(whole as u64).to_le_bytes());
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
        value.put(&mut self.values);
    }

    /// Appends `value` `n` times.
    pub(crate) fn repeat(&mut self, value: T, n: usize) {
        self.values.reserve(n * T::SIZE);
        for _ in 0..n {
            value.put(&mut self.values);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.values.len() / T::SIZE
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.values
    }
}

/// A table's columns as this binary writes them.
pub(crate) trait Columns {
    /// The table.
    const TABLE: &'static str;
    /// Names and ClickHouse types.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// Bytes of a row, encoded.
    const ROW_BYTES: usize;
    /// Number of values and the values, for each of `COLUMNS`.
    fn values(&self) -> Vec<(usize, &[u8])>;
}

/// Columns of different lengths: a mistake in this crate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {0} has another number of rows than the first one")]
pub(crate) struct Uneven(&'static str);

/// One block with the rows of `order`, range after range; together the ranges are all rows.
pub(crate) fn encode<T: Columns>(table: &T, order: &[Range<usize>]) -> Result<Bytes, Uneven> {
    let values = table.values();
    let rows = values.first().map_or(0, |(rows, _)| *rows);
    let size: usize = values.iter().map(|(_, bytes)| bytes.len() + 512).sum();
    let mut out = Vec::with_capacity(size);
    encode_varint(values.len() as u64, &mut out);
    encode_varint(rows as u64, &mut out);
    for ((name, kind), (n, bytes)) in T::COLUMNS.iter().zip(values) {
        if n != rows {
            return Err(Uneven(name));
        }
        for text in [name, kind] {
            encode_varint(text.len() as u64, &mut out);
            out.extend_from_slice(text.as_bytes());
        }
        let size = bytes.len().checked_div(rows).unwrap_or(0);
        for range in order {
            out.extend_from_slice(&bytes[range.start * size..range.end * size]);
        }
    }
    Ok(out.into())
}

/// Declares a struct of columns and its `Columns`.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident in $table:literal { $($field:ident: $type:ty = $kind:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $crate::native::Column<$type>,)+
        }

        impl $crate::native::Columns for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [(&'static str, &'static str)] = &[$((stringify!($field), $kind)),+];
            const ROW_BYTES: usize = 0 $(+ <$type as $crate::native::Fixed>::SIZE)+;
            fn values(&self) -> Vec<(usize, &[u8])> {
                vec![$((self.$field.rows(), self.$field.bytes())),+]
            }
        }
    };
}
pub(crate) use columns;

#[cfg(test)]
mod tests {
    use super::*;

    columns! {
        Pair in "pair" { a: u16 = "UInt16", id: Uuid = "UUID", }
    }

    #[test]
    fn layout() {
        let whole = std::slice::from_ref(&(0..2));
        let mut pair = Pair::default();
        pair.a.repeat(0x0102, 2);
        assert_eq!(encode(&pair, whole), Err(Uneven("id")));
        pair.id.push(Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]));
        pair.id.push(Uuid([0; 16]));
        let mut expected = vec![2, 2, 1, b'a', 6];
        expected.extend_from_slice(b"UInt16\x02\x01\x02\x01\x02id\x04UUID");
        expected.extend_from_slice(&[7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
        expected.extend_from_slice(&[0; 16]);
        assert_eq!(encode(&pair, whole).unwrap(), expected);
        let turned = encode(&pair, &[1..2, 0..1]).unwrap();
        assert_eq!(turned[..expected.len() - 32], expected[..expected.len() - 32]);
        assert_eq!(turned[expected.len() - 32..][..16], [0; 16]);
    }
}
