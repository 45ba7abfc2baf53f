//! What reading `/metrics` pages costs a line: LiteLLM's real page and a page of an engine, multiplied up. In CPU time
//! of the thread, so that a busy machine does not blur it.

mod cpu_time;

use std::hint::black_box;

use cpu_time::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::prometheus::{PagePlan, Target};
use weighbridge_collector::profile::rules;

/// Histograms of an engine are most of its page: as many buckets a series as vLLM 0.33 has.
const BUCKETS: usize = 20;

fn engine_page(models: usize) -> String {
    let mut page = String::new();
    for model in 0..models {
        let labels = format!("engine=\"0\",model_name=\"acme/model-{model}\"");
        for bucket in 0..BUCKETS {
            page += &format!(
                "vllm:e2e_request_latency_seconds_bucket{{{labels},le=\"{bucket}.0\"}} {bucket}.0\n"
            );
        }
        page += &format!(
            "vllm:request_params_n_count{{{labels}}} 30.0\nvllm:prompt_tokens_total{{{labels}}} 8.128902e+06\n"
        );
        page += &format!("vllm:generation_tokens_total{{{labels}}} 7557572.0\n");
    }
    page
}

fn pages(criterion: &mut Criterion<CpuTime>) {
    let litellm = include_str!("../../collector/tests/fixtures/prometheus/litellm-page.txt").repeat(20);
    let cases = [("litellm", litellm), ("vllm", engine_page(1_000))];
    let mut group = criterion.benchmark_group("metrics page, a line");
    for (profile, page) in cases {
        let lines = page.lines().count() as u64;
        group.throughput(Throughput::Elements(lines));
        let plan = PagePlan::new(&rules::named(profile).expect("a profile")).expect("rules");
        let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), Day(20_780));
        let mut intake = Intake::of_pages(plan, classifier, 1, 0);
        let mut now = 0;
        group.bench_function(profile, |bencher| {
            bencher.iter(|| {
                now += 15_000_000_000;
                let target = Target { url: "http://127.0.0.1/metrics", model: "" };
                black_box(intake.take_page(black_box(page.as_bytes()), target, now, |_, _| {}))
                    .expect("a page")
            });
        });
        assert!(intake.counter().totals().requests > 0, "the page was counted");
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = pages
}
criterion_main!(benches);
