//! The profiles that come with the collector, as `build.rs` found them in `collector/profiles/`. Each is parsed when it is asked
//! for: a sidecar needs one of them.

use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// Files of one folder, and what was parsed of them so far.
pub(super) struct Embedded<R: 'static, const N: usize> {
    files: &'static [(&'static str, &'static str)],
    parsed: [OnceLock<Option<R>>; N],
    parse: fn(&'static str) -> Option<R>,
}

impl<R, const N: usize> Embedded<R, N> {
    /// `N` files. A file that `parse` does not take is left out; the tests of each kind take all.
    pub(super) const fn new(
        files: &'static [(&'static str, &'static str)],
        parse: fn(&'static str) -> Option<R>,
    ) -> Embedded<R, N> {
        Embedded { files, parsed: [const { OnceLock::new() }; N], parse }
    }

    /// That of the file `name`.
    pub(super) fn get(&'static self, name: &str) -> Option<&'static R> {
        let place = self.files.iter().position(|(file, _)| *file == name)?;
        let (_, text) = self.files.get(place)?;
        self.parsed.get(place)?.get_or_init(|| (self.parse)(text)).as_ref()
    }

    /// All, in the order of their names.
    pub(super) fn all(&'static self) -> impl Iterator<Item = &'static R> + Clone {
        self.files.iter().filter_map(|(name, _)| self.get(name))
    }
}

/// The names in a folder, for messages.
pub(super) fn names(files: &[(&str, &str)]) -> String {
    files.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
