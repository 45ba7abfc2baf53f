//! From a sealed report to its receipt: `spool` keeps reports on disk until they are acknowledged, `ledger` records for the
//! contributor what leaves, before it leaves, `uplink` sends, over what `dial` opens; `series_file` keeps what is known of scraped series beside them.

pub mod dial;
pub mod ledger;
pub mod position;
pub mod series_file;
pub mod spool;
pub mod uplink;
