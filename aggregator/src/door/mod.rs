//! The door: who may send reports, and under which pseudonym they are kept.
//!
//! In: the registry file that the `contributor` command keeps, certificates, and what a connection presents: a bearer token, a
//! client certificate, or both. Out: a `Pass` for a stream, or a typed refusal. Guarantees:
//!
//! - A stream of `mode: registered` is of one registered contributor at every moment. Every credential that is presented must
//!   hold, and all must name the same contributor. When one is revoked, expires or disappears, the stream ends within about a
//!   second with UNAUTHENTICATED; nobody else's does.
//! - Tokens are 256 random bits, kept as SHA-256 and compared in constant time. Certificates are known by the SHA-256 of
//!   their public key; their chain and dates are checked by TLS against `client_ca_file`. TLS sessions are never resumed and
//!   no early data is taken, so that bytes of a recorded connection are worth nothing.
//! - Registry, certificate, key and authorities are read again when they change. What cannot be read changes nothing: the last
//!   good state holds, and a metric and a warning say so.
//! - No address, token, name or certificate leaves this module: not to a log, a metric, Kafka or ClickHouse. What leaves is the
//!   `Sender`: two keyed hashes.
//!
//! # Whose is a collector id?
//!
//! Rows are named by collector id, boot epoch and sequence, and a contributor chooses all three. If the collector id were
//! stored as sent, whoever learns another's could send rows under his names, before him or after him, and one of the two would
//! be absorbed. So what is stored for an authenticated report is `HMAC(key, contributor id, collector id)`: each contributor
//! has all collector ids to itself, nobody can name another's rows, and a replay of another's reports under one's own
//! credentials counts as one's own, which it could make up anyway. It needs no state, no order of arrival and no agreement
//! between instances, and the tables' keys and the audit stay as they are: one collector is one id for as long as it
//! lives. Binding ids on first use would need all of that, and would let a thief bind first.
//!
//! The price: a report that travels twice is absorbed only if both times the contributor and the key were the same. Rotate
//! credentials with `contributor rotate`, do not remove and add; never change the key while unsent reports exist; and start
//! `mode: registered` after an orderly stop, which answers everything that is in flight.
//!
//! | file | what it does |
//! |---|---|
//! | `registry` | the file, and what may happen to it |
//! | `token` | makes and reads tokens |
//! | `roster` | the registry as it is looked up |
//! | `pseudonym` | from contributor to `Sender` |
//! | `quota` | what one contributor may send |
//! | `tls` | the server's side of TLS from files |
//! | `accept` | connections, with the key of the client's certificate |
//! | `guard` | puts it together for `ingest` |
//! | `command` | `contributor add`, `rotate`, `revoke`, `list` |

mod accept;
pub mod command;
mod error;
mod guard;
mod pseudonym;
mod quota;
mod registry;
mod roster;
mod tls;
mod token;

pub(crate) use accept::{Peer, start};
pub use error::DoorError;
pub(crate) use guard::{Guard, Identified};
pub(crate) use quota::OverQuota;
pub(crate) use roster::Refused;

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}
