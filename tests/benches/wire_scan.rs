//! What an allow-listed wire scan saves over decoding a span batch: 512 spans of 14 attributes, per batch.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;
use weighbridge_collector::source::keys::Common;
use weighbridge_collector::source::otlp::read_spans;
use weighbridge_tests::telemetry::{Batch, SPANS};

fn wire_scan(criterion: &mut Criterion) {
    let mut batch = Batch::new(SPANS);
    let bytes = batch.renew(1).to_vec();
    let mut group = criterion.benchmark_group("512 spans of 14 attributes");
    group.throughput(Throughput::Elements(SPANS as u64));
    group.bench_function("prost full decode", |bencher| {
        bencher.iter(|| ExportTraceServiceRequest::decode(black_box(bytes.as_slice())).expect("decodes"));
    });
    group.bench_function("wire scan of the allow-list", |bencher| {
        bencher.iter(|| {
            let mut spans = 0;
            read_spans(black_box(&bytes), &Common, |span| {
                black_box(span);
                spans += 1;
            })
            .expect("scans");
            assert_eq!(spans, SPANS);
        });
    });
    group.bench_function("scan, classify and count", |bencher| {
        let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), Day(20_780));
        let mut intake = Intake::new(Profile::Genai, classifier, 0);
        let mut first = 0;
        bencher.iter(|| {
            first += SPANS as u64;
            let bytes = batch.renew(first);
            intake
                .take(Signal::Traces, Encoding::Protobuf, black_box(bytes), Now::Replay(first))
                .expect("counts")
        });
        assert_eq!(intake.counter().totals().requests, first, "every span was counted once");
    });
    group.finish();
}

criterion_group!(benches, wire_scan);
criterion_main!(benches);
