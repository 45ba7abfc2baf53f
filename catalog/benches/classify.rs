//! Nanoseconds per name over LiteLLM's list of 4,552 names: `cargo bench -p weighbridge-catalog`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use weighbridge_catalog::{Day, Origin};

fn classify(criterion: &mut Criterion) {
    // No field of this file holds a quote.
    let text = include_str!("../tests/fixtures/litellm-names.csv");
    let pairs: Vec<(&str, &str)> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split(',').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    let catalogue = weighbridge_catalog::embedded();
    println!("tables: {} bytes", catalogue.table_bytes());
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(pairs.len() as u64));
    let cases = [
        ("name", false, ""),
        ("name and label", true, ""),
        ("name, label and address", true, "https://api.openai.com/v1"),
    ];
    for (case, labelled, address) in cases {
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                for &(provider, name) in &pairs {
                    let provider = if labelled { provider } else { "" };
                    black_box(catalogue.classify(name, Origin { provider, address }, Day(20_735)));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, classify);
criterion_main!(benches);
