//! Access logs: one JSON object a line (or an array of them), read skip-by-default.
//!
//! `Fields` is the allow-list: field paths of one gateway's log, compiled into a tree. A `Scanner` walks the bytes of one line
//! along that tree; what is not on it is passed over without decoding or copying it. Out comes a `Record`, whose values
//! borrow from the line. A line that is made like one before, as nearly all are, is read without looking at its keys (`shape`), to
//! the same record. Guarantees: linear in the line's length, bounded depth, no allocation for a line that is made like one before,
//! never panics; a line that is cut or not JSON is refused alone. What is passed over is checked for strings and brackets only.
//!
//! A path is written like a JSON Pointer (RFC 6901, `~1` for `/` and `~0` for `~` in a key), so keys may hold dots:
//! `/gen_ai.usage.input_tokens`, `/ai/proxy/meta/response_model`. Beside keys a step may be `@last` (last element of an array),
//! `@length` (its length) and `@json` (the JSON document inside a string).

mod bytes;
mod fields;
mod lines;
mod position;
mod record;
mod scan;
mod shape;
mod text;

pub use fields::{Fields, PathError};
pub(crate) use fields::{Node, Point};
pub use lines::{MAX_RECORD_BYTES, each_line, each_record};
pub use position::LogPosition;
pub use record::{Name, Record, Role, Value};
pub use scan::Scanner;
pub(crate) use scan::{scan_document, scan_text};
