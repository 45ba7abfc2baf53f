//! Follows one direction of a WebSocket as it passes by in pieces.
//!
//! In: the bytes after the handshake, cut anywhere. Out: the payload of text messages, decompressed, in pieces of any length, and
//! where each ends; whether the side has said that it closes. Guarantees: no piece is kept; memory is a frame's head, and a
//! window of deflate once a compressed message comes. Of what a client sends only the heads are read: its payload is masked.
//! Any bytes are taken: what is no WebSocket, uses an extension that was not agreed on, or inflates beyond
//! `MAX_MESSAGE_BYTES` ends the reading, and `Frames::is_lost` says so.
//! Sources: RFC 6455, 5 (frames, control frames between fragments); RFC 7692, 7 (permessage-deflate).

use flate2::{Decompress, FlushDecompress, Status};

/// Longest head: 2 bytes, 8 of length, 4 of mask.
const LONGEST_HEAD: usize = 14;
/// Largest message after decompression: an image in base64 has room in it, and it is no bomb.
const MAX_MESSAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that are inflated at once.
const INFLATED: usize = 4 * 1024;
/// What a sender takes off the end of a compressed message.
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Takes what is found.
pub trait Messages {
    /// A piece of a text message.
    fn text(&mut self, piece: &[u8]);

    /// The text message has ended.
    fn text_ends(&mut self);
}

impl Messages for () {
    fn text(&mut self, _: &[u8]) {}

    fn text_ends(&mut self) {}
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its payload is not read.
    Client,
    /// Its payload is read; `true` if permessage-deflate was agreed on.
    Server(bool),
}

/// A message that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    is_text: bool,
    is_compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a head: so many bytes seen.
    Head(u8),
    /// In the payload of a frame of the open message.
    Payload(u64),
    /// In that of a control frame, or of a client.
    Passing(u64),
    /// After the close.
    Closed,
    Lost,
}

/// Reads one direction.
#[derive(Debug)]
pub struct Frames {
    side: Side,
    place: Place,
    head: [u8; LONGEST_HEAD],
    message: Option<Open>,
    /// The frame that is read is its message's last.
    is_last: bool,
    inflating: Option<Box<Decompress>>,
    /// Bytes that came out of this message.
    inflated: u64,
}

impl Frames {
    /// From the end of the handshake.
    pub fn new(side: Side) -> Frames {
        Frames {
            side,
            place: Place::Head(0),
            head: [0; LONGEST_HEAD],
            message: None,
            is_last: false,
            inflating: None,
            inflated: 0,
        }
    }

    /// The side has sent its close frame.
    pub fn is_closed(&self) -> bool {
        self.place == Place::Closed
    }

    /// What came was not understood, and the rest is not read.
    pub fn is_lost(&self) -> bool {
        self.place == Place::Lost
    }

    /// Reads a piece.
    pub fn read(&mut self, mut piece: &[u8], messages: &mut impl Messages) {
        while let Some((byte, rest)) = piece.split_first() {
            match self.place {
                Place::Head(seen) => {
                    self.head[usize::from(seen)] = *byte;
                    piece = rest;
                    self.place = Place::Head(seen + 1);
                    if usize::from(seen) + 1 == self.head_length(usize::from(seen) + 1) {
                        self.place = self.after_head().unwrap_or(Place::Lost);
                        self.end_of_frame(messages);
                    }
                }
                Place::Payload(left) => {
                    let (mine, rest) =
                        piece.split_at(piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    piece = rest;
                    self.place = Place::Payload(left - mine.len() as u64);
                    self.payload(mine, messages);
                    self.end_of_frame(messages);
                }
                Place::Passing(left) => {
                    let passed = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    piece = &piece[passed..];
                    self.place = Place::Passing(left - passed as u64);
                    self.end_of_frame(messages);
                }
                Place::Closed | Place::Lost => return,
            }
        }
    }

    /// How long the head is, as far as it was `seen`.
    fn head_length(&self, seen: usize) -> usize {
        let [_, second, ..] = self.head;
        let mask = if second & 0x80 > 0 { 4 } else { 0 };
        match second & 0x7f {
            _ if seen < 2 => 2,
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    /// What follows the head; `None` if it cannot be.
    fn after_head(&mut self) -> Option<Place> {
        let [first, second, ..] = self.head;
        let (is_last, is_compressed, opcode) = (first & 0x80 > 0, first & 0x40 > 0, first & 0x0f);
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => self.head[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        let is_control = opcode >= 8;
        let is_masked = second & 0x80 > 0;
        if length >> 63 > 0 || is_control && (length > 125 || !is_last) || !matches!(opcode, 0..=2 | 8..=10) {
            return None;
        }
        if opcode == 8 {
            return Some(Place::Closed);
        }
        let Side::Server(is_deflated) = self.side else { return is_masked.then_some(Place::Passing(length)) };
        let is_begin = matches!(opcode, 1 | 2);
        let may_be_compressed = is_deflated && is_begin;
        if is_masked || first & 0x30 > 0 || is_compressed && !may_be_compressed {
            return None;
        }
        if is_control {
            return Some(Place::Passing(length));
        }
        // A message begins when none is open, and goes on when one is.
        if is_begin == self.message.is_some() {
            return None;
        }
        if is_begin {
            self.message = Some(Open { is_text: opcode == 1, is_compressed });
            self.inflated = 0;
        }
        self.is_last = is_last;
        Some(Place::Payload(length))
    }

    fn end_of_frame(&mut self, messages: &mut impl Messages) {
        match self.place {
            Place::Passing(0) => self.place = Place::Head(0),
            Place::Payload(0) => {
                self.place = Place::Head(0);
                if self.is_last
                    && let Some(message) = self.message
                {
                    if message.is_compressed {
                        self.inflate(&DEFLATE_TAIL, message.is_text, messages);
                    }
                    self.message = None;
                    if message.is_text && self.place != Place::Lost {
                        messages.text_ends();
                    }
                }
            }
            _ => {}
        }
    }

    fn payload(&mut self, piece: &[u8], messages: &mut impl Messages) {
        match self.message {
            Some(Open { is_text, is_compressed: true }) => self.inflate(piece, is_text, messages),
            Some(Open { is_text: true, .. }) => messages.text(piece),
            _ => {}
        }
    }

    /// Decompresses; a message that is no text too, because later ones may refer to it.
    fn inflate(&mut self, mut piece: &[u8], is_text: bool, messages: &mut impl Messages) {
        let inflating = self.inflating.get_or_insert_with(|| Box::new(Decompress::new(false)));
        let mut room = [0; INFLATED];
        loop {
            let (consumed, produced) = (inflating.total_in(), inflating.total_out());
            let status = inflating.decompress(piece, &mut room, FlushDecompress::Sync);
            let consumed = (inflating.total_in() - consumed) as usize;
            let produced = (inflating.total_out() - produced) as usize;
            self.inflated += produced as u64;
            // A last block would end the window that later messages refer to; no sender is known to write one.
            if !matches!(status, Ok(Status::Ok | Status::BufError)) || self.inflated > MAX_MESSAGE_BYTES {
                self.place = Place::Lost;
                return;
            }
            if is_text && produced > 0 {
                messages.text(&room[..produced]);
            }
            piece = &piece[consumed..];
            // Room that is left says that there is no more.
            if produced < INFLATED && (piece.is_empty() || consumed == 0) {
                break;
            }
        }
        if !piece.is_empty() {
            self.place = Place::Lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Texts(Vec<String>, Vec<u8>);

    impl Messages for Texts {
        fn text(&mut self, piece: &[u8]) {
            self.1.extend_from_slice(piece);
        }

        fn text_ends(&mut self) {
            self.0.push(String::from_utf8(std::mem::take(&mut self.1)).unwrap());
        }
    }

    /// A frame as a server sends it; `first` holds FIN, RSV and the opcode.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            short @ ..126 => vec![short as u8],
            middle @ ..65_536 => [&[126], (middle as u16).to_be_bytes().as_slice()].concat(),
            long => [&[127], (long as u64).to_be_bytes().as_slice()].concat(),
        };
        [&[first], length.as_slice(), payload].concat()
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(first, payload);
        frame[1] |= 0x80;
        let at = frame.len() - payload.len();
        frame.splice(at..at, [1, 2, 3, 4]);
        frame
    }

    /// What was read, and whether the side closed and the reading was lost.
    fn read<'a>(side: Side, pieces: impl Iterator<Item = &'a [u8]>) -> (Texts, bool, bool) {
        let (mut frames, mut texts) = (Frames::new(side), Texts::default());
        pieces.for_each(|piece| frames.read(piece, &mut texts));
        (texts, frames.is_closed(), frames.is_lost())
    }

    /// The same however it is cut: in pieces of some lengths, and once at every byte.
    fn told(side: Side, bytes: &[u8]) -> (Vec<String>, bool, bool) {
        let whole = read(side, std::iter::once(bytes));
        for length in (1..20).chain([100, 4_096]) {
            assert_eq!(read(side, bytes.chunks(length)), whole, "cut every {length}");
        }
        for at in 0..if bytes.len() < 2_000 { bytes.len() } else { 0 } {
            let (before, after) = bytes.split_at(at);
            assert_eq!(read(side, [before, after].into_iter()), whole, "cut at {at}");
        }
        (whole.0.0, whole.1, whole.2)
    }

    fn deflated(compress: &mut Compress, text: &[u8]) -> Vec<u8> {
        if text.is_empty() {
            // RFC 7692, 7.2.3.6.
            return vec![0];
        }
        let mut out = Vec::with_capacity(text.len() + 1_024);
        compress.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&DEFLATE_TAIL) && out.len() < out.capacity());
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn messages_are_put_together_with_control_frames_between() {
        let long = "x".repeat(70_000);
        let bytes = [
            frame(0x81, b"whole"),
            frame(0x01, b"in "),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x8a, b""),
            frame(0x80, b"pieces"),
            frame(0x82, b"binary"),
            frame(0x02, b"binary"),
            frame(0x80, b"binary"),
            frame(0x81, b""),
            frame(0x81, &b"y".repeat(126)),
            frame(0x88, &[3, 0xe8]),
            frame(0x81, b"after the close"),
        ];
        let (texts, is_closed, is_lost) = told(Side::Server(false), &bytes.concat());
        assert_eq!(texts, ["whole", "in pieces", "", &"y".repeat(126)]);
        assert!(is_closed && !is_lost);
        assert_eq!(told(Side::Server(false), &frame(0x81, long.as_bytes())).0, [long]);
        // An unfinished message is none.
        assert!(told(Side::Server(false), &frame(0x01, b"begun")).0.is_empty());
    }

    #[test]
    fn of_a_client_only_the_close_is_seen() {
        let bytes =
            [masked(0x81, b"a"), masked(0xc1, &[9; 300]), masked(0x82, &[9; 66_000]), masked(0x89, b"")];
        assert_eq!(told(Side::Client, &bytes.concat()), (vec![], false, false));
        let bytes = [bytes.concat(), masked(0x88, &[3, 0xe8])];
        assert_eq!(told(Side::Client, &bytes.concat()), (vec![], true, false));
        assert_eq!(told(Side::Client, &frame(0x81, b"bare")), (vec![], false, true));
    }

    #[test]
    fn compressed_messages_are_inflated_over_one_window() {
        let mut compress = Compress::new(Compression::default(), false);
        let long = "the same words again ".repeat(400);
        let mut bytes = Vec::new();
        for text in ["one two three", "one two three", long.as_str(), ""] {
            let deflated = deflated(&mut compress, text.as_bytes());
            let (first, second) = deflated.split_at(deflated.len() / 2);
            bytes.extend(frame(0x41, first));
            bytes.extend(frame(0x89, b"ping"));
            bytes.extend(frame(0x80, second));
        }
        bytes.extend(frame(0x81, b"plain"));
        bytes.extend(frame(0xc2, &deflated(&mut compress, b"binary words")));
        bytes.extend(frame(0xc1, &deflated(&mut compress, b"binary words")));
        let expected = ["one two three", "one two three", &long, "", "plain", "binary words"];
        assert_eq!(told(Side::Server(true), &bytes), (expected.map(str::to_owned).to_vec(), false, false));
        // A sender may forget what it said.
        let texts = ["one two three", "one two three"].map(|text| {
            frame(0xc1, &deflated(&mut Compress::new(Compression::default(), false), text.as_bytes()))
        });
        assert_eq!(told(Side::Server(true), &texts.concat()).0, ["one two three"; 2]);
    }

    #[test]
    fn what_was_not_agreed_on_is_not_read() {
        let mut compress = Compress::new(Compression::default(), false);
        let deflated = deflated(&mut compress, b"x");
        let broken = [
            (false, frame(0xc1, &deflated)),
            (true, frame(0xa1, b"x")),
            (true, frame(0xc1, b"\xff\xff no deflate")),
            (true, [frame(0x01, b"x"), frame(0xc0, &deflated)].concat()),
            (true, frame(0xc9, &deflated)),
            (false, frame(0x83, b"x")),
            (false, frame(0x8b, b"x")),
            (false, frame(0x80, b"nothing to go on")),
            (false, [frame(0x01, b"x"), frame(0x81, b"another")].concat()),
            (false, frame(0x09, b"a ping in pieces")),
            (false, frame(0x89, &[0; 126])),
            (false, masked(0x81, b"x")),
            (false, vec![0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (false, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ];
        for (is_deflated, bytes) in broken {
            let bytes = [frame(0x81, b"before"), bytes, frame(0x81, b"lost")].concat();
            let told = told(Side::Server(is_deflated), &bytes);
            assert_eq!(told, (vec!["before".to_owned()], false, true), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_that_inflates_without_end_is_given_up() {
        let mut compress = Compress::new(Compression::best(), false);
        let bomb = deflated(&mut compress, &vec![b' '; 17 * 1024 * 1024]);
        let told = read(Side::Server(true), frame(0xc2, &bomb).chunks(65_536));
        assert!(told.2, "{} bytes", bomb.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..20) {
            for side in [Side::Client, Side::Server(false), Side::Server(true)] {
                let (mut frames, mut again) = (Frames::new(side), Frames::new(side));
                frames.read(&bytes, &mut ());
                bytes.chunks(cut).for_each(|piece| again.read(piece, &mut ()));
                prop_assert_eq!((frames.is_lost(), frames.is_closed()), (again.is_lost(), again.is_closed()));
            }
        }
    }
}
