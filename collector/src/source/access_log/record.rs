//! What was read of one line: values by role, borrowed.

use arrayvec::{ArrayString, ArrayVec};
use serde::Deserialize;

use crate::discard::Refusal;
use crate::source::attributes::{whole, whole_float};

/// Longest name that is unescaped: model names, provider labels and addresses are shorter.
const NAME_BYTES: usize = 256;

/// What a field says about a request. The names are those of the profiles' YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Model the client asked for, or that was sent upstream.
    RequestedModel,
    /// Model that answered.
    ServedModel,
    /// Provider label, or the name of the backend that stands for it.
    Provider,
    /// Address of the upstream.
    Upstream,
    /// HTTP status that the client got.
    Status,
    /// Class or text of an error; present only on errors. Only its class is compared, its text goes nowhere.
    Error,
    /// Envoy's response flags.
    Flags,
    /// Envoy's response code details: who answered.
    Details,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Whether the answer was streamed.
    Streaming,
    /// Present only when the answer was streamed.
    FirstChunk,
    /// Operation label.
    Operation,
    /// Path of the request, from which the operation is derived where no label is told.
    Path,
    /// Number of attempts at an upstream.
    Attempts,
    /// Number of attempts after the first.
    Retries,
    /// A status or address for each attempt, separated by commas (`$upstream_status`, `$upstream_addr`); `-` or empty is none.
    AttemptList,
    /// Number of targets tried; more than one is a fallback.
    Targets,
    /// What the gateway's cache did.
    Cache,
    /// Id of the request.
    Id,
    /// Time of the line.
    Time,
}

pub(super) const ROLES: usize = Role::Time as usize + 1;
const _: () = assert!(ROLES <= 32, "sets of roles are bits of a u32");

/// A scalar, borrowed from the line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// Absent, null, or not a scalar.
    #[default]
    None,
    /// A string without escapes.
    Text(&'a [u8]),
    /// A string as it is written, with escapes; inside a JSON document in a string they are twofold.
    Escaped(&'a [u8], u8),
    /// A number as it is written.
    Number(&'a [u8]),
    /// An integer (protobuf, length of an array).
    Int(i64),
    /// A floating-point number (protobuf).
    Double(f64),
    /// A boolean.
    Bool(bool),
}

/// Index, value and rank of some roles.
pub(super) type Saved<'a> = ArrayVec<(usize, Kept<'a>, u8), ROLES>;

/// Room for a name whose escapes are resolved.
pub type Name = ArrayString<NAME_BYTES>;

/// A value in the parts that are stored: an enum whose variants have payloads of several sizes is copied in pieces that do not
/// match its stores, which costs more than all the rest of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    raw: &'a [u8],
    bits: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    None,
    Text,
    Escaped,
    Number,
    Int,
    Double,
    Bool,
}

impl<'a> From<Value<'a>> for Kept<'a> {
    #[inline(always)]
    fn from(value: Value<'a>) -> Kept<'a> {
        let (kind, raw, bits): (_, &[u8], _) = match value {
            Value::None => (Kind::None, b"", 0),
            Value::Text(raw) => (Kind::Text, raw, 0),
            Value::Escaped(raw, levels) => (Kind::Escaped, raw, u64::from(levels)),
            Value::Number(raw) => (Kind::Number, raw, 0),
            Value::Int(number) => (Kind::Int, b"", number.cast_unsigned()),
            Value::Double(number) => (Kind::Double, b"", number.to_bits()),
            Value::Bool(flag) => (Kind::Bool, b"", u64::from(flag)),
        };
        Kept { raw, bits, kind }
    }
}

impl<'a> From<Kept<'a>> for Value<'a> {
    #[inline(always)]
    fn from(Kept { raw, bits, kind }: Kept<'a>) -> Value<'a> {
        match kind {
            Kind::None => Value::None,
            Kind::Text => Value::Text(raw),
            Kind::Escaped => Value::Escaped(raw, bits as u8),
            Kind::Number => Value::Number(raw),
            Kind::Int => Value::Int(bits.cast_signed()),
            Kind::Double => Value::Double(f64::from_bits(bits)),
            Kind::Bool => Value::Bool(bits != 0),
        }
    }
}

/// The allow-listed values of one line.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    values: [Kept<'a>; ROLES],
    ranks: [u8; ROLES],
}

impl Default for Record<'_> {
    fn default() -> Self {
        Record { values: [Kept::from(Value::None); ROLES], ranks: [u8::MAX; ROLES] }
    }
}

impl<'a> Record<'a> {
    /// Keeps `value` unless a better-ranked synonym is there. A missing marker counts as absent, but in a list of attempts,
    /// where it says that there was none.
    #[inline(always)]
    pub fn set(&mut self, (role, rank): (Role, u8), value: Value<'a>) {
        let index = role as usize;
        if rank <= self.ranks[index] && (!is_missing(value) || is_empty_list(role, value)) {
            self.values[index] = Kept::from(value);
            self.ranks[index] = rank;
        }
    }

    /// The value of a role.
    #[inline]
    pub fn get(&self, role: Role) -> Value<'a> {
        let index = role as usize;
        if self.ranks[index] == u8::MAX { Value::None } else { Value::from(self.values[index]) }
    }

    /// Forgets everything, to be used for the next line. The values themselves are not cleared.
    #[inline]
    pub fn clear(&mut self) {
        self.ranks = [u8::MAX; ROLES];
    }

    /// Copies the values of some roles, as bits, to go back to.
    #[inline]
    pub(super) fn save(&self, roles: u32, saved: &mut Saved<'a>) {
        let mut left = roles;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            saved.push((index, self.values[index], self.ranks[index]));
            left &= left - 1;
        }
    }

    /// Goes back to what was saved.
    pub(super) fn restore(&mut self, saved: &Saved<'a>) {
        for (index, value, rank) in saved {
            (self.values[*index], self.ranks[*index]) = (*value, *rank);
        }
    }

    /// The field was there and not a missing marker.
    #[inline]
    pub fn has(&self, role: Role) -> bool {
        self.get(role) != Value::None
    }

    /// The text of a role, with its escapes resolved into `room` if there are any; empty if absent. A text of more than 256
    /// bytes with escapes is no name, and reads as absent.
    ///
    /// # Errors
    /// Not UTF-8.
    #[inline]
    pub fn text<'b>(&self, role: Role, room: &'b mut Name) -> Result<&'b str, Refusal>
    where
        'a: 'b,
    {
        match self.get(role) {
            Value::Text(raw) | Value::Number(raw) => utf8(raw),
            Value::Escaped(raw, levels) => unescape(raw, levels, room),
            _ => Ok(""),
        }
    }

    /// The bytes of a role as they are written; for comparing and hashing.
    #[inline]
    pub fn raw(&self, role: Role) -> &'a [u8] {
        match self.get(role) {
            Value::Text(raw) | Value::Number(raw) | Value::Escaped(raw, _) => raw,
            _ => b"",
        }
    }

    /// A count, also written as text or as a float; `None` if absent.
    ///
    /// # Errors
    /// Negative, not whole, not a number, or 2^53 and more.
    #[inline]
    pub fn count(&self, role: Role) -> Result<Option<u64>, Refusal> {
        match self.get(role) {
            Value::None | Value::Bool(_) => Ok(None),
            Value::Int(number) => whole(number).map(Some),
            Value::Double(number) => whole_float(number).map(Some),
            Value::Text(raw) | Value::Number(raw) => parse_count(raw).map(Some),
            Value::Escaped(..) => Err(Refusal::CountRange),
        }
    }

    /// A boolean, also written as text.
    pub fn flag(&self, role: Role) -> Option<bool> {
        match self.get(role) {
            Value::Bool(flag) => Some(flag),
            Value::Text(raw) if raw.eq_ignore_ascii_case(b"true") => Some(true),
            Value::Text(raw) if raw.eq_ignore_ascii_case(b"false") => Some(false),
            _ => None,
        }
    }
}

#[inline]
fn parse_count(raw: &[u8]) -> Result<u64, Refusal> {
    if !raw.is_empty() && raw.len() <= 15 && raw.iter().all(u8::is_ascii_digit) {
        return Ok(raw.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
    }
    let number: f64 = utf8(raw)?.trim().parse().map_err(|_| Refusal::CountRange)?;
    whole_float(number)
}

#[inline]
fn utf8(raw: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(raw).map_err(|_| Refusal::InvalidUtf8)
}

/// Spellings of "not told"; kept as unknown, never as a name.
#[inline(always)]
fn is_missing(value: Value<'_>) -> bool {
    match value {
        Value::None => true,
        Value::Text(raw) => match raw.first() {
            None => true,
            Some(b'N' | b'n' | b'u' | b'U' | b'-') => is_missing_word(raw),
            Some(_) => false,
        },
        _ => false,
    }
}

#[inline(never)]
fn is_missing_word(raw: &[u8]) -> bool {
    matches!(raw, b"None" | b"none" | b"unknown" | b"null" | b"nil" | b"-" | b"UNSPECIFIED")
}

#[inline(always)]
fn is_empty_list(role: Role, value: Value<'_>) -> bool {
    role == Role::AttemptList && matches!(value, Value::Text(b"" | b"-"))
}

/// Resolves the escapes of a JSON string, `levels` times.
fn unescape<'b>(raw: &[u8], levels: u8, room: &'b mut Name) -> Result<&'b str, Refusal> {
    let mut text = Name::new();
    if resolve(utf8(raw)?, &mut text)?.is_none() {
        return Ok("");
    }
    for _ in 1..levels {
        let inner = text;
        if resolve(&inner, &mut text)?.is_none() {
            return Ok("");
        }
    }
    *room = text;
    Ok(room)
}

/// `None` if there is no room.
fn resolve(raw: &str, text: &mut Name) -> Result<Option<()>, Refusal> {
    text.clear();
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        let kind = *escape.as_bytes().first().ok_or(Refusal::Malformed)?;
        let (character, length) = match kind {
            b'"' | b'\\' | b'/' => (char::from(kind), 1),
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => unicode(escape)?,
            _ => return Err(Refusal::Malformed),
        };
        if text.try_push_str(plain).is_err() || text.try_push(character).is_err() {
            return Ok(None);
        }
        rest = escape.get(length..).ok_or(Refusal::Malformed)?;
    }
    Ok(text.try_push_str(rest).ok())
}

/// The character of `uXXXX`, or of the surrogate pair `uXXXX\uXXXX`, and its length.
fn unicode(escape: &str) -> Result<(char, usize), Refusal> {
    let unit = |from: usize| {
        let digits =
            escape.get(from..from + 4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|text| u16::from_str_radix(text, 16).ok()).ok_or(Refusal::Malformed)
    };
    let first = unit(1)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Ok((character, 5));
    }
    if escape.get(5..7) != Some("\\u") {
        return Err(Refusal::Malformed);
    }
    match char::decode_utf16([first, unit(7)?]).next() {
        Some(Ok(character)) => Ok((character, 11)),
        _ => Err(Refusal::Malformed),
    }
}
