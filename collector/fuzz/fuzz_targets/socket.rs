//! Any bytes as a WebSocket session through the tap. The first four choose: the profile, the path, how the rest is sent, where it is
//! cut. Sent as it is, from both sides; or each line as a text message of the server: whole, in fragments, compressed.
//! Where it is cut changes nothing, nor does how messages are sent; no more requests are counted than messages, but one of a session
//! that cannot be read, and every reply counts one.
#![no_main]

use flate2::{Compress, Compression, FlushCompress};
use http::header::{SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use weighbridge_collector::profile::tap::{End, Head, Session, TapProfile};
use weighbridge_collector_fuzz::{NOON_MS, intake, pieces};
use weighbridge_proto::cells::Cell;

/// Paths of sessions, with their queries.
const PATHS: &[(&str, Option<&str>)] = &[
    ("/v1/realtime", Some("model=gpt-realtime")),
    ("/v1/realtime", None),
    ("/openai/realtime", Some("api-version=2025-04-01-preview&deployment=prod")),
    ("/v1/responses", None),
];

/// How the server's messages are framed.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Whole,
    /// In fragments of so many bytes, with a ping between.
    Fragments(usize),
    Compressed,
}

/// A frame as a server sends it; `first` holds FIN, RSV1 and the opcode.
fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        short @ ..126 => out.push(short as u8),
        middle @ ..65_536 => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// What a sender of permessage-deflate writes (RFC 7692, 7.2.1).
fn deflated(compress: &mut Compress, text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return vec![0];
    }
    let mut out = Vec::with_capacity(text.len() + 1_024);
    compress.compress_vec(text, &mut out, FlushCompress::Sync).expect("memory takes all");
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "there was room");
    out.truncate(out.len() - 4);
    out
}

/// Each line as a text message.
fn framed(texts: &[u8], framing: Framing) -> Vec<u8> {
    let (mut out, mut compress) = (Vec::new(), Compress::new(Compression::fast(), false));
    for text in texts.split(|byte| *byte == b'\n') {
        match framing {
            Framing::Whole => frame(0x81, text, &mut out),
            Framing::Fragments(length) => {
                let mut first = 0x01;
                for fragment in text.chunks(length) {
                    frame(first, fragment, &mut out);
                    frame(0x89, b"still there?", &mut out);
                    first = 0;
                }
                frame(first | 0x80, b"", &mut out);
            }
            Framing::Compressed => frame(0xc1, &deflated(&mut compress, text), &mut out),
        }
    }
    out
}

/// What both sides send.
struct Case<'a> {
    profile: TapProfile,
    path: (&'static str, Option<&'static str>),
    is_compressed: bool,
    server: &'a [u8],
    client: &'a [u8],
    end: End,
}

/// Requests as cells, and which sides have closed.
type Counted = (Vec<Cell>, bool, bool);

impl Case<'_> {
    /// `None`: no session of this profile.
    fn pass(&self, seed: u8) -> Option<Counted> {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let (path, query) = self.path;
        let head = Head { method: &Method::GET, path, headers: &headers };
        let session = Session::new(self.profile, head, query)?;
        if self.is_compressed {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        }
        let mut session = session.answered(StatusCode::SWITCHING_PROTOCOLS, &headers)?;
        let mut replies = Vec::new();
        pieces(self.server, seed).for_each(|piece| replies.extend(session.server_piece(piece)));
        pieces(self.client, seed).for_each(|piece| session.client_piece(piece));
        let closed = (session.has_server_closed(), session.has_client_closed());
        replies.extend(session.end(self.end));
        let mut intake = intake(self.profile);
        replies.iter().for_each(|reply| intake.take_reply(reply, "10.0.0.7", "", NOON_MS));
        let mut cells = intake.counter().take_cells();
        cells.sort_by_key(|cell| format!("{:?}", cell.key));
        let counted: u64 = cells.iter().map(|cell| cell.counts.requests).sum();
        assert_eq!(counted, replies.len() as u64, "every reply counts one");
        Some((cells, closed.0, closed.1))
    }

    /// The same however it is cut, and no more requests than `messages` tell, but one.
    fn checked(&self, seed: u8, messages: usize) -> Option<Counted> {
        let whole = self.pass(0)?;
        for seed in [1, seed] {
            assert_eq!(self.pass(seed).as_ref(), Some(&whole), "cut by {seed}");
        }
        let counted: u64 = whole.0.iter().map(|cell| cell.counts.requests).sum();
        assert!(counted <= messages as u64 + 1, "{counted} requests of {messages} messages");
        Some(whole)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[profile, path, how, seed], rest)) = bytes.split_first_chunk() else { return };
    let profiles: Vec<TapProfile> = TapProfile::all().collect();
    let case = Case {
        profile: profiles[usize::from(profile) % profiles.len()],
        path: PATHS[usize::from(path) % PATHS.len()],
        is_compressed: how & 1 == 1,
        server: rest,
        client: &[],
        end: if how & 2 == 2 { End::ClientLeft } else { End::UpstreamBroke },
    };
    if how & 4 == 4 {
        let (server, client) = rest.split_at(rest.len() * usize::from(how >> 3) / 32);
        // A frame has two bytes at least.
        case.checked(seed, rest.len() / 2);
        Case { server, client, ..case }.checked(seed, server.len() / 2);
        return;
    }
    let messages = rest.split(|byte| *byte == b'\n').count();
    let sent = |framing, is_compressed| {
        Case { server: &framed(rest, framing), is_compressed, ..case }.checked(seed, messages)
    };
    let whole = sent(Framing::Whole, case.is_compressed);
    // Making a compressor takes most of a run.
    if how & 32 == 32 {
        assert_eq!(sent(Framing::Compressed, true), whole, "compressed");
    } else {
        let length = usize::from(how >> 3) + 1;
        assert_eq!(sent(Framing::Fragments(length), case.is_compressed), whole, "in fragments");
    }
});
