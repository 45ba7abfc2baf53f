//! What the tests of the whole path share: ingest as a process, what ClickHouse holds of a collector, waits, and the search for
//! secrets.
#![allow(missing_docs, unreachable_pub)]

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weighbridge_tests::canary;
use weighbridge_tests::collector::Collector;
use weighbridge_tests::processes::free_port;
use weighbridge_tests::scenario::canaries;
use weighbridge_tests::truth::Cells;

use crate::aggregator::{LIMIT, Rig, Stage};

/// Boot epochs that do not add up: as the view `audit`, without its grace of ten minutes.
pub const AUDIT: &str = "SELECT count() FROM weighbridge.epoch_audit WHERE counted_requests != claimed_requests \
    OR counted_attempts != claimed_attempts OR counted_input_tokens != claimed_input_tokens \
    OR counted_output_tokens != claimed_output_tokens OR present_reports != expected_reports OR torn_reports != 0";

pub struct Ingest {
    stage: Option<Stage>,
    listen: String,
}

impl Ingest {
    pub async fn start(rig: &Rig) -> Ingest {
        let mut ingest = Ingest { stage: None, listen: format!("127.0.0.1:{}", free_port()) };
        ingest.restart(rig).await;
        ingest
    }

    pub async fn restart(&mut self, rig: &Rig) {
        let listen = ("WEIGHBRIDGE_INGEST_LISTEN", self.listen.clone());
        self.stage = Some(rig.stage(&["ingest"], &[listen]).await);
    }

    pub async fn kill(&mut self) {
        self.stage.take().unwrap().process.kill().await;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

/// What ClickHouse holds of one collector.
pub async fn counted(rig: &Rig, collector: &Collector) -> Cells {
    let sql = format!(
        "SELECT concat(m.name, ' ', toString(openness), ' ', toString(operation), ' ', toString(outcome), ' ', \
         toString(choice), ' ', toString(streaming)) AS cell, sum(requests), sum(attempts), sum(input_tokens), \
         sum(output_tokens) FROM weighbridge.ledger AS l FINAL \
         INNER JOIN weighbridge.models AS m ON m.id = l.model WHERE collector_id = toUUID('{}') \
         GROUP BY cell ORDER BY cell FORMAT TSV",
        collector.id()
    );
    let answer = rig.clickhouse.query(&sql).await;
    let cell = |line: &str| {
        let mut fields = line.split('\t');
        let key = fields.next().unwrap().to_owned();
        let counts: Vec<u64> = fields.map(|field| field.parse().unwrap()).collect();
        (key, counts.try_into().unwrap())
    };
    answer.lines().filter(|line| !line.is_empty()).map(cell).collect()
}

pub async fn wait_until(
    rig: &Rig,
    collector: &Collector,
    truth: &Cells,
    what: &str,
    comparable: fn(Cells) -> Cells,
) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = comparable(counted(rig, collector).await);
        if found == *truth {
            return;
        }
        if Instant::now() > deadline {
            let differ = |a: &Cells, b: &Cells| -> Vec<String> {
                a.iter()
                    .filter(|(key, counts)| b.get(*key) != Some(counts))
                    .map(|cell| format!("{cell:?}"))
                    .collect()
            };
            panic!("{what}:\ncounted {:#?}\ntruth   {:#?}", differ(&found, truth), differ(truth, &found));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the collector has taken no further item for a while: LiteLLM has exported everything.
pub async fn wait_until_quiet(collector: &Collector, quiet: Duration) {
    let (mut last, mut since) = (String::new(), Instant::now());
    let deadline = Instant::now() + LIMIT;
    while since.elapsed() < quiet {
        assert!(Instant::now() < deadline, "the collector does not come to rest");
        let page = collector.metrics().await;
        let totals = ["requests_total", "attempts_total", "input_tokens_total", "output_tokens_total"];
        let is_total = |line: &&str| {
            totals.iter().any(|name| line.starts_with(&format!("weighbridge_collector_{name}")))
        };
        let items: String = page.lines().filter(is_total).collect();
        if items != last {
            (last, since) = (items, Instant::now());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the collector has counted as many requests, attempts and tokens as `truth` holds; more would show in the
/// comparison, cell by cell, that follows.
pub async fn wait_until_counted(collector: &Collector, truth: &Cells) {
    const NAMES: [&str; 4] = ["requests", "attempts", "input_tokens", "output_tokens"];
    let wanted = [0, 1, 2, 3].map(|index| truth.values().map(|counts| counts[index]).sum::<u64>());
    let deadline = Instant::now() + LIMIT;
    loop {
        let page = collector.metrics().await;
        let counted = NAMES.map(|name| {
            let name = format!("weighbridge_collector_{name}_total");
            let samples = page.lines().filter(|line| line.starts_with(&name));
            samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
        });
        if counted.iter().zip(wanted).all(|(counted, wanted)| *counted >= wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{NAMES:?}: only {counted:?} of {wanted:?}:\n{page}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Nothing of a client or of the gateway may be in Kafka's log, ClickHouse's files, the spool, a log or a metric. The gateway's own
/// files (`gateway*`) hold such things, and `control` among them shows that the search finds what is there.
pub async fn assert_no_canary(rig: &Rig, collector: &Collector, gateway: &str, control: &str) {
    let page = collector.metrics().await;
    assert_eq!(canary::search_bytes(page.as_bytes(), &canaries::ALL), [], "the collector's metrics");
    rig.clickhouse.query("SYSTEM FLUSH LOGS").await;
    let mut files = 0;
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with(gateway) {
            continue;
        }
        let (searched, sightings) = canary::search(&path, &canaries::ALL);
        assert!(sightings.is_empty(), "{sightings:?}");
        files += searched;
    }
    assert!(files > 50, "only {files} files were searched");
    let (_, control) = canary::search(&rig.folder.path().join(control), &canaries::ALL);
    assert!(!control.is_empty(), "the search finds nothing where something is");
}
