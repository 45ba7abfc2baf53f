//! Finds the parts of a `multipart/form-data` body that tell something, while it passes by in pieces.
//!
//! In: pieces of a decoded body, cut anywhere. Out: the values of the listed parts, as they end; a part named `model` stands
//! where a field `/model` of a JSON document would. Guarantees: of every other part, such as a file, nothing is copied; at most
//! `LONGEST` bytes of a value and `LONGEST_LINE` of a header line are kept; linear, no recursion. Any bytes are taken: of what
//! is no form the rest is not read, and a value that no boundary ends is not told.
//! Sources: RFC 7578 (form-data), RFC 2046, 5.1 (boundaries). As servers read it, a line that begins with the boundary and goes
//! on with something else belongs to its part. A part with a file name is a file, whatever its name.

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use super::fields::{Fields, ROOT, Want};
use super::json::{LONGEST, Sink, Value};

/// Longest boundary (RFC 2046, 5.1.1).
const LONGEST_BOUNDARY: usize = 70;
/// Longest header line that is read; a longer one tells nothing.
const LONGEST_LINE: usize = 1_024;
/// What comes before the boundary. It begins with the only `\r` of a delimiter, so that a delimiter can begin nowhere in another.
const BEFORE: &[u8] = b"\r\n--";

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a part, or before the first: so many bytes of the delimiter were just seen.
    Content(u8),
    /// After a delimiter.
    Boundary,
    /// After a delimiter and white space.
    Padding,
    /// After a delimiter and a `-`.
    BoundaryDash,
    /// After a delimiter and a `\r`.
    BoundaryEnd,
    /// In the headers of a part.
    Header,
    /// After the last part, or no form.
    End,
}

/// Reads one form.
#[derive(Debug)]
pub struct Form {
    delimiter: Finder<'static>,
    place: Place,
    /// The header line that is read, or the value.
    text: Vec<u8>,
    is_too_long: bool,
    /// What the value of this part is told as.
    slot: Option<u8>,
}

impl Form {
    /// For a body of this content type; `None` if it is no form or tells no boundary.
    pub fn new(content_type: &str) -> Option<Form> {
        let (name, rest) = content_type.split_once(';')?;
        if !name.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let mut boundary = Vec::new();
        parameters(rest.as_bytes(), |name, value| {
            if name.eq_ignore_ascii_case(b"boundary") {
                boundary = value;
            }
        })?;
        let is_plain = boundary.iter().all(|byte| (b' '..=b'~').contains(byte));
        if boundary.is_empty() || boundary.len() > LONGEST_BOUNDARY || !is_plain {
            return None;
        }
        let delimiter = Finder::new(&[BEFORE, &boundary].concat()).into_owned();
        // The first delimiter may stand at the very beginning.
        let place = Place::Content(2);
        Some(Form { delimiter, place, text: Vec::new(), is_too_long: false, slot: None })
    }

    /// Reads a piece.
    pub fn read(&mut self, mut piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        while let Some((byte, rest)) = piece.split_first() {
            match (self.place, byte) {
                (Place::Content(_), _) => piece = self.read_content(piece),
                (Place::Header, _) => piece = self.read_header(piece, fields),
                (Place::End, _) => return,
                (Place::Boundary, b'-') => (self.place, piece) = (Place::BoundaryDash, rest),
                (Place::BoundaryDash, b'-') => {
                    self.end_part(sink);
                    self.place = Place::End;
                }
                (Place::Boundary | Place::Padding, b' ' | b'\t') => {
                    (self.place, piece) = (Place::Padding, rest);
                }
                (Place::Boundary | Place::Padding, b'\r') => {
                    (self.place, piece) = (Place::BoundaryEnd, rest);
                }
                (Place::BoundaryEnd, b'\n') => {
                    self.end_part(sink);
                    (self.place, piece) = (Place::Header, rest);
                }
                // It was none: the part goes on. A value with such a line in it is no name.
                _ => {
                    self.is_too_long = true;
                    self.place = Place::Content(0);
                }
            }
        }
    }

    /// Passes what belongs to the part, up to its delimiter.
    fn read_content<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let Place::Content(seen) = self.place else { return piece };
        let delimiter = self.delimiter.needle();
        let (seen, length) = (usize::from(seen), delimiter.len());
        if seen > 0 {
            let rest = delimiter.get(seen..).unwrap_or_default();
            let same = rest.iter().zip(piece).take_while(|(expected, byte)| expected == byte).count();
            let piece = piece.get(same..).unwrap_or_default();
            if seen + same == length {
                self.place = Place::Boundary;
            } else if piece.is_empty() {
                self.place = Place::Content((seen + same) as u8);
            } else {
                let length = seen + same;
                self.keep_of_delimiter(length);
                self.place = Place::Content(0);
            }
            return piece;
        }
        if let Some(at) = self.delimiter.find(piece) {
            self.keep(&piece[..at]);
            self.place = Place::Boundary;
            return &piece[at + length..];
        }
        // The last `\r` may begin a delimiter that comes whole with the next piece.
        let tail = piece.len().saturating_sub(length - 1);
        let begun = memrchr(b'\r', &piece[tail..]).map(|at| tail + at);
        let begun = begun.filter(|at| delimiter.starts_with(&piece[*at..])).unwrap_or(piece.len());
        self.keep(&piece[..begun]);
        self.place = Place::Content((piece.len() - begun) as u8);
        &[]
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.slot.is_none() || self.is_too_long {
            return;
        }
        self.is_too_long = self.text.len() + bytes.len() > LONGEST;
        if !self.is_too_long {
            self.text.extend_from_slice(bytes);
        }
    }

    fn keep_of_delimiter(&mut self, length: usize) {
        if self.slot.is_some() {
            let begun = self.delimiter.needle()[..length].to_vec();
            self.keep(&begun);
        }
    }

    fn end_part(&mut self, sink: &mut impl Sink) {
        if let Some(slot) = self.slot.take() {
            sink.value(slot, if self.is_too_long { Value::TooLong } else { Value::Plain(&self.text) });
        }
        self.begin_text();
    }

    fn begin_text(&mut self) {
        self.text.clear();
        self.is_too_long = false;
    }

    fn read_header<'a>(&mut self, piece: &'a [u8], fields: &Fields) -> &'a [u8] {
        let end = memchr(b'\n', piece);
        let line = &piece[..end.unwrap_or(piece.len())];
        self.is_too_long |= self.text.len() + line.len() > LONGEST_LINE;
        if !self.is_too_long {
            self.text.extend_from_slice(line);
        }
        let Some(end) = end else { return &[] };
        let line = self.text.strip_suffix(b"\r").unwrap_or(&self.text);
        self.place = match memchr(b':', line) {
            _ if self.is_too_long => Place::Header,
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                if name.eq_ignore_ascii_case(b"content-disposition") {
                    self.slot = slot(&value[1..], fields);
                }
                Place::Header
            }
            None if line.is_empty() => Place::Content(0),
            None => Place::End,
        };
        self.begin_text();
        &piece[end + 1..]
    }
}

/// What a part with this `content-disposition` is told as.
fn slot(disposition: &[u8], fields: &Fields) -> Option<u8> {
    let end = memchr(b';', disposition)?;
    let (kind, rest) = disposition.split_at(end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let (mut part, mut is_file) = (Vec::new(), false);
    parameters(&rest[1..], |name, value| {
        if name.eq_ignore_ascii_case(b"name") {
            part = value;
        }
        is_file |= name.eq_ignore_ascii_case(b"filename") || name.eq_ignore_ascii_case(b"filename*");
    })?;
    match fields.child(ROOT, &part).and_then(|place| fields.want(place)) {
        Some(Want::Scalar(slot)) if !is_file => Some(slot),
        _ => None,
    }
}

/// Tells the parameters of a header, `a=b; c="d"`; `None` if they are none.
fn parameters(mut text: &[u8], mut tell: impl FnMut(&[u8], Vec<u8>)) -> Option<()> {
    loop {
        text = text.trim_ascii();
        if text.is_empty() {
            return Some(());
        }
        let (name, rest) = text.split_at(memchr(b'=', text)?);
        let rest = rest[1..].trim_ascii_start();
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (value, rest) = rest.split_at(memchr(b';', rest).unwrap_or(rest.len()));
                (value.trim_ascii_end().to_vec(), rest)
            }
        };
        tell(name.trim_ascii_end(), value);
        text = match rest.trim_ascii_start() {
            [] => return Some(()),
            [b';', rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// What stands before the closing quote, and what after it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &text[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            _ => value.push(*byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Told(Vec<(u8, String)>);

    impl Sink for Told {
        fn value(&mut self, slot: u8, value: Value<'_>) {
            let text = match value {
                Value::Plain(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("{other:?}"),
            };
            self.0.push((slot, text));
        }

        fn encoded(&mut self, _: &[u8], _: bool) {}
    }

    fn fields() -> Fields {
        let mut fields = Fields::default();
        fields.add("/model", Want::Scalar(0)).unwrap();
        fields.add("/stream", Want::Scalar(1)).unwrap();
        fields
    }

    /// The largest buffer that was kept, and what was told.
    fn read<'a>(content_type: &str, pieces: impl Iterator<Item = &'a [u8]>) -> (usize, Told) {
        let (mut form, fields, mut told) = (Form::new(content_type).unwrap(), fields(), Told::default());
        let mut kept = 0;
        for piece in pieces {
            form.read(piece, &fields, &mut told);
            kept = kept.max(form.text.len());
        }
        (kept, told)
    }

    const TYPE: &str = "multipart/form-data; boundary=----x.9";

    /// The same however it is cut: in pieces of every length, and once at every byte.
    fn told_of(content_type: &str, body: &[u8]) -> Vec<(u8, String)> {
        let whole = read(content_type, std::iter::once(body)).1;
        for length in 1..=body.len() {
            let (before, after) = body.split_at(length);
            assert_eq!(read(content_type, body.chunks(length)).1, whole, "cut every {length}");
            assert_eq!(read(content_type, [before, after].into_iter()).1, whole, "cut at {length}");
        }
        whole.0
    }

    fn told(body: &[u8]) -> Vec<(u8, String)> {
        told_of(TYPE, body)
    }

    fn part(disposition: &str, value: &[u8]) -> Vec<u8> {
        let head = format!("------x.9\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    }

    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let parts: Vec<u8> = parts.iter().flat_map(|(name, value)| part(name, value)).collect();
        [&parts, b"------x.9--\r\n".as_slice()].concat()
    }

    fn model(name: &str) -> Vec<(u8, String)> {
        vec![(0, name.to_owned())]
    }

    #[test]
    fn listed_parts_are_told_wherever_they_stand() {
        // Text like boundaries, beginnings of boundaries, and other parts' headers within the file.
        let file = b"\x00\xff\r\n------x.8\r\n------x.90\r\n------x.9-\r\r\n------x.9 \tz\r\n------x.9\rname=\"model\"\r\n\r\ngpt\r\n----";
        let parts: [(&str, &[u8]); 5] = [
            ("name=\"file\"; filename=\"model\"", file),
            ("name=stream", b"true"),
            ("name=\"prompt\"", b"model"),
            ("name=\"timestamp_granularities[]\"", b""),
            ("name=\"model\"", b"gpt-4o-transcribe"),
        ];
        let expected = [(1, "true".to_owned()), (0, "gpt-4o-transcribe".to_owned())];
        assert_eq!(told(&form(&parts)), expected);
        // The boundary before the file does not begin its line: what follows it is preamble too.
        assert_eq!(told(&[b"a preamble\r\n\r", form(&parts).as_slice(), b"model"].concat()), expected);
        assert_eq!(told(&[b"a preamble\r\n", form(&parts).as_slice(), &form(&parts)].concat()), expected);
        let mut reversed = parts;
        reversed.reverse();
        assert_eq!(told(&form(&reversed)), expected.iter().rev().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn heads_of_parts_are_read_as_they_may_be_written() {
        let body = b"------x.9  \r\ncontent-type: text/plain; charset=utf-8\r\nCONTENT-DISPOSITION : x\r\ncontent-disposition:Form-Data ;  NAME = \"mod\\el\" \r\nX-Long: \
            \r\n\r\nwhisper-1\r\n------x.9--";
        assert_eq!(told(body), model("whisper-1"));
        let long = format!(
            "------x.9\r\nx: {}\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n------x.9--",
            "y".repeat(2 * LONGEST_LINE)
        );
        assert_eq!(told(long.as_bytes()), model("whisper-1"));
        let others = [
            "name=\"models\"",
            "name=\"model\"; filename=\"a.wav\"",
            "name=\"model\"; filename*=utf-8''a.wav",
            "name=\"model",
            "name=\"model\" x",
            "name=\"model\\\"\"",
            "model",
            "",
        ];
        for other in others {
            assert_eq!(told(&form(&[(other, b"whisper-1")])), [], "{other}");
        }
        assert_eq!(
            told(b"------x.9\r\ncontent-disposition: attachment; name=model\r\n\r\nx\r\n------x.9--"),
            []
        );
    }

    #[test]
    fn boundaries_are_quoted_or_not() {
        let body = b"--a b;c\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--a b;c--";
        let quoted = "Multipart/Form-Data ; charset=utf-8; BOUNDARY=\"a b;c\"";
        assert_eq!(told_of(quoted, body), model("whisper-1"));
        let plain = "multipart/form-data;boundary=a ;charset=utf-8";
        let body = b"--a\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--a--";
        assert_eq!(told_of(plain, body), model("whisper-1"));
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for none in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"x",
            "multipart/form-data; boundary=\"\"",
            "multipart/mixed; boundary=x",
            "application/json; boundary=x",
            &long,
        ] {
            assert!(Form::new(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_no_boundary_ends_is_not_told() {
        let whole = form(&[("name=model", b"whisper-1"), ("name=file; filename=x", b"abc")]);
        // With its delimiter the value is whole, whatever becomes of the rest.
        let begins = whole.windows(9).position(|bytes| bytes == b"whisper-1").unwrap();
        for length in 0..whole.len() {
            let expected = if length < begins + 9 + 13 { vec![] } else { model("whisper-1") };
            let told = read(TYPE, std::iter::once(&whole[..length])).1.0;
            assert_eq!(told, expected, "{}", String::from_utf8_lossy(&whole[..length]));
        }
        for broken in [
            "------x.9\r\nno header\r\ncontent-disposition: form-data; name=model\r\n\r\nx\r\n------x.9--",
            "------x.9\r\n------x.9\r\ncontent-disposition: form-data; name=model\r\n\r\nx\r\n------x.9--",
            "------x.9--\r\n------x.9\r\ncontent-disposition: form-data; name=model\r\n\r\nx\r\n------x.9--",
            "{\"model\": \"whisper-1\"}",
            "model=whisper-1&stream=true",
        ] {
            assert_eq!(told(broken.as_bytes()), [], "{broken}");
        }
    }

    #[test]
    fn long_values_and_files_are_not_kept() {
        let long = "x".repeat(LONGEST + 1);
        let line = b"gpt\r\n------x.90";
        for value in [long.as_bytes(), line] {
            assert_eq!(told(&form(&[("name=model", value)])), model("TooLong"));
        }
        assert_eq!(told(&form(&[("name=model", b"a\r\n-b")])), model("a\r\n-b"));
        let file = vec![b'\r'; 4 * 1024 * 1024];
        let body = form(&[("name=file; filename=a", &file), ("name=model", b"whisper-1")]);
        let (kept, told) = read(TYPE, body.chunks(65_536));
        assert_eq!(told.0, model("whisper-1"));
        assert!(kept < LONGEST_LINE, "{kept} bytes kept");
    }

    proptest! {
        #[test]
        fn any_file_is_passed_over(
            file in proptest::collection::vec(prop_oneof![
                Just(b"\r\n--".to_vec()), Just(b"\r\n------x.".to_vec()), Just(b"\r".to_vec()), Just(b"--".to_vec()),
                Just(b"\r\n------x.9z".to_vec()), proptest::collection::vec(any::<u8>(), 0..5),
            ], 0..20),
            cut in 1usize..40,
        ) {
            let file = file.concat();
            let is_ended = file.windows(11).any(|bytes| bytes.starts_with(b"\r\n------x.9") && bytes.len() > 10);
            let body = form(&[("name=file; filename=a", &file), ("name=model", b"whisper-1")]);
            let told = read(TYPE, body.chunks(cut)).1.0;
            prop_assert_eq!(&told, &read(TYPE, std::iter::once(body.as_slice())).1.0);
            if !is_ended {
                prop_assert_eq!(told, model("whisper-1"));
            }
        }

        #[test]
        fn any_bytes_are_taken(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let begin = b"------x.9\r\ncontent-disposition: form-data; name=model\r\n\r\n".as_slice();
            let _ = read(TYPE, std::iter::once(begin).chain(pieces.iter().map(Vec::as_slice)));
        }
    }
}
