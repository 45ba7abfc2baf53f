//! From a sealed report to its receipt: `spool` keeps reports on disk until they are acknowledged, `ledger` records for the
//! contributor what leaves, before it leaves, `uplink` sends, over what `dial` opens; `state_file` keeps what the counter must know
//! after a restart beside them, `checkpoint` the window that is open, `position` how far a log was read.

pub mod checkpoint;
pub mod dial;
pub mod ledger;
pub mod position;
pub mod spool;
pub mod state_file;
pub mod uplink;
