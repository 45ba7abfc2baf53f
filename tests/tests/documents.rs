//! What the documents say is there: links lead somewhere, blocks of YAML are configurations that the programs take, the programs know
//! every command and option, and `make` every target. `docs/kubernetes.md` and the chart's README are checked more closely beside what
//! they are about.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weighbridge_tests::processes::{release_binary, root};

const PROGRAMS: [&str; 3] = ["weighbridge-collector", "weighbridge-aggregator", "weighbridge"];
/// What a collector's configuration must have; a block in a document shows what it is about.
const REST: [(&str, &str); 4] = [
    ("environment", "production"),
    ("data_folder", "/var/lib/weighbridge"),
    ("source", "{otlp: {profile: litellm, signal: traces}}"),
    ("uplink", "{endpoint: 'https://ingest:4750'}"),
];

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("catalog/README.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().flatten().map(|entry| entry.path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|end| end == "md")));
    assert!(found.len() >= 5, "{found:?}");
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Language and text of every fenced block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// As the sites that show Markdown make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", document.display());
            if let Some(anchor) = anchor {
                assert!(anchors(&read(&target)).contains(anchor), "{}: {link}", document.display());
            }
        }
    }
    assert!(links > 80, "{links}");
}

#[test]
fn blocks_of_yaml_are_configurations() {
    let mut read_blocks = 0;
    for document in documents().iter().filter(|document| !document.ends_with("kubernetes.md")) {
        for (_, yaml) in blocks(&read(document)).iter().filter(|(language, _)| language == "yaml") {
            read_blocks += 1;
            let keys: BTreeMap<String, Value> =
                serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
            if keys.keys().all(|key| key == "litellm_settings") {
                continue; // Of LiteLLM, which the end-to-end tests run with it.
            }
            let of_aggregator = weighbridge_aggregator::config::Config::parse(yaml, []);
            let rest = REST.iter().filter(|(key, _)| !keys.contains_key(*key));
            let whole: String =
                rest.map(|(key, value)| format!("{key}: {value}\n")).chain([yaml.clone()]).collect();
            let of_collector = weighbridge_collector::config::Config::parse(&whole, |_| None);
            assert!(
                of_aggregator.is_ok() || of_collector.is_ok(),
                "{}: neither program takes\n{yaml}\naggregator: {:?}\ncollector: {:?}",
                document.display(),
                of_aggregator.err(),
                of_collector.err().map(|error| error.to_string())
            );
        }
    }
    assert!(read_blocks >= 5, "{read_blocks}");
}

/// Commands of blocks and of the running text that begin with one of our programs.
fn commands(text: &str) -> BTreeSet<String> {
    let mut lines: Vec<String> = Vec::new();
    for (_, body) in blocks(text).into_iter().filter(|(language, _)| language == "sh") {
        lines.extend(body.replace("\\\n", " ").lines().map(str::to_owned));
    }
    let running = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    lines.extend(
        running
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")),
    );
    let parts = lines.iter().flat_map(|line| line.split('|'));
    let commands = parts
        .map(|part| part.split(" > ").next().unwrap_or(part).trim().trim_start_matches("target/release/"));
    let ours = commands.filter(|command| {
        PROGRAMS.iter().chain(&["make"]).any(|program| command.starts_with(&format!("{program} ")))
    });
    // A sentence that leaves something out is no command.
    ours.filter(|command| !command.contains("...") && !command.contains('<')).map(str::to_owned).collect()
}

#[test]
fn the_programs_know_every_command() {
    let makefile = read(&root().join("Makefile"));
    let mut known = 0;
    for document in documents() {
        for command in commands(&read(&document)) {
            known += 1;
            let said = format!("{}: {command}", document.display());
            let mut words = command.split(' ').filter(|word| !word.is_empty());
            let program = words.next().unwrap();
            let arguments: Vec<&str> = words.map(|word| word.trim_matches('\'')).collect();
            if program == "make" {
                let mut targets = arguments.iter().filter(|word| !word.contains('='));
                assert!(targets.all(|target| makefile.contains(&format!("\n{target}:"))), "{said}");
                continue;
            }
            let output =
                Command::new(release_binary(program)).args(&arguments).arg("--help").output().unwrap();
            assert!(output.status.success(), "{said}: {}", String::from_utf8_lossy(&output.stderr));
            let help = String::from_utf8_lossy(&output.stdout);
            assert!(help.contains("Usage:"), "{said}: {help}");
        }
    }
    assert!(known > 25, "{known}");
}

/// A word that is no subcommand would be taken for nothing at all by a check that only looks for help.
#[test]
fn a_command_that_is_not_there_is_found() {
    for wrong in [&["splitt"][..], &["split", "--buy", "model"], &["contributor", "shut"]] {
        let output = Command::new(release_binary("weighbridge-aggregator"))
            .args(wrong)
            .arg("--help")
            .output()
            .unwrap();
        assert!(!output.status.success(), "{wrong:?}");
    }
}
