//! What reading access logs costs a line, on the samples multiplied up: the scan alone, and counted. In CPU time of the
//! thread, so that a busy machine does not blur it.

use std::hint::black_box;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::source::access_log::{Record, each_line, scan};

/// Lines a batch: a quarter of a megabyte, as the tail reads it.
const LINES: usize = 512;

/// Nanoseconds that the thread was on a CPU.
struct CpuTime;

fn on_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        on_cpu()
    }

    fn end(&self, start: u64) -> u64 {
        on_cpu() - start
    }

    fn add(&self, first: &u64, second: &u64) -> u64 {
        first + second
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// `sample` over and over, each with an id of its own where it has one.
fn batch(sample: &str) -> Vec<u8> {
    let line = sample.lines().next().expect("a sample has a line");
    let numbered = |number: usize| line.replace("83b63da3", &format!("{number:08x}")) + "\n";
    (0..LINES).map(numbered).collect::<String>().into_bytes()
}

fn access_log(criterion: &mut Criterion<CpuTime>) {
    let samples = [
        (
            "envoy-ai-gateway",
            include_str!("../../collector/tests/fixtures/access-log/envoy-ai-gateway.jsonl"),
        ),
        ("kong", include_str!("../../collector/tests/fixtures/access-log/kong.jsonl")),
        ("higress", include_str!("../../collector/tests/fixtures/access-log/higress.jsonl")),
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
            bencher.iter(|| {
                let (mut record, mut lines) = (Record::default(), 0);
                each_line(black_box(&bytes), |line| {
                    record.clear();
                    scan(line.expect("short"), profile.rules().fields(), &mut record).expect("scans");
                    lines += usize::from(
                        black_box(&record).has(weighbridge_collector::source::access_log::Role::InputTokens),
                    );
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
