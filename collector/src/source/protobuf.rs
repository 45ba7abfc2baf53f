//! A bounds-checked reader of the protobuf wire format.
//!
//! In: the bytes of one message. Out: its fields in order, values borrowed from the input.
//! Guarantees: never reads outside the input, never allocates, never decodes what the caller did not ask for. Any byte
//! sequence yields fields or a `WireError`; the caller decides which field numbers it looks at.

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("truncated or malformed protobuf")]
pub struct WireError;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes, a message or a packed list.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field.
    ///
    /// # Errors
    /// The field has another wire type, so the message is not of the expected kind.
    #[inline(always)]
    pub fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(WireError) }
    }

    /// The number of a varint or fixed-width field.
    ///
    /// # Errors
    /// The field is length-delimited.
    #[inline(always)]
    pub fn number(self) -> Result<u64, WireError> {
        match self {
            Value::Varint(number) | Value::Fixed64(number) => Ok(number),
            Value::Fixed32(number) => Ok(u64::from(number)),
            Value::Bytes(_) => Err(WireError),
        }
    }
}

/// Reads the fields of one message.
///
/// Inlined everywhere: a call per field is a fifth of the collector's time otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads `message`.
    #[inline(always)]
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field: its number and value; `None` at the end.
    ///
    /// # Errors
    /// The message is truncated, a field number is 0, or a wire type is unknown (groups are not accepted).
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| WireError)?;
        if field == 0 {
            return Err(WireError);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError),
        };
        Ok(Some((field, value)))
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Most tags and lengths take one byte.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte holds only the highest bit.
            if index == 9 && *byte > 1 {
                return Err(WireError);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(WireError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_wire_type() {
        let message = [0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 7, 0, 0, 0];
        let mut fields = Fields::of(&message);
        assert_eq!(fields.next_field(), Ok(Some((1, Value::Varint(150)))));
        assert_eq!(fields.next_field(), Ok(Some((2, Value::Fixed64(1)))));
        assert_eq!(fields.next_field(), Ok(Some((3, Value::Bytes(b"hi")))));
        assert_eq!(fields.next_field(), Ok(Some((4, Value::Fixed32(7)))));
        assert_eq!(fields.next_field(), Ok(None));
    }

    #[test]
    fn refuses_what_is_cut_or_unknown() {
        for message in [&[0x08][..], &[0x1a, 5, 1], &[0x11, 1, 2], &[0x0b], &[0x00, 1], &[0x80; 11]] {
            assert_eq!(Fields::of(message).next_field(), Err(WireError), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(message: Vec<u8>) {
            let mut fields = Fields::of(&message);
            while let Ok(Some(_)) = fields.next_field() {}
        }
    }
}
