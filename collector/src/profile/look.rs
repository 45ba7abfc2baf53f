//! What `doctor` looks for, as data in the profile files: how to recognise a product, what to switch on, how its counts double.
//!
//! ```yaml
//! look:                            # in a profile for pages
//!   name: Kong                     # what people call it
//!   marks:                         # answers that only this product gives; one is enough
//!     - {path: /info, status: 200, body: ['"model_id":']}   # every text is in the body, white space aside
//!     - {header: {name: server, starts: kong/}}             # path / if none is named
//!   page_marks: [kong_node_info]   # metrics that its page has even where the counted ones are missing
//!   page: /metrics                 # where its page is
//!   port: admin port 8001          # where its page is, when that is another port than the one clients use
//!   model: {path: /info, field: model_id}   # where it names its model, for pages that do not
//!   off: "..."                     # what to switch on when nothing is counted
//!   locked: "..."                  # what to do when the page asks for a key
//!   doubles: "..."                 # how its counts could double
//!   more: "..."                    # an input that tells more
//! ```
//!
//! Only `GET` is ever asked, and never a path at which a product asks a model: not `/health`, which does so at LiteLLM, TGI and
//! SGLang.

use serde::Deserialize;

/// A product with a profile for its pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageLook {
    /// What people call it.
    pub name: String,
    /// Answers that only this product gives.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// Metrics that its page has even where the counted ones are missing.
    #[serde(default)]
    pub page_marks: Vec<String>,
    /// Path of its page.
    #[serde(default = "default_page")]
    pub page: String,
    /// Where its page is, when that is another port than the one clients use.
    #[serde(default)]
    pub port: String,
    /// Where it names its model.
    pub model: Option<ModelField>,
    /// What to switch on when nothing is counted.
    pub off: String,
    /// What to do when the page asks for a key.
    #[serde(default)]
    pub locked: String,
    /// How its counts could double.
    pub doubles: String,
    /// An input that tells more.
    #[serde(default)]
    pub more: String,
}

/// A product with a profile for its access log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLook {
    /// What people call it.
    pub name: String,
    /// Answers that only this product gives, where no profile for its pages has them.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// Keys at the top of its lines: all of one of these lists.
    pub keys: Vec<Vec<String>>,
    /// Keys of which one is there where the lines tell models.
    pub tells: Vec<String>,
    /// What to add when none is.
    pub off: String,
    /// Where its log usually is.
    pub file: String,
    /// How its counts could double.
    pub doubles: String,
}

/// A product that counts nothing: one file of `collector/profiles/silent/` each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilentLook {
    /// What people call it.
    pub name: String,
    /// It runs the model itself.
    pub is_server: bool,
    /// The tap's profile before it.
    pub tap: String,
    /// Answers that only this product gives.
    pub marks: Vec<Mark>,
    /// Why its pages and logs do not do.
    pub why: String,
    /// How its counts could double.
    pub doubles: String,
}

/// An answer that tells a product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// What is asked.
    #[serde(default = "default_path")]
    pub path: String,
    /// The status it has; any if none is named.
    pub status: Option<u16>,
    /// A header it has.
    pub header: Option<HeaderMark>,
    /// Texts in its body, without white space.
    #[serde(default)]
    pub body: Vec<String>,
}

/// A header that tells a product.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMark {
    /// Its name.
    pub name: String,
    /// What its value begins with.
    pub starts: String,
}

/// Where a server names its model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelField {
    /// What is asked.
    pub path: String,
    /// Field of the JSON object.
    pub field: String,
}

fn default_page() -> String {
    "/metrics".to_owned()
}

fn default_path() -> String {
    "/".to_owned()
}

impl Mark {
    /// Whether an answer is the one.
    pub fn fits(&self, status: u16, header: impl Fn(&str) -> Option<String>, body: &[u8]) -> bool {
        if self.status.is_some_and(|wanted| wanted != status)
            || (self.header.is_none() && self.body.is_empty())
        {
            return false;
        }
        let has_header = self.header.as_ref().is_none_or(|mark| {
            header(&mark.name).is_some_and(|value| {
                value.to_ascii_lowercase().starts_with(&mark.starts.to_ascii_lowercase())
            })
        });
        let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        has_header && self.body.iter().all(|wanted| memchr::memmem::find(&text, wanted.as_bytes()).is_some())
    }
}

/// The products that count nothing.
const SILENT: &[&str] = &[
    include_str!("../../profiles/silent/ollama.yaml"),
    include_str!("../../profiles/silent/llama-cpp.yaml"),
    include_str!("../../profiles/silent/portkey.yaml"),
    include_str!("../../profiles/silent/tei.yaml"),
    // The last one: others speak the same API.
    include_str!("../../profiles/silent/openai-compatible.yaml"),
];

/// Every product that counts nothing, the most general one last.
///
/// # Errors
/// A file of this binary is wrong; the text names the field.
pub fn silent() -> Result<Vec<SilentLook>, String> {
    SILENT.iter().map(|text| serde_saphyr::from_str(text).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(mark: &str, status: u16, server: &str, body: &str) -> bool {
        let mark: Mark = serde_saphyr::from_str(mark).unwrap();
        mark.fits(status, |name| (name == "server").then(|| server.to_owned()), body.as_bytes())
    }

    #[test]
    fn a_mark_fits_when_everything_it_names_is_there() {
        let info = r#"{status: 200, body: ['"model_id":"', '"max_best_of":']}"#;
        assert!(fits(info, 200, "", "{\"model_id\": \"m\",\n \"max_best_of\": 2}"));
        assert!(!fits(info, 404, "", "{\"model_id\": \"m\", \"max_best_of\": 2}"));
        assert!(!fits(info, 200, "", "{\"model_id\": \"m\"}"));
        assert!(fits("{header: {name: server, starts: kong/}}", 404, "Kong/3.11.0", ""));
        assert!(!fits("{header: {name: server, starts: kong/}}", 404, "nginx", ""));
        assert!(!fits("{path: /}", 200, "nginx", "anything"), "a mark that names nothing marks nothing");
    }

    #[test]
    fn the_silent_ones_parse_and_the_most_general_is_last() {
        let silent = silent().unwrap();
        assert_eq!(silent.len(), SILENT.len());
        assert!(silent.iter().all(|look| !look.marks.is_empty()));
        assert!(silent.last().unwrap().name.contains("OpenAI"));
    }
}
