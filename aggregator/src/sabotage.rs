//! Guarantees that a test build breaks on purpose, so that the fault suite is seen to catch each of them.
//!
//! `WEIGHBRIDGE_SABOTAGE` names one. Only with the cargo feature `sabotage`, which nothing that is delivered is built with;
//! without it `breaks` is the constant `false`.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarantee {
    /// Ingest answers OK before Kafka's delivery report.
    ReceiptAfterDelivery,
    /// The rows of a report do not carry its sequence.
    RowKeyWithSequence,
    /// Load commits an offset before the insert.
    OffsetAfterInsert,
    /// A day of the rollup is summed twice.
    RollupOnce,
}

/// Whether this process breaks `guarantee`.
#[cfg(feature = "sabotage")]
pub(crate) fn breaks(guarantee: Guarantee) -> bool {
    use std::sync::OnceLock;
    static BROKEN: OnceLock<Option<Guarantee>> = OnceLock::new();
    let broken = BROKEN.get_or_init(|| match std::env::var("WEIGHBRIDGE_SABOTAGE").as_deref() {
        Ok("receipt-before-delivery") => Some(Guarantee::ReceiptAfterDelivery),
        Ok("row-key-without-sequence") => Some(Guarantee::RowKeyWithSequence),
        Ok("offset-before-insert") => Some(Guarantee::OffsetAfterInsert),
        Ok("rollup-fed-twice") => Some(Guarantee::RollupOnce),
        _ => None,
    });
    *broken == Some(guarantee)
}

/// Never, in what is delivered.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn breaks(_guarantee: Guarantee) -> bool {
    false
}
