//! The public register of models: which names mean which model, how open its weights are at a date, and who hosts it.
//!
//! `data/` is the register, compiled into tables when this crate is built (`build.rs`); `weighbridge-matcher` reads them.
//! Guarantees: pure (no I/O and no clock when matching), linear in the length of the name, never panics, no allocation
//! per look-up. Bad input (over 256 bytes, not ASCII, empty) is `Openness::Unknown` with `Reason::Unmatched`.

use std::sync::LazyLock;

pub use weighbridge_matcher::*;

static EMBEDDED: LazyLock<Catalogue> = LazyLock::new(|| {
    match Catalogue::from_bytes(include_bytes!(concat!(env!("OUT_DIR"), "/register.bin"))) {
        Ok(catalogue) => catalogue,
        // The build script wrote the bytes with the same matcher; a binary in which this panics has not passed a test.
        Err(error) => panic!("embedded register: {error}"),
    }
});

/// The register that this binary was built with.
pub fn embedded() -> &'static Catalogue {
    &EMBEDDED
}
