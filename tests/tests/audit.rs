//! `audit` by the real program on a real Kafka and a real ClickHouse: a clean run is equal; what is taken away, added or altered
//! behind its back is named at the right stage.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use crate::whole_path;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::aggregator::{DAY, Edge, LIMIT, Rig, Stage, TOPIC, counts, key, many, midnight, produce};
use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weighbridge_catalog::Openness;
use weighbridge_proto::report;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::processes::http_client;

/// A collector's ledger, as the collector writes it.
fn ledger_file(rig: &Rig, name: &str, reports: &[Bytes]) -> PathBuf {
    let line = |bytes: &Bytes| {
        let report = report::check(bytes).unwrap();
        let cells: Vec<Value> = report
            .cells
            .iter()
            .map(|cell| {
                json!({"model": "m", "requests": cell.counts.requests, "attempts": cell.counts.attempts,
                       "input_tokens": cell.counts.input_tokens, "output_tokens": cell.counts.output_tokens})
            })
            .collect();
        json!({
            "collector_id": format!("{:?}", report.identity.collector),
            "boot_epoch": report.identity.boot_epoch.0,
            "sequence": report.identity.sequence.0,
            "window_start_s": report.window_start.0,
            "window_s": report.window_s,
            "cells": cells,
            "total_requests": report.totals.requests,
            "total_attempts": report.totals.attempts,
            "total_input_tokens": report.totals.input_tokens,
            "total_output_tokens": report.totals.output_tokens,
            "dropped_requests": report.dropped_requests,
        })
        .to_string()
    };
    let path = rig.folder.path().join(name);
    let lines: Vec<String> = reports.iter().map(line).collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

/// Runs the audit over the last four days; its exit code and answer.
fn audit(rig: &Rig, ledgers: &[&PathBuf]) -> (i32, Value) {
    let (from, to) = (date(4), date(0));
    let mut arguments = vec!["audit", "--from", &from, "--to", &to, "--format", "json"];
    for ledger in ledgers {
        arguments.extend(["--ledger", ledger.to_str().unwrap()]);
    }
    let output = rig.output(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{errors}"));
    (output.status.code().unwrap(), answer)
}

/// A day, `days` ago, as a date.
fn date(days: u64) -> String {
    // Civil date of a day number, as in chrono's paper.
    let z = (midnight(days) / DAY) as i64 + 719_468;
    let era = z / 146_097;
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn texts(answer: &Value, of: &str) -> Vec<String> {
    let list = answer[of].as_array().unwrap();
    list.iter().map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
}

fn assert_equal(rig: &Rig, ledgers: &[&PathBuf]) -> Value {
    let (code, answer) = audit(rig, ledgers);
    assert_eq!((code, &answer["equal"]), (0, &true.into()), "{answer:#}");
    answer
}

/// The difference at `stage` whose text holds `part`, which must be there; and the first stage of all.
fn assert_differs(rig: &Rig, ledgers: &[&PathBuf], first: &str, parts: &[&str]) -> Value {
    let (code, answer) = audit(rig, ledgers);
    assert_eq!((code, answer["first"].as_str()), (1, Some(first)), "{answer:#}");
    let found = texts(&answer, "differences");
    let is_named = |text: &String| text.starts_with(first) && parts.iter().all(|part| text.contains(part));
    assert!(found.iter().any(is_named), "{parts:?} in {answer:#}");
    answer
}

/// Waits until everything is loaded and rolled up, then stops load.
async fn settle(rig: &Rig, load: Stage, requests: u64) {
    rig.wait_for("SELECT sum(requests) FROM weighbridge.ledger FINAL", &requests.to_string()).await;
    let behind = "SELECT count() FROM (SELECT toUInt32(partition) AS day, max(max_block_number) AS block FROM system.parts \
        WHERE database = 'weighbridge' AND table = 'ledger' AND active GROUP BY day) AS l \
        LEFT JOIN (SELECT toYYYYMMDD(hour) AS day, max(built_from) AS block FROM weighbridge.traffic_1h GROUP BY day) AS t USING day \
        WHERE l.block != t.block";
    rig.wait_for(behind, "0").await;
    load.stop().await;
    rig.wait_for(behind, "0").await;
}

#[tokio::test]
async fn a_clean_run_is_equal_and_every_tampering_is_named_at_its_stage() {
    let rig = Rig::start().await;
    let load = rig.stage(&["load"], &[]).await;
    let (reports, mut truth) = many(4, 60);
    let mut lossy = Edge::new(50);
    let lost: Vec<Bytes> = (0..10)
        .map(|n| lossy.report(midnight(2) + n * 60, &[(key(2, Openness::OpenSource), counts(3, 4, 5))]))
        .collect();
    let arrived: Vec<Bytes> = [&lost[..4], &lost[7..]].concat();
    produce(rig.kafka(), &reports).await;
    // Some travel twice, and one value is no report.
    produce(rig.kafka(), &reports[..30]).await;
    produce(rig.kafka(), &[Bytes::from_static(b"\xff poison")]).await;
    settle(&rig, load, truth.requests).await;

    let whole = ledger_file(&rig, "whole.jsonl", &reports);
    let answer = assert_equal(&rig, &[&whole]);
    let looked = &answer["looked_at"];
    for (what, number) in [
        ("ledger_reports", 240),
        ("kafka_records", 271),
        ("kafka_reports", 240),
        ("kafka_copies", 30),
        ("kafka_not_reports", 1),
        ("clickhouse_reports", 240),
        ("collectors", 4),
        ("boot_epochs", 4),
    ] {
        assert_eq!(looked[what], number, "{what}: {answer:#}");
    }
    let cells = rig.clickhouse.query("SELECT count() FROM weighbridge.ledger FINAL").await;
    assert_eq!(looked["clickhouse_cells"].to_string(), cells);
    assert_equal(&rig, &[]);

    rollup_is_altered(&rig, &whole).await;
    rows_are_added_and_deleted(&rig, &whole).await;

    // The way's beginning: written down, and never arrived.
    let load = rig.stage(&["load"], &[]).await;
    produce(rig.kafka(), &arrived).await;
    truth.add(&counts(3 * 7, 4 * 7, 5 * 7));
    let arrived_all = "SELECT sum(requests) FROM weighbridge.ledger FINAL WHERE boot_epoch = 1050";
    rig.wait_for(arrived_all, "21").await;
    load.stop().await;
    let written = ledger_file(&rig, "lossy.jsonl", &lost);
    let collector = "32323232323232323232323232323232";
    let expected = ["3 reports of collector", collector, "boot epoch 1050 (sequences 4-6)", "not in Kafka"];
    assert_differs(&rig, &[&whole, &written], "collector -> ingest", &expected);
    // Without the ledger the running totals say so.
    let expected = [collector, "(sequences 4-6)", "9 requests were in what is missing"];
    assert_differs(&rig, &[&whole], "collector -> ingest", &expected);
    formats_and_arguments(&rig, &whole);
}

async fn rollup_is_altered(rig: &Rig, whole: &PathBuf) {
    let day = rig.clickhouse.query("SELECT min(toYYYYMMDD(hour)) FROM weighbridge.traffic_1h").await;
    let alter = |change: &str| {
        format!(
            "ALTER TABLE weighbridge.traffic_1h UPDATE {change} WHERE toYYYYMMDD(hour) = {day} SETTINGS mutations_sync = 2"
        )
    };
    rig.clickhouse.query(&alter("requests = requests + 1")).await;
    assert_differs(rig, &[whole], "ledger -> rollup", &[&day, "requests"]);
    rig.clickhouse.query(&alter("requests = requests - 1")).await;
    assert_equal(rig, &[whole]);
    // The same sums under another outcome.
    rig.clickhouse.query(&alter("attempts = attempts + 1, input_tokens = input_tokens - 1")).await;
    assert_differs(rig, &[whole], "ledger -> rollup", &[&day]);
    rig.clickhouse.query(&alter("attempts = attempts - 1, input_tokens = input_tokens + 1")).await;
    assert_equal(rig, &[whole]);
}

async fn rows_are_added_and_deleted(rig: &Rig, whole: &PathBuf) {
    let columns = "window_start, collector_id, boot_epoch, sequence, window_s, catalogue_version, environment, vantage, \
                   gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, requests, \
                   attempts, input_tokens, output_tokens, kafka_partition, kafka_offset";
    // One row once more, under a changed key.
    let double = format!(
        "INSERT INTO weighbridge.ledger (cell, {columns}) SELECT 999, {columns} FROM weighbridge.ledger FINAL \
         WHERE boot_epoch = 1001 AND sequence = 2 LIMIT 1"
    );
    rig.clickhouse.query(&double).await;
    let expected = ["collector 01010101010101010101010101010101", "boot epoch 1001 (sequence 2)", "is torn"];
    assert_differs(rig, &[whole], "Kafka -> ClickHouse", &expected);
    // One row gone.
    let lost = "DELETE FROM weighbridge.ledger WHERE boot_epoch = 1002 AND sequence = 50 AND cell = 0";
    rig.clickhouse.query(lost).await;
    let expected = ["collector 02020202020202020202020202020202", "boot epoch 1002 (sequence 50)", "is torn"];
    let answer = assert_differs(rig, &[whole], "Kafka -> ClickHouse", &expected);
    assert!(texts(&answer, "differences").iter().any(|text| text.contains("epoch 1001")), "{answer:#}");
    // A whole report gone, from both tables.
    for table in ["ledger", "reports"] {
        let lost = format!("DELETE FROM weighbridge.{table} WHERE boot_epoch = 1003 AND sequence = 7");
        rig.clickhouse.query(&lost).await;
    }
    let expected = ["boot epoch 1003 (sequence 7)", "is in Kafka and not in ClickHouse"];
    assert_differs(rig, &[whole], "Kafka -> ClickHouse", &expected);
    // A report that nobody sent.
    let forged = "INSERT INTO weighbridge.reports (window_start, collector_id, boot_epoch, sequence, window_s, catalogue_version, environment, \
        vantage, gateway_product, cells, kafka_partition, kafka_offset) SELECT window_start, collector_id, boot_epoch, 4711, window_s, \
        catalogue_version, environment, vantage, gateway_product, 0, kafka_partition, kafka_offset FROM weighbridge.reports FINAL \
        WHERE boot_epoch = 1004 LIMIT 1";
    rig.clickhouse.query(forged).await;
    let expected = ["boot epoch 1004 (sequence 4711)", "is in ClickHouse and not in Kafka"];
    assert_differs(rig, &[whole], "Kafka -> ClickHouse", &expected);
}

fn formats_and_arguments(rig: &Rig, whole: &Path) {
    let (from, to) = (date(4), date(0));
    let table = rig.output(&["audit", "--from", &from, "--to", &to]);
    assert_eq!(table.status.code(), Some(1));
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(text.contains("differs first at: collector -> ingest"), "{text}");
    let csv = rig.output(&["audit", "--from", &from, "--to", &to, "--format", "csv"]);
    let text = String::from_utf8_lossy(&csv.stdout).into_owned();
    assert!(
        text.contains("difference,Kafka -> ClickHouse,03030303030303030303030303030303,1003,1,7,"),
        "{text}"
    );
    let no_file = rig.folder.path().join("none.jsonl");
    for arguments in [
        &["audit"][..],
        &["audit", "--from", &to, "--to", &from],
        &["audit", "--from", "yesterday"],
        &["audit", "--from", &from, "--ledger", no_file.to_str().unwrap()],
        &["audit", "--from", &from, "--ledger", rig.config.to_str().unwrap()],
        &["audit", "--from", &from, "--format", "xml"],
    ] {
        let output = rig.output(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // Reading joins no group.
    let mut command = rig.command();
    command.args(["audit", "--from", &from, "--to", &to, "--ledger", whole.to_str().unwrap()]);
    command.env("WEIGHBRIDGE_LOAD_GROUP_ID", "group-of-the-audit");
    command.output().unwrap();
    let consumer: BaseConsumer = rig.kafka().client_config().create().unwrap();
    let groups = consumer.fetch_group_list(None, Duration::from_secs(20)).unwrap();
    let names: Vec<&str> = groups.groups().iter().map(|group| group.name()).collect();
    assert!(names.contains(&"weighbridge-load") && !names.contains(&"group-of-the-audit"), "{names:?}");
}

#[tokio::test]
async fn what_kafka_no_longer_keeps_is_not_lost_and_what_waits_for_load_is_in_flight() {
    let rig = Rig::start().await;
    let load = rig.stage(&["load"], &[]).await;
    let (reports, truth) = many(3, 40);
    produce(rig.kafka(), &reports).await;
    settle(&rig, load, truth.requests).await;
    let ledger = ledger_file(&rig, "ledger.jsonl", &reports);
    assert_equal(&rig, &[&ledger]);

    // As retention does: the oldest of each partition go.
    let admin: AdminClient<DefaultClientContext> = rig.kafka().client_config().create().unwrap();
    let mut until = TopicPartitionList::new();
    for (partition, offset) in [(0, Offset::End), (1, Offset::Offset(5)), (2, Offset::Offset(1))] {
        until.add_partition_offset(TOPIC, partition, offset).unwrap();
    }
    admin.delete_records(&until, &AdminOptions::new()).await.unwrap();
    let answer = assert_equal(&rig, &[&ledger]);
    assert!(answer["looked_at"]["not_retained"].as_u64().unwrap() > 5, "{answer:#}");
    assert!(texts(&answer, "notes").iter().all(|text| text.contains("not retained in Kafka")), "{answer:#}");

    // Gone from both: what cannot be told is not told as lost by one of them.
    let gone = "SELECT boot_epoch, sequence FROM weighbridge.reports FINAL WHERE kafka_partition = 0 AND sequence BETWEEN 5 AND 30 LIMIT 1";
    let gone = rig.clickhouse.query(gone).await;
    let (boot_epoch, sequence) = gone.split_once('\t').unwrap();
    for table in ["ledger", "reports"] {
        let lost = format!(
            "DELETE FROM weighbridge.{table} WHERE boot_epoch = {boot_epoch} AND sequence = {sequence}"
        );
        rig.clickhouse.query(&lost).await;
    }
    let expected = [&format!("(sequence {sequence})") as &str, "Kafka no longer retains their time"];
    assert_differs(&rig, &[&ledger], "collector -> ClickHouse", &expected);
    // Loaded again it is whole again.
    let mut again = reports.clone();
    again.retain(|report| {
        let name = report::identity(report).unwrap();
        name.boot_epoch.0.to_string() == boot_epoch && name.sequence.0.to_string() == sequence
    });
    produce(rig.kafka(), &again).await;
    let answer = audit(&rig, &[&ledger]).1;
    let notes = texts(&answer, "notes");
    assert!(notes.iter().any(|text| text.contains("load has yet to read")), "{answer:#}");
    let load = rig.stage(&["load"], &[]).await;
    settle(&rig, load, truth.requests).await;
    assert_equal(&rig, &[&ledger]);
}

#[tokio::test]
async fn a_real_collector_s_ledger_is_what_arrived() {
    let rig = Rig::start().await;
    let ingest = whole_path::Ingest::start(&rig).await;
    let load = rig.stage(&["load"], &[]).await;
    let mut collector = Collector::start(rig.folder.path(), "spans", Input::Traces, &ingest.url()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for id in 1..=7 {
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"scope":{{"name":"litellm"}},"spans":[{{"kind":3,"spanId":"{id:016x}","endTimeUnixNano":"{now}000000000","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.provider.name","value":{{"stringValue":"openai"}}}},{{"key":"gen_ai.request.model","value":{{"stringValue":"gpt-4o"}}}}]}}]}}]}}]}}"#
        );
        let request = http_client().post(format!("{}/v1/traces", collector.http)).body(body);
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        assert!(answer.status().is_success());
    }
    // Twice, so that there are two boot epochs.
    collector.stop().await;
    collector.restart().await;
    collector.stop().await;
    let written = collector.ledger();
    let requests: u64 = written
        .iter()
        .flat_map(|line| line["cells"].as_array().unwrap())
        .map(|cell| cell["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(requests, 7);
    settle(&rig, load, requests).await;

    let ledger = collector.data.join("ledger.jsonl");
    let tomorrow = "2099-01-01";
    let arguments = [
        "audit",
        "--from",
        &date(1),
        "--to",
        tomorrow,
        "--format",
        "json",
        "--ledger",
        ledger.to_str().unwrap(),
    ];
    let deadline = Instant::now() + LIMIT;
    let answer: Value = loop {
        let answer: Value = serde_json::from_slice(&rig.output(&arguments).stdout).unwrap();
        if answer["equal"] == true || Instant::now() > deadline {
            break answer;
        }
        sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(answer["equal"], true, "{answer:#}");
    assert_eq!(answer["looked_at"]["ledger_reports"], written.len());
    assert_eq!(answer["looked_at"]["clickhouse_reports"], written.len());
    assert_eq!(answer["looked_at"]["boot_epochs"], 2);

    // A line more than what arrived.
    let text = std::fs::read_to_string(&ledger).unwrap();
    let last = text.lines().last().unwrap();
    let sequence = written.last().unwrap()["sequence"].as_u64().unwrap();
    let more = last.replace(&format!("\"sequence\":{sequence},"), &format!("\"sequence\":{},", sequence + 1));
    assert_ne!(last, more);
    std::fs::write(&ledger, format!("{text}{more}\n")).unwrap();
    let output = rig.output(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["first"], "collector -> ingest", "{answer:#}");
    assert!(texts(&answer, "differences")[0].contains("may still be in its spool"), "{answer:#}");
}
