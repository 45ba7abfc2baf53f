//! Every product that `doctor` can tell, from the profile files: gateways first, the most general answer last.

use crate::profile::access_log::LogProfile;
use crate::profile::look::{PageLook, SilentLook, silent};
use crate::profile::prometheus::PagePlan;
use crate::profile::rules::{self, NativeOnly, ProfileError};

/// A product with a profile for its pages.
pub(super) struct PageProduct {
    /// Name of the profile.
    pub profile: &'static str,
    /// What is looked for.
    pub look: PageLook,
    /// Its rules.
    pub plan: PagePlan,
    /// It has metrics that no other product has.
    pub is_told_by_its_page: bool,
    /// A counted gateway may stand in front of it.
    pub is_server: bool,
    /// What its page answers when its histograms are native only.
    pub native_only: Option<NativeOnly>,
}

/// All of them.
pub(super) struct Products {
    /// With a profile for pages.
    pub pages: Vec<PageProduct>,
    /// With a profile for their access log.
    pub logs: Vec<LogProfile>,
    /// That count nothing.
    pub silent: Vec<SilentLook>,
}

impl Products {
    /// Reads the profiles of this binary.
    ///
    /// # Errors
    /// One of them is wrong.
    pub(super) fn load() -> Result<Products, ProfileError> {
        let mut pages = Vec::new();
        for profile in rules::NAMES {
            let file = rules::named(profile)?;
            pages.push(PageProduct {
                profile,
                plan: PagePlan::new(&file)?,
                is_told_by_its_page: !file.prometheus.detect.is_empty(),
                is_server: file.may_stand_behind_gateway(),
                native_only: file.prometheus.native_only,
                look: file.look,
            });
        }
        // What answers for others comes before what it answers for.
        pages.sort_by_key(|product| product.is_server);
        let silent = silent().map_err(|fix| ProfileError { profile: "silent".to_owned(), fix })?;
        Ok(Products { pages, logs: LogProfile::all().collect(), silent })
    }

    /// Every path at which a page may be.
    pub(super) fn page_paths(&self) -> Vec<String> {
        // `/metrics` first: most have it.
        let mut paths = vec!["/metrics".to_owned()];
        for product in &self.pages {
            if !paths.contains(&product.look.page) {
                paths.push(product.look.page.clone());
            }
        }
        paths
    }

    /// Every path at which a product shows itself, gateways first; what many answer comes last.
    pub(super) fn mark_paths(&self) -> Vec<String> {
        const MANY: &str = "/v1/models";
        let of_pages = self.pages.iter().flat_map(|product| &product.look.marks);
        let of_silent = self.silent.iter().flat_map(|look| &look.marks);
        let of_logs = self.logs.iter().flat_map(|profile| &profile.rules().look().marks);
        let mut paths: Vec<String> = Vec::new();
        for mark in of_pages.chain(of_silent).chain(of_logs) {
            if mark.path != MANY && !paths.contains(&mark.path) {
                paths.push(mark.path.clone());
            }
        }
        paths.push(MANY.to_owned());
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_asks_a_model_and_there_are_few() {
        let products = Products::load().unwrap();
        let paths: Vec<String> = products.page_paths().into_iter().chain(products.mark_paths()).collect();
        assert!(paths.len() < 24, "{paths:?}");
        for path in &paths {
            assert!(path.starts_with('/') && path != "/health" && !path.contains("generate"), "{path}");
        }
        assert!(
            products
                .pages
                .iter()
                .all(|product| !product.look.off.is_empty() && !product.look.doubles.is_empty())
        );
    }
}
