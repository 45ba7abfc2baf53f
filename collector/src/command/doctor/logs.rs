//! The first lines of a log file: whose they are, and what they would count. Pure.
//!
//! Of a line only the names of its keys are looked at here; what it would count is asked of the intake, which reads its allow-list.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use weighbridge_catalog::Day;

use super::findings::{Finding, Input};
use super::products::Products;
use crate::aliases::Aliases;
use crate::classifier::Classifier;
use crate::intake::{Encoding, Intake, Now, Signal};
use crate::profile::access_log::LogProfile;

/// Lines that are looked at.
const MAX_LINES: usize = 500;

/// What is said of the log that begins with `text`, a file at `path`.
///
/// # Errors
/// Nothing known; hints.
pub(super) fn of_log(
    path: &str,
    text: &[u8],
    products: &Products,
    day: Day,
    now_ms: u64,
) -> Result<Finding, Vec<String>> {
    if let Some(product) = products.pages.iter().find(|product| product.plan.detects(text)) {
        return Err(vec![format!(
            "it is a saved metrics page of {}: give the page's address",
            product.look.name
        )]);
    }
    // The last line may be cut.
    let whole = memchr::memrchr(b'\n', text).map_or(text, |end| &text[..end]);
    let lines: Vec<&[u8]> =
        whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(MAX_LINES).collect();
    let keys: Vec<Vec<String>> = lines.iter().filter_map(|line| keys_of(line)).collect();
    if keys.is_empty() {
        return Err(vec![
            "its lines are no JSON objects. nginx: log_format with escape=json; Envoy: json_format; agentgateway: \
             config: {logging: {format: json}}; Kong: the plugin file-log"
                .to_owned(),
        ]);
    }
    let Some(profile) = best(products, &keys) else {
        return Err(vec![
            "its lines are JSON, with the keys of no known log; rename them in the gateway's log format as a file in \
             collector/profiles/access-log/ names them"
                .to_owned(),
        ]);
    };
    Ok(finding(path, profile, &keys, &lines, (day, now_ms)))
}

/// Names of the keys at the top of a line; nothing else of it is kept.
fn keys_of(line: &[u8]) -> Option<Vec<String>> {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_slice(line).ok()?;
    Some(keys.into_keys().collect())
}

/// The profile whose keys most lines have; of several the one that names more of them.
fn best(products: &Products, lines: &[Vec<String>]) -> Option<LogProfile> {
    let score = |profile: &LogProfile| -> usize {
        let look = profile.rules().look();
        let of_line = |keys: &Vec<String>| {
            let has = |key: &String| keys.contains(key);
            let named = look.keys.iter().filter(|all| all.iter().all(has)).map(Vec::len).max();
            let tells = 2 * usize::from(look.tells.iter().any(has));
            named.map_or(0, |named| named + tells)
        };
        lines.iter().map(of_line).sum()
    };
    // Reversed, because `max_by_key` gives the last of equals.
    let scored = products.logs.iter().rev().map(|profile| (score(profile), *profile));
    scored.max_by_key(|(score, _)| *score).filter(|(score, _)| *score > 0).map(|(_, profile)| profile)
}

fn finding(
    path: &str,
    profile: LogProfile,
    keys: &[Vec<String>],
    lines: &[&[u8]],
    (day, now_ms): (Day, u64),
) -> Finding {
    let look = profile.rules().look();
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    let mut intake = Intake::new(profile, classifier, 0);
    let body = lines.join(&b'\n');
    let taken =
        intake.take(Signal::AccessLog, Encoding::JsonLines, &body, Now::Replay(now_ms)).unwrap_or_default();
    let mut finding = Finding {
        asked: path.to_owned(),
        product: look.name.clone(),
        input: Input::Log { profile: profile.name().to_owned(), file: path.to_owned() },
        is_server: false,
        behind_gateway: false,
        usable: taken.counted > 0,
        sees: vec![format!("the access log of {}, by the keys of its lines", look.name)],
        missing: Vec::new(),
        doubles: vec![look.doubles.clone()],
        more: String::new(),
        same_as: None,
    };
    finding.sees.push(format!(
        "of its first {} lines {} would count, {} are no inference, {} cannot be read",
        lines.len(),
        taken.counted,
        taken.skipped,
        taken.refused
    ));
    if let Some(refusal) = taken.first_refusal {
        finding.missing.push(format!("a line is refused: {refusal}"));
    }
    let tells = |keys: &Vec<String>| look.tells.iter().any(|key| keys.contains(key));
    if !keys.iter().any(tells) {
        finding.missing.push(look.off.clone());
    }
    finding
}
