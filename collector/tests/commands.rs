//! The commands that people use on captures: their output is an interface.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/litellm").join(name)
}

fn collector(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weighbridge-collector")).args(arguments).args(files).output().unwrap()
}

#[test]
fn count_prints_a_line_a_cell_and_a_summary() {
    let output = collector(&["count", "--source", "otlp-traces"], &[fixture("traces-v2.pb")]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, cells) = lines.split_last().unwrap();
    let fields = "attempts choice family hosting input_tokens model openness operation outcome output_tokens provider requests streaming";
    for cell in cells {
        let mut names: Vec<_> = cell.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), fields);
    }
    let sum: u64 = cells.iter().map(|cell| cell["requests"].as_u64().unwrap()).sum();
    assert_eq!(summary["summary"]["requests"], sum);
    assert_eq!(summary["summary"]["cells"], cells.len());
    assert!(summary["skipped"]["not_inference"].as_u64().unwrap() > 0);
    assert!(text.lines().next().unwrap().starts_with(r#"{"model":"#), "fields in the documented order");
    for canary in ["canary", "acme-prod-7"] {
        assert!(!text.contains(canary), "{canary} is a private name");
    }
}

#[test]
fn count_names_a_file_that_it_cannot_read_and_counts_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.pb");
    std::fs::write(&bad, [0x0a, 0xff]).unwrap();
    let output = collector(&["count", "--source", "otlp-traces"], &[bad, fixture("traces-v2.pb")]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["refused_files"][0]["reason"], "malformed");
    assert!(summary["summary"]["requests"].as_u64().unwrap() > 0);
}

#[test]
fn preview_shows_the_bytes_and_needs_no_network_and_no_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("collector.yaml");
    let text = "data_folder: /nonexistent\nenvironment: production\n\
        source: {otlp: {profile: litellm, signal: traces}}\nuplink: {endpoint: 'http://127.0.0.1:1'}\n";
    std::fs::write(&config, text).unwrap();
    // In a network namespace of its own there is nothing to connect to and nothing to listen on; the system call log shows
    // that none is tried.
    let log = folder.path().join("strace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=socket,connect,bind,listen", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_weighbridge-collector"))
        .args(["preview", "--config"])
        .arg(&config)
        .arg(fixture("traces-v2.pb"))
        .output()
        .expect("strace is installed by make setup");
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    let calls = std::fs::read_to_string(&log).unwrap();
    assert!(!calls.contains("socket("), "{calls}");
    let text = String::from_utf8(traced.stdout).unwrap();
    let hex: String = text.lines().skip_while(|line| !line.contains("over the wire")).skip(1).collect();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let report = weighbridge_proto::report::check(&bytes).unwrap();
    let requests: u64 = report.cells.iter().map(|cell| cell.counts.requests).sum();
    assert!(requests > 0);
    assert!(text.contains(&format!("\"total_requests\": {requests}")));
}

#[test]
fn validate_says_what_is_wrong_and_ends_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("collector.yaml");
    std::fs::write(&config, "data_folder: /tmp/x\nenvironment: prod\nsource: {otlp: {profile: litellm, signal: traces}}\nuplink: {endpoint: 'http://a:1'}\n").unwrap();
    let output = collector(&["validate", "--config", config.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("environment: write one of production, staging, development, unknown"), "{text}");
}

#[test]
fn count_takes_access_logs_with_the_profiles_that_have_one() {
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/access-log").join(name);
    let output =
        collector(&["count", "--source", "access-log", "--profile", "kong"], &[fixture("kong.jsonl")]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["input_tokens"], 11_184);
    assert_eq!(summary["summary"]["output_tokens"], 19);
    for (source, profile, expected) in [
        ("access-log", "litellm", "write one of agentgateway"),
        ("webhook", "genai", "write one of litellm, kong"),
        ("otlp-traces", "apisix", "apisix: write one of litellm, genai, agentgateway"),
        (
            "otlp-traces",
            "traefik-hub",
            "write one of litellm, genai, agentgateway, envoy-ai-gateway, kong, openinference, openllmetry,",
        ),
        ("otlp-metrics", "tensorzero", "kong, openllmetry, opentelemetry-sdk, traefik-hub"),
    ] {
        let output =
            collector(&["count", "--source", source, "--profile", profile], &[fixture("kong.jsonl")]);
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn count_takes_otlp_with_the_profiles_that_are_data() {
    let folder = tempfile::tempdir().unwrap();
    let call = r#"{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
        {"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},
        {"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}},
        {"key":"gen_ai.response.model","value":{"stringValue":"gpt-4o-2024-08-06"}},
        {"key":"gen_ai.input.messages","value":{"stringValue":"canary-prompt"}}"#;
    let tokens = r#"{"key":"gen_ai.usage.input_tokens","value":{"intValue":"11"}},
        {"key":"gen_ai.usage.output_tokens","value":{"intValue":"7"}}"#;
    let span = |scope: &str, id: u8| {
        format!(
            r#"{{"scope":{{"name":"{scope}"}},"spans":[{{"traceId":"{id:032x}","spanId":"{id:016x}",
            "name":"chat canary-name","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{call},{tokens}]}}]}}"#
        )
    };
    let histogram = |name: &str, more: &str, count: u8, sum: u8| {
        format!(
            r#"{{"name":"{name}","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"attributes":[{call}{more}],
            "startTimeUnixNano":"1","timeUnixNano":"2","count":"{count}","sum":{sum}}}]}}}}"#
        )
    };
    let token_type =
        |name: &str| format!(r#",{{"key":"gen_ai.token.type","value":{{"stringValue":"{name}"}}}}"#);
    let usage = |name: &str, sum: u8| histogram("gen_ai.client.token.usage", &token_type(name), 1, sum);
    let points =
        [usage("input", 11), usage("output", 7), usage("cached_input", 9), usage("reasoning", 5)].join(",");
    let requests = histogram("gen_ai.server.request.duration", "", 1, 1);
    let traces = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{},{}]}}]}}"#,
        span("envoyproxy/ai-gateway", 1),
        span("acme-app", 2)
    );
    let metrics = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"scope":{{"name":"envoyproxy/ai-gateway"}},"metrics":[{requests},{points}]}}]}}]}}"#
    );
    let logs = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"1","body":{{"stringValue":"canary-body"}},
        "attributes":[{call},{tokens},{{"key":"http.status","value":{{"intValue":"200"}}}}]}}]}}]}}]}}"#
    );
    for (source, profile, payload) in [
        ("otlp-traces", "envoy-ai-gateway", traces),
        ("otlp-metrics", "envoy-ai-gateway", metrics),
        ("otlp-logs", "agentgateway", logs),
    ] {
        let file = folder.path().join(format!("{source}.json"));
        std::fs::write(&file, payload).unwrap();
        let output = collector(&["count", "--source", source, "--profile", profile], &[file]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{source}: {text}");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (summary, cells) = lines.split_last().unwrap();
        assert_eq!(cells.len(), 1, "{source}: {text}");
        assert_eq!(cells[0]["model"], "gpt-4o", "{source}");
        let counts =
            ["requests", "input_tokens", "output_tokens"].map(|name| cells[0][name].as_u64().unwrap());
        assert_eq!(counts, [1, 11, 7], "{source}");
        if source == "otlp-traces" {
            assert_eq!(summary["skipped"], serde_json::json!({"scope": 1}));
        }
        for private in ["canary", "acme"] {
            assert!(!text.contains(private), "{source}: {private}");
        }
    }
}
