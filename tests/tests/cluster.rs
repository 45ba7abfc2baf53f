//! Two shards beside one server, all fed from the same topic by the real program: over both shards every view says what one server
//! says. And: the schema with replicas, as the server's own parser reads it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use crate::aggregator::{LIMIT, Rig, many, produce};
use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep};
use weighbridge_aggregator::config::{self, Cluster};
use weighbridge_aggregator::migrate;
use weighbridge_aggregator::store::Store;
use weighbridge_tests::answers::insert_cells;
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::processes::{free_port, root};

/// Organisations (contributors 100 and 200) with a collector on each shard, retention over months, fallbacks.
const CELLS: &str = "
# minute          collector contributor environment product model  openness hosting operation choice outcome requests attempts input output
2026-11-03T10:00:00  2 100 production kong    glm-5.3      open-restricted third_party chat            first    ok 10 10 10 10
2026-11-03T10:00:00  3 100 production kong    unlisted     closed          marketplace chat            first    ok 90 90 90 90
2026-11-04T10:00:00  3 200 staging    genai   unlisted     unknown         unknown     chat            first    ok  5  5  5  5
2026-11-04T10:00:00  4 200 staging    genai   gpt-oss-120b open-permissive self_hosted chat            first    ok  7  7  7  7
2026-11-05T10:00:00  5   0 production litellm unlisted     closed          first_party text_completion first    ok 11 11 11 11
2026-11-05T10:00:00  6   0 production litellm unlisted     closed          first_party chat            first    rate_limited 0 4 0 0
2026-11-05T10:00:00  6   0 production litellm gpt-oss-120b open-permissive self_hosted chat            fallback ok  4  4  4  4
2026-03-10T10:00:00 11   0 production litellm gpt-oss-120b open-permissive self_hosted chat            first    ok 10 10  0  0
2026-03-10T10:00:00 12   0 production litellm gpt-oss-120b open-permissive self_hosted chat            first    ok 20 20  0  0
2026-04-10T10:00:00 11   0 production litellm gpt-oss-120b open-permissive self_hosted chat            first    ok 30 30  0  0
2026-06-10T10:00:00 12   0 production litellm gpt-oss-120b open-permissive self_hosted chat            first    ok  5  5  0  0
2026-09-10T10:00:00 11   0 production litellm unlisted     closed          first_party chat            first    ok 10 10  0  0
";

/// The fixed days of `CELLS` must not expire.
const FOR_GOOD: [(&str, &str); 4] = [
    ("WEIGHBRIDGE_CLICKHOUSE_LEDGER_TTL_DAYS", "20000"),
    ("WEIGHBRIDGE_CLICKHOUSE_RETENTION_MINUTE_DAYS", "0"),
    ("WEIGHBRIDGE_CLICKHOUSE_RETENTION_HOUR_DAYS", "0"),
    ("WEIGHBRIDGE_CLICKHOUSE_RETENTION_PARTICIPATION_DAYS", "0"),
];
const SHARDS: u16 = 2;

#[tokio::test]
async fn two_shards_say_what_one_server_says() {
    let rig = Rig::start().await;
    let shards = start_shards(&rig).await;
    migrate_up(&rig, &[]);
    insert_cells(&rig.clickhouse, CELLS, 1).await;
    for (shard, server) in (0..SHARDS).zip(&shards) {
        let environment = of_shard(server, shard);
        migrate_up(&rig, &environment);
        // Twice: what is there stays.
        migrate_up(&rig, &environment);
        insert_cells(server, &cells_of(shard), 1).await;
    }
    let (mut reports, _) = many(9, 40);
    let sent = reports.len() as i64;
    reports.push(Bytes::from_static(&[0xff; 40]));
    produce(rig.kafka(), &reports).await;

    let one = rig.stage(&["load"], &owned(&FOR_GOOD)).await;
    let mut loads = Vec::new();
    for (shard, server) in (0..SHARDS).zip(&shards) {
        loads.push(rig.stage(&["load"], &of_shard(server, shard)).await);
    }
    for load in &loads {
        load.wait_for_metric("weighbridge_load_reports_read_total", sent + 1).await;
        load.wait_for_metric("weighbridge_load_reports_loaded_total", 1).await;
    }
    assert_views_equal(&rig, &shards[0]).await;
    // Each report is loaded by one, the poison is set aside once.
    let mut sums = [0; 3];
    for load in &loads {
        for (sum, name) in sums.iter_mut().zip(["loaded", "set_aside", "of_other_shards"]) {
            *sum += load.metric(&format!("weighbridge_load_reports_{name}_total")).await;
        }
    }
    assert_eq!(sums, [sent, 1, sent + 1]);
    assert_split(&rig, &shards[1]);
    assert_audits(&rig, &shards);
    for load in loads.into_iter().chain([one]) {
        load.stop().await;
    }
}

/// Each server knows both; no Keeper, no replicas.
async fn start_shards(rig: &Rig) -> Vec<ClickHouse> {
    let ports: Vec<u16> = (0..SHARDS).map(|_| free_port()).collect();
    let members = ports
        .iter()
        .map(|port| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>"));
    let cluster = format!("<remote_servers><main>{}</main></remote_servers>", members.collect::<String>());
    let mut servers = Vec::new();
    for (number, port) in ports.into_iter().enumerate() {
        let folder = rig.folder.path().join(format!("shard-{number}"));
        servers.push(ClickHouse::start_in_cluster(&folder, port, &cluster).await);
    }
    servers
}

fn owned(environment: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn of_shard(server: &ClickHouse, shard: u16) -> Vec<(&'static str, String)> {
    let mut environment = owned(&FOR_GOOD);
    environment.extend([
        ("WEIGHBRIDGE_CLICKHOUSE_URL", server.url()),
        ("WEIGHBRIDGE_CLICKHOUSE_CLUSTER_NAME", "main".to_owned()),
        ("WEIGHBRIDGE_CLICKHOUSE_CLUSTER_REPLICATED", "false".to_owned()),
        ("WEIGHBRIDGE_LOAD_GROUP_ID", format!("weighbridge-load-{shard}")),
        ("WEIGHBRIDGE_LOAD_SHARDS", SHARDS.to_string()),
        ("WEIGHBRIDGE_LOAD_SHARD", shard.to_string()),
    ]);
    environment
}

fn migrate_up(rig: &Rig, environment: &[(&'static str, String)]) {
    let mut command = rig.command();
    command.args(["migrate", "up"]).envs(owned(&FOR_GOOD)).envs(environment.iter().cloned());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The lines of the collectors of a shard: the last two bytes of the id, modulo the shards, which here is the last digit.
fn cells_of(shard: u16) -> String {
    let is_its = |line: &&str| {
        let collector = line.split_whitespace().nth(1).and_then(|collector| collector.parse::<u16>().ok());
        collector.is_some_and(|collector| collector % SHARDS == shard)
    };
    CELLS.lines().filter(is_its).flat_map(|line| [line, "\n"]).collect()
}

/// Waits until every view has the same rows; rows of one key, which shards keep apart, are summed.
async fn assert_views_equal(rig: &Rig, overview: &ClickHouse) {
    let views = rig
        .clickhouse
        .query(
            "SELECT name FROM system.tables WHERE database = 'weighbridge' AND engine = 'View' ORDER BY name",
        )
        .await;
    let views: Vec<&str> = views.lines().collect();
    assert!(views.len() > 30, "{views:?}");
    let deadline = Instant::now() + LIMIT;
    for view in views {
        let sql = summed(rig, view).await;
        loop {
            let one = rig.clickhouse.query(&sql.replace("{database}", "weighbridge")).await;
            let all = overview.query(&sql.replace("{database}", "weighbridge_all")).await;
            if one == all && (!one.is_empty() || has_no_rows(view)) {
                break;
            }
            assert!(Instant::now() < deadline, "{view}\none server:\n{one}\nboth shards:\n{all}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Views of what is wrong.
fn has_no_rows(view: &str) -> bool {
    view.contains("audit") || view == "traffic_cross_check"
}

/// A query of all rows with counts summed over the other columns. Places of copies are each loader's own.
async fn summed(rig: &Rig, view: &str) -> String {
    let columns = rig
        .clickhouse
        .query(&format!("SELECT name, type FROM system.columns WHERE database = 'weighbridge' AND table = '{view}' ORDER BY position"))
        .await;
    let (mut keys, mut sums) = (Vec::new(), Vec::new());
    for (name, kind) in columns.lines().map(|line| line.split_once('\t').unwrap()) {
        match kind {
            _ if ["ingested_at", "kafka_partition", "kafka_offset", "built_from"].contains(&name) => {}
            "UInt64" | "Nullable(UInt64)" => sums.push(format!("sum(v.{name})")),
            _ if kind.contains("Float64") => keys.push(format!("round(v.{name}, 9)")),
            _ => keys.push(format!("v.{name}")),
        }
    }
    let both: Vec<String> = keys.iter().chain(&sums).cloned().collect();
    format!("SELECT {} FROM {{database}}.{view} AS v GROUP BY ALL ORDER BY ALL FORMAT TSV", both.join(", "))
}

/// `split` over the database of all shards is `split` of one server.
fn assert_split(rig: &Rig, server: &ClickHouse) {
    let split = |environment: &[(&'static str, String)]| {
        let mut command = rig.command();
        command.args(["split", "--from", "2026-03-01", "--to", "2026-12-01", "--format", "json"]);
        let output = command.envs(environment.iter().cloned()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let all = ("WEIGHBRIDGE_CLICKHOUSE_DATABASE", "weighbridge_all".to_owned());
    let (one, both) = (split(&[]), split(&[("WEIGHBRIDGE_CLICKHOUSE_URL", server.url()), all]));
    assert!(one.contains("requests"), "{one}");
    assert_eq!(one, both);
}

/// Each shard holds what Kafka has of it; over all of them there is nothing to compare with.
fn assert_audits(rig: &Rig, shards: &[ClickHouse]) {
    let audit = |environment: &[(&'static str, String)]| {
        let mut command = rig.command();
        command.args(["audit", "--from", "2026-11-10"]).envs(environment.iter().cloned());
        command.output().unwrap()
    };
    for (shard, server) in (0..SHARDS).zip(shards) {
        let mut environment = of_shard(server, shard);
        let output = audit(&environment);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        environment.push(("WEIGHBRIDGE_CLICKHOUSE_DATABASE", "weighbridge_all".to_owned()));
        let output = audit(&environment);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains("over all shards"), "{told}");
    }
}

#[tokio::test]
async fn every_statement_of_a_replicated_cluster_is_sql_that_the_server_reads() {
    let rig = Rig::with_clickhouse().await;
    let cluster = Cluster { name: "main".to_owned(), replicated: true };
    let store = Store::new(&config::ClickHouse { cluster, ..config::ClickHouse::default() }).unwrap();
    let plan = migrate::plan(&store);
    let statements = migrate::statements(&plan);
    assert!(statements.len() > 100, "{}", statements.len());
    for sql in &statements {
        assert!(sql.contains("ON CLUSTER 'main'"), "{sql}");
        let parsed = rig.clickhouse.query(&format!("EXPLAIN AST {sql}")).await;
        assert!(!parsed.is_empty(), "{sql}");
    }
    for sql in ["SYSTEM SYNC REPLICA ON CLUSTER 'main' a.b", "SYSTEM RELOAD DICTIONARY ON CLUSTER 'main' a.b"]
    {
        rig.clickhouse.query(&format!("EXPLAIN AST {sql}")).await;
    }
    let replicated = statements.iter().filter(|sql| sql.contains("ENGINE = Replicated")).count();
    let tables = rig_tables(&rig).await;
    assert_eq!(replicated, tables, "every table but the stages of the register, which are copies of one");
}

/// What the operations guide says to ClickHouse, as its parser reads it.
#[tokio::test]
async fn statements_of_the_operations_guide_are_sql() {
    let rig = Rig::with_clickhouse().await;
    let guide = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let code = guide.split('`').skip(1).step_by(2);
    let statements: Vec<&str> = code
        .filter(|code| ["BACKUP ", "RESTORE ", "INSERT ", "ALTER "].iter().any(|verb| code.starts_with(verb)))
        .collect();
    assert!(statements.len() >= 3, "{statements:?}");
    for sql in statements {
        // Dots stand for an address.
        let sql = sql.replace("remote(...)", "remote('old:9000', weighbridge.ledger)");
        let parsed = rig.clickhouse.query(&format!("EXPLAIN AST {sql}")).await;
        assert!(!parsed.is_empty(), "{sql}");
    }
}

/// Tables that `migrate up` makes with an engine of their own, on one server.
async fn rig_tables(rig: &Rig) -> usize {
    rig.run(&["migrate", "up"]);
    let sql = "SELECT count() FROM system.tables WHERE database = 'weighbridge' AND engine LIKE '%MergeTree' \
               AND name NOT LIKE '%\\\\_stage'";
    rig.clickhouse.query(sql).await.parse().unwrap()
}
