//! What ClickHouse holds, compared with the truth, cell by cell.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, sleep};
use weighbridge_aggregator::record;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report;

use super::fleet::{Name, Truth};
use super::gateways::Counted;
use super::rig::{PARTITIONS, Rig, TOPIC};

/// Kafka gives the next dead letter, or the end, within this time.
const LIMIT: Duration = Duration::from_secs(60);
/// Differences that are told.
const TOLD: usize = 10;

/// The end of a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What differs; empty: exact.
    pub differences: Vec<String>,
    /// Requests that were sent.
    pub requests: u64,
    /// Reports that were sealed.
    pub reports: u64,
}

type Held = HashMap<Name, BTreeMap<u32, Counts>>;

/// Waits until what ClickHouse holds is the truth, at most for `patience`, and compares.
pub(super) async fn reach(
    rig: &Rig,
    truth: &Truth,
    counted: &Counted,
    poison: &[Bytes],
    patience: Duration,
) -> Verdict {
    let deadline = Instant::now() + patience;
    let mut verdict = loop {
        let verdict = compare(rig, truth, counted).await;
        if verdict.differences.is_empty() || Instant::now() > deadline {
            break verdict;
        }
        // Waiting for a loader; a run with a broken guarantee waits in vain.
        sleep(Duration::from_secs(2)).await;
    };
    if !verdict.differences.is_empty() {
        // First what explains the rest.
        let mut told = where_they_are(rig, truth, counted).await;
        told.append(&mut verdict.differences);
        verdict.differences = told;
    }
    verdict.differences.extend(dead_letters(rig, poison).await);
    verdict
}

/// Late or lost: how many reports are missing, how many of those Kafka has, and what the loaders say.
async fn where_they_are(rig: &Rig, truth: &Truth, counted: &Counted) -> Vec<String> {
    let held = held(rig, counted).await;
    let is_missing = |(name, cells): &(&Name, &BTreeMap<u32, Counts>)| {
        !cells.is_empty() && !truth.maybe.contains(*name) && !held.contains_key(*name)
    };
    let missing: HashSet<Name> = truth.reports.iter().filter(is_missing).map(|(name, _)| *name).collect();
    let topic = names_in_topic(rig).await;
    let in_kafka = missing.intersection(&topic).count();
    let all = truth.reports.len();
    let mut told =
        vec![format!("{} of {all} reports are missing, {in_kafka} of them are in Kafka", missing.len())];
    told.extend(rig.loaders_told().await);
    told
}

/// Every report of the topic.
async fn names_in_topic(rig: &Rig) -> HashSet<Name> {
    let config = rig.kafka().client_config();
    let read = move || {
        let mut names = HashSet::new();
        for partition in 0..PARTITIONS {
            each_value(config.clone(), TOPIC, partition, |value| {
                let identities = record::decode(value).flatten().filter_map(report::identity);
                names.extend(identities.map(|identity| {
                    (u128::from_be_bytes(identity.collector.0), identity.boot_epoch.0, identity.sequence.0)
                }));
            });
        }
        names
    };
    tokio::task::spawn_blocking(read).await.expect("the topic")
}

/// Reads a partition from its beginning to its end.
fn each_value(mut config: ClientConfig, topic: &str, partition: i32, mut each: impl FnMut(&[u8])) {
    config.set("group.id", "verdict").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    consumer.assign(&partitions).expect("an assignment");
    while let Some(Ok(message)) = consumer.poll(LIMIT) {
        each(message.payload().unwrap_or_default());
    }
}

async fn compare(rig: &Rig, truth: &Truth, counted: &Counted) -> Verdict {
    let held = held(rig, counted).await;
    let mut differences = truth.wrong_answers.clone();
    for (name, cells) in &truth.reports {
        match held.get(name) {
            Some(found) if found == cells => {}
            None if cells.is_empty() || truth.maybe.contains(name) => {}
            found => differences.push(format!("report {name:x?}: sealed {cells:?}, held {found:?}")),
        }
    }
    let invented = held.keys().filter(|name| !truth.reports.contains_key(name));
    differences.extend(invented.map(|name| format!("report {name:x?} was never sealed")));
    for (collector, requests) in counted {
        let sql =
            format!("SELECT sum(requests) FROM weighbridge.ledger FINAL WHERE collector_id = '{collector}'");
        let found = rig.clickhouse().query(&sql).await;
        if found != requests.to_string() {
            differences.push(format!("collector {collector}: its gateway counted {requests}, held {found}"));
        }
    }
    differences.extend(sums_by_other_ways(rig, truth).await);
    differences.truncate(TOLD);
    let cells = truth.reports.values().flat_map(BTreeMap::values);
    let scraped: u64 = counted.iter().map(|(_, requests)| requests).sum();
    let requests = cells.map(|counts| counts.requests).sum::<u64>() + scraped;
    Verdict { differences, requests, reports: truth.reports.len() as u64 }
}

/// Every cell of the fleet's reports.
async fn held(rig: &Rig, counted: &Counted) -> Held {
    let real: Vec<String> = counted.iter().map(|(id, _)| format!("'{id}'")).collect();
    let others =
        if real.is_empty() { "1".to_owned() } else { format!("collector_id NOT IN ({})", real.join(", ")) };
    let sql = format!(
        "SELECT collector_id, boot_epoch, sequence, model, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens) \
         FROM weighbridge.ledger FINAL WHERE {others} GROUP BY ALL"
    );
    let answer = rig.clickhouse().query(&sql).await;
    let mut held = Held::new();
    for line in answer.lines() {
        let mut fields = line.split('\t');
        let id = fields.next().unwrap_or_default().replace('-', "");
        let id = u128::from_str_radix(&id, 16).expect("a collector's id");
        let numbers: Vec<u64> = fields.map(|field| field.parse().expect("a number")).collect();
        let [epoch, sequence, model, requests, attempts, input_tokens, output_tokens] =
            numbers.try_into().expect("eight columns");
        let counts = Counts { requests, attempts, input_tokens, output_tokens };
        let model = u32::try_from(model).expect("a model's number");
        held.entry((id, epoch, sequence)).or_default().insert(model, counts);
    }
    held
}

/// The rollup, a sum by identity instead of FINAL, and the audit.
async fn sums_by_other_ways(rig: &Rig, truth: &Truth) -> Vec<String> {
    let sums = "sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens)";
    let ledger = rig.clickhouse().query(&format!("SELECT {sums} FROM weighbridge.ledger FINAL")).await;
    let rollup = rig.clickhouse().query(&format!("SELECT {sums} FROM weighbridge.traffic_1h")).await;
    let by_identity = format!(
        "SELECT {sums} FROM (SELECT any(requests) AS requests, any(attempts) AS attempts, any(input_tokens) AS input_tokens, \
         any(output_tokens) AS output_tokens FROM weighbridge.ledger GROUP BY window_start, collector_id, boot_epoch, sequence, cell)"
    );
    let by_identity = rig.clickhouse().query(&by_identity).await;
    let mut differences = Vec::new();
    if ledger != rollup {
        differences.push(format!("the ledger sums to {ledger}, the rollup to {rollup}"));
    }
    if ledger != by_identity {
        differences.push(format!("FINAL sums to {ledger}, by identity it is {by_identity}"));
    }
    // The audit leaves out windows of the last ten minutes; here everything has arrived.
    let named = "SELECT replace(toString(collector_id), '-', '') FROM weighbridge.audit UNION DISTINCT \
        SELECT replace(toString(collector_id), '-', '') FROM weighbridge.epoch_audit WHERE \
        counted_requests != claimed_requests OR counted_attempts != claimed_attempts OR \
        counted_input_tokens != claimed_input_tokens OR counted_output_tokens != claimed_output_tokens OR \
        present_reports != expected_reports OR torn_reports != 0";
    let audit = rig.clickhouse().query(named).await;
    let lost: HashSet<u128> = truth.maybe.iter().map(|name| name.0).collect();
    let named = audit.lines().filter_map(|id| u128::from_str_radix(id, 16).ok());
    // One whose disk was lost may have lost reports in the middle.
    let wrong = named.filter(|id| !lost.contains(id));
    differences.extend(wrong.map(|id| format!("the audit names collector {id:032x}")));
    differences
}

/// Each poison is a dead letter, and nothing else is.
async fn dead_letters(rig: &Rig, poison: &[Bytes]) -> Vec<String> {
    let config = rig.kafka().client_config();
    let poison: HashSet<Bytes> = poison.iter().cloned().collect();
    let read = move || {
        let mut letters = HashSet::new();
        each_value(config, &format!("{TOPIC}.dlq"), 0, |value| {
            letters.insert(Bytes::copy_from_slice(value));
        });
        letters
    };
    let letters = tokio::task::spawn_blocking(read).await.expect("the dead letters");
    let mut differences = Vec::new();
    let (missing, other) = (poison.difference(&letters).count(), letters.difference(&poison).count());
    if missing > 0 {
        differences.push(format!("{missing} records that are no reports are not among the dead letters"));
    }
    if other > 0 {
        differences.push(format!("{other} dead letters were never poison"));
    }
    differences
}
