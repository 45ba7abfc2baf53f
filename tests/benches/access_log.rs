//! What reading access logs costs a line, on the samples multiplied up: the scan alone, and counted. In CPU time of the
//! thread, so that a busy machine does not blur it.

mod cpu_time;

use std::hint::black_box;

use cpu_time::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::source::access_log::{Record, Role, Scanner, Value, each_line};

/// Lines a batch: a quarter of a megabyte, as the tail reads it.
const LINES: usize = 512;

/// The lines of `sample` over and over, each with an id of its own where it has one.
fn batch(sample: &str) -> Vec<u8> {
    let numbered = |(number, line): (usize, &str)| line.replace("83b63da3", &format!("{number:08x}")) + "\n";
    sample.lines().cycle().take(LINES).enumerate().map(numbered).collect::<String>().into_bytes()
}

fn access_log(criterion: &mut Criterion<CpuTime>) {
    let samples = [
        (
            "envoy-ai-gateway",
            include_str!("../../collector/tests/fixtures/access-log/envoy-ai-gateway.jsonl"),
        ),
        ("kong", include_str!("../../collector/tests/fixtures/access-log/kong.jsonl")),
        ("higress", include_str!("../../collector/tests/fixtures/access-log/higress.jsonl")),
        // Lines made in five ways, in turn.
        ("agentgateway", include_str!("../../collector/tests/fixtures/access-log/agentgateway.jsonl")),
    ];
    for (name, sample) in samples {
        let profile = LogProfile::from_name(name).expect("a profile of this name");
        let bytes = batch(sample);
        let mut group = criterion.benchmark_group(format!("{name}, {} bytes a line", bytes.len() / LINES));
        group.throughput(Throughput::Elements(LINES as u64));
        group.bench_function("serde_json to a document", |bencher| {
            bencher.iter(|| {
                each_line(&bytes, |line| {
                    black_box(
                        serde_json::from_slice::<serde_json::Value>(line.expect("short")).expect("is JSON"),
                    );
                })
            });
        });
        group.bench_function("scan of the allow-list", |bencher| {
            let mut scanner = Scanner::new(profile.rules().fields());
            bencher.iter(|| {
                let (mut record, mut lines) = (Record::default(), 0);
                each_line(black_box(&bytes), |line| {
                    scanner.scan(line.expect("short"), &mut record).expect("scans");
                    lines += usize::from(black_box(&record).get(Role::Time) != Value::Int(0));
                });
                assert_eq!(lines, LINES);
            });
        });
        group.bench_function("scan, classify and count", |bencher| {
            let classifier =
                Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), Day(20_780));
            let mut intake = Intake::new(profile, classifier, 0);
            let mut now_ms = 0;
            bencher.iter(|| {
                // Far enough apart that no id is remembered.
                now_ms += 3_600_000;
                intake
                    .take(Signal::AccessLog, Encoding::JsonLines, black_box(&bytes), Now::Replay(now_ms))
                    .expect("counts")
            });
            assert_eq!(intake.counter().tally().refused().count(), 0);
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = access_log
}
criterion_main!(benches);
