//! Members of load's group that come and go: each partition is read by somebody, whatever happened before.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::aggregator::{LIMIT, Rig, Stage, many, produce};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::time::{Instant, sleep};
use weighbridge_proto::cells::Counts;

const GROUP: &str = "members";
const PARTITIONS: &str = "weighbridge_load_partitions";

/// Alive; ready it is only with ClickHouse.
async fn member(rig: &Rig) -> Stage {
    rig.start_stage(&["load"], &[("WEIGHBRIDGE_LOAD_GROUP_ID", GROUP.to_owned())], "/livez").await
}

async fn wait_for_partitions(member: &Stage, count: i64) {
    let deadline = Instant::now() + LIMIT;
    while member.metric(PARTITIONS).await != count {
        assert!(Instant::now() < deadline, "it never had {count} partitions");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Members of the group, as Kafka says.
async fn members(rig: &Rig) -> usize {
    let config = rig.kafka().client_config();
    let ask = move || {
        let client: BaseConsumer = config.create().unwrap();
        let groups = client.fetch_group_list(Some(GROUP), LIMIT).unwrap();
        groups.groups().first().unwrap().members().len()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn wait_for(rig: &Rig, truth: &Counts) {
    let sums = "SELECT sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens) FROM weighbridge.ledger FINAL";
    let Counts { requests, attempts, input_tokens, output_tokens } = truth;
    rig.wait_for(sums, &format!("{requests}\t{attempts}\t{input_tokens}\t{output_tokens}")).await;
}

/// ClickHouse says that there are too many parts.
async fn refuse_inserts(rig: &Rig, yes: bool) {
    let most = if yes { 1 } else { 3_000 };
    let sql = format!(
        "ALTER TABLE weighbridge.ledger MODIFY SETTING parts_to_delay_insert = {most}, parts_to_throw_insert = {most}"
    );
    rig.clickhouse.query(&sql).await;
}

#[tokio::test]
async fn a_partition_that_was_paused_when_it_was_taken_away_is_read_when_it_comes_back() {
    let rig = Rig::start().await;
    let (reports, truth) = many(6, 300);
    let first = member(&rig).await;
    wait_for_partitions(&first, 3).await;
    let (early, late) = reports.split_at(reports.len() / 2);
    refuse_inserts(&rig, true).await;
    produce(rig.kafka(), early).await;
    first.wait_for_metric("weighbridge_load_paused", 1).await;
    let second = member(&rig).await;
    wait_for_partitions(&first, 2).await;
    wait_for_partitions(&second, 1).await;
    refuse_inserts(&rig, false).await;
    second.wait_for_metric("weighbridge_load_reports_loaded_total", 1).await;
    second.stop().await;
    assert_eq!(members(&rig).await, 1, "who ends in order leaves the group");
    wait_for_partitions(&first, 3).await;
    produce(rig.kafka(), late).await;
    wait_for(&rig, &truth).await;
    first.stop().await;
}
