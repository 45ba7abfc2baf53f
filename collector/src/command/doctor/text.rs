//! What `doctor` prints: sentences, and a configuration that can be pasted. Pure.

use std::fmt::Write as _;
use std::path::Path;

use super::findings::{Finding, Input};

/// Where the tap listens in the printed configuration: beside the ports of the receivers.
const TAP_LISTEN: &str = "127.0.0.1:4321";
/// The default of `admin.listen`; a second collector of the machine needs the next one.
const FIRST_ADMIN_PORT: usize = 9_464;

/// Files that the printed configurations name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Files<'a> {
    /// File with the key.
    pub bearer_token_file: Option<&'a Path>,
    /// File with the certificates.
    pub ca_file: Option<&'a Path>,
}

/// Says what was found at one address or in one file, or why nothing.
pub(super) fn told(asked: &str, found: &Result<Finding, Vec<String>>) -> String {
    let mut text = format!("{asked}\n");
    let mut say = |label: &str, sentence: &str| {
        // A String takes everything.
        let _ = writeln!(text, "  {label:<9}{sentence}");
    };
    match found {
        Err(hints) => {
            say("sees", "nothing that is known");
            for hint in hints {
                say("try", hint);
            }
        }
        Ok(finding) => {
            for (place, sentence) in finding.sees.iter().enumerate() {
                say(if place == 0 { "sees" } else { "" }, sentence);
            }
            say("use", &finding.input.name());
            for (place, sentence) in finding.missing.iter().enumerate() {
                say(if place == 0 { "missing" } else { "" }, sentence);
            }
            for (place, sentence) in finding.doubles.iter().enumerate() {
                say(if place == 0 { "doubles" } else { "" }, sentence);
            }
            if !finding.more.is_empty() {
                say("or", &finding.more);
            }
        }
    }
    text
}

impl Input {
    /// What is used, in words.
    pub(super) fn name(&self) -> String {
        match self {
            Input::Page { profile, .. } => format!("its metrics page, profile {profile}"),
            Input::Log { profile, .. } => format!("its access log, profile {profile}"),
            Input::Tap { profile, .. } => format!("the tap, in front of it, profile {profile}"),
        }
    }
}

/// The configuration for a finding, number `number` of `of`.
pub(super) fn config(finding: &Finding, number: usize, of: usize, files: Files<'_>) -> String {
    let name = match &finding.input {
        Input::Page { profile, .. } | Input::Log { profile, .. } => profile,
        Input::Tap { .. } => "tap",
    };
    let mut lines = vec![
        if of > 1 {
            format!("data_folder: /var/lib/weighbridge/{name}-{number}")
        } else {
            "data_folder: /var/lib/weighbridge".to_owned()
        },
        "environment: production     # or staging, development, unknown".to_owned(),
        "source:".to_owned(),
    ];
    match &finding.input {
        Input::Page { profile, url, model, needs_key } => {
            lines.push("  prometheus:".to_owned());
            lines.push(format!("    profile: {profile}"));
            lines.push("    targets:                # one for every process".to_owned());
            lines.push(format!("      - url: {}", quoted(url)));
            lines.extend(model.as_ref().map(|model| format!("        model: {}", quoted(model))));
            if *needs_key {
                let file =
                    files.bearer_token_file.map_or("/etc/weighbridge/token".into(), Path::to_string_lossy);
                lines.push(format!("        bearer_token_file: {}", quoted(&file)));
            }
            if let Some(file) = files.ca_file.filter(|_| url.starts_with("https:")) {
                lines.push(format!("        ca_file: {}", quoted(&file.to_string_lossy())));
            }
        }
        Input::Log { profile, file } => {
            lines.push("  access_log:".to_owned());
            lines.push(format!("    profile: {profile}"));
            lines.push(format!("    file: {}", quoted(file)));
        }
        Input::Tap { upstream, profile } => {
            lines.push("  tap:".to_owned());
            lines.push(format!("    profile: {profile}"));
            lines.push(format!("    listen: {TAP_LISTEN}   # send clients here"));
            lines.push(format!("    upstream: {}", quoted(upstream)));
        }
    }
    if finding.behind_gateway {
        lines.push("behind_gateway: true".to_owned());
    }
    lines.push(format!("# gateway_id: {name}-{number}    # your name of it: a second collector of it on this machine refuses to start"));
    lines.push("uplink: {endpoint: 'http://weighbridge-ingest:4750'}   # your ingest".to_owned());
    if of > 1 {
        lines.push(format!("admin: {{listen: '127.0.0.1:{}'}}", FIRST_ADMIN_PORT + number - 1));
    }
    lines.join("\n") + "\n"
}

/// A text as YAML writes it in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
