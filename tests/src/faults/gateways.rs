//! Real collectors beside gateways whose counters grow: what the counters reached is what must be counted, whatever happens to
//! the collectors.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::collector::{Collector, Input};

/// Its models, as vLLM names them, and one that no register has.
const MODELS: [&str; 3] = ["Qwen/Qwen3-32B", "meta-llama/Llama-3.1-8B-Instruct", "our/private-tune"];

/// A collector and what its gateway counted.
pub(super) struct Gateway {
    pub(super) collector: Collector,
    counters: Arc<[AtomicU64; MODELS.len()]>,
    traffic: JoinHandle<()>,
}

/// All of them.
pub(super) struct Gateways(pub(super) Vec<Gateway>);

/// Requests that a gateway counted, by the id of its collector.
pub(super) type Counted = Vec<(String, u64)>;

impl Gateways {
    pub(super) async fn start(many: usize, folder: &Path, ingest: &[String]) -> Gateways {
        let mut gateways = Vec::new();
        for (number, ingest) in (0..many).zip(ingest.iter().cycle()) {
            let counters: Arc<[AtomicU64; MODELS.len()]> = Arc::default();
            let url = serve(Arc::clone(&counters)).await;
            let input = Input::Scrape { profile: "vllm", url };
            let collector = Collector::start(folder, &format!("gateway-{number}"), input, ingest).await;
            // Only now: what stands on the first page is a baseline.
            wait_for_a_page(&collector).await;
            let traffic = tokio::spawn(grow(Arc::clone(&counters)));
            gateways.push(Gateway { collector, counters, traffic });
        }
        Gateways(gateways)
    }

    /// Ends the traffic, then the collectors, each with its last page.
    pub(super) async fn finish(self) -> Counted {
        let mut counted = Vec::new();
        for mut gateway in self.0 {
            gateway.traffic.abort();
            gateway.collector.stop().await;
            let sum = gateway.counters.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            counted.push((gateway.collector.id(), sum));
        }
        counted
    }
}

async fn wait_for_a_page(collector: &Collector) {
    while collector.counter("pages_scraped").await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn grow(counters: Arc<[AtomicU64; MODELS.len()]>) {
    loop {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..30))).await;
        if let Some(counter) = counters.get(fastrand::usize(..MODELS.len())) {
            counter.fetch_add(fastrand::u64(1..20), Ordering::Relaxed);
        }
    }
}

/// A `/metrics` page as vLLM 0.11 writes it.
async fn serve(counters: Arc<[AtomicU64; MODELS.len()]>) -> String {
    let page = move || {
        let counters = Arc::clone(&counters);
        async move {
            let lines = MODELS.iter().zip(counters.iter()).map(|(model, count)| {
                let count = count.load(Ordering::Relaxed);
                format!("vllm:request_params_n_count{{engine=\"0\",model_name=\"{model}\"}} {count}.0\n")
            });
            lines.collect::<String>()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for a gateway");
    let address = listener.local_addr().expect("the port of a gateway");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(page))).await });
    format!("http://{address}/metrics")
}
