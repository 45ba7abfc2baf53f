//! What can happen, each a fault that begins, lasts and ends.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rustix::process::Signal;
use tokio::time::sleep;

use super::gateways::Gateways;
use super::proxy::Network;
use super::rig::{LOADERS, Rig, TOPIC, Which, send};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    IngestKilled,
    IngestTerminated,
    IngestStopped,
    LoadKilled,
    LoadTerminated,
    LoadStopped,
    /// Stopped until its partitions are another's; then it writes what it held.
    LoadZombie,
    /// A loader more, or one less.
    Rebalance,
    /// The whole topic is read once more, beside the others.
    Replay,
    KafkaKilled,
    KafkaTerminated,
    KafkaStopped,
    ClickHouseKilled,
    ClickHouseTerminated,
    ClickHouseStopped,
    /// Inserts are refused: too many parts.
    ClickHouseRefuses,
    /// A table is away.
    ClickHouseDetached,
    /// Fleet and collectors to one ingest.
    UplinkNetwork,
    IngestKafkaNetwork,
    LoadKafkaNetwork,
    LoadClickHouseNetwork,
    /// Records that are no reports.
    Poison,
    CollectorKilled,
    CollectorTerminated,
    CollectorStopped,
    /// Ingest is killed while Kafka's answers are swallowed: between produce and receipt.
    IngestKilledUnanswered,
    /// Ingest is killed while Kafka hears nothing.
    IngestKilledUnheard,
    /// Load is killed while ClickHouse hears nothing, or while its answers are swallowed: before an insert, or between it and
    /// the offset.
    LoadKilledUnanswered,
    /// Nothing more fits to Kafka's disk: the broker gives up, and comes back when there is room.
    KafkaDiskFull,
    /// A stage is stopped in order and comes back as the other version.
    Upgrade,
}

/// How often each is chosen, in parts of the sum. What takes long is rare.
const WEIGHTS: [(Kind, u32); 30] = [
    (Kind::IngestKilled, 16),
    (Kind::IngestTerminated, 5),
    (Kind::IngestStopped, 4),
    (Kind::LoadKilled, 16),
    (Kind::LoadTerminated, 5),
    (Kind::LoadStopped, 4),
    (Kind::LoadZombie, 1),
    (Kind::Rebalance, 5),
    (Kind::Replay, 1),
    (Kind::KafkaKilled, 2),
    (Kind::KafkaTerminated, 1),
    (Kind::KafkaStopped, 2),
    (Kind::ClickHouseKilled, 7),
    (Kind::ClickHouseTerminated, 2),
    (Kind::ClickHouseStopped, 3),
    (Kind::ClickHouseRefuses, 2),
    (Kind::ClickHouseDetached, 2),
    (Kind::UplinkNetwork, 8),
    (Kind::IngestKafkaNetwork, 6),
    (Kind::LoadKafkaNetwork, 5),
    (Kind::LoadClickHouseNetwork, 8),
    (Kind::Poison, 3),
    (Kind::CollectorKilled, 10),
    (Kind::CollectorTerminated, 2),
    (Kind::CollectorStopped, 2),
    (Kind::IngestKilledUnanswered, 3),
    (Kind::IngestKilledUnheard, 3),
    (Kind::LoadKilledUnanswered, 4),
    (Kind::KafkaDiskFull, 1),
    (Kind::Upgrade, 4),
];

/// Kafka gives a silent loader's partitions to another after 10 s (`session.timeout.ms`).
const ZOMBIE: Duration = Duration::from_secs(13);

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        WEIGHTS.into_iter().map(|(kind, _)| kind)
    }

    /// Whether it happens to a real collector.
    pub(super) fn needs_gateways(self) -> bool {
        matches!(self, Kind::CollectorKilled | Kind::CollectorTerminated | Kind::CollectorStopped)
    }
}

pub(super) fn choose(only: &[Kind], random: &mut Rng) -> Kind {
    if let Some(kind) = random.choice(only) {
        return *kind;
    }
    let mut at = random.u32(..WEIGHTS.iter().map(|(_, weight)| weight).sum::<u32>());
    for (kind, weight) in WEIGHTS {
        match at.checked_sub(weight) {
            Some(rest) => at = rest,
            None => return kind,
        }
    }
    Kind::IngestKilled
}

/// Lets `kind` happen and end.
pub(super) async fn inject(
    kind: Kind,
    rig: &mut Rig,
    gateways: &mut Gateways,
    poison: &mut Vec<Bytes>,
    random: &mut Rng,
) {
    let lasts = Duration::from_millis(random.u64(50..900));
    let ingest = Which::Ingest(random.usize(..2));
    let loader = Which::Loader(random.usize(..rig.loaders.len()));
    match kind {
        Kind::IngestKilled => killed(rig, ingest, lasts).await,
        Kind::LoadKilled => killed(rig, loader, lasts).await,
        Kind::IngestTerminated => terminated(rig, ingest, lasts).await,
        Kind::LoadTerminated => terminated(rig, loader, lasts).await,
        Kind::IngestStopped => stopped(rig, ingest, lasts).await,
        Kind::LoadStopped => stopped(rig, loader, lasts).await,
        Kind::LoadZombie => stopped(rig, loader, ZOMBIE).await,
        Kind::Rebalance => rebalance(rig).await,
        Kind::Replay => {
            let replay = rig.replay().await;
            sleep(4 * lasts).await;
            replay.stop().await;
        }
        Kind::KafkaKilled | Kind::KafkaTerminated | Kind::KafkaStopped => kafka(kind, rig, lasts).await,
        Kind::KafkaDiskFull => {
            rig.kafka_disk.fill();
            sleep(4 * lasts).await;
            // It may have ended by itself.
            let Some(kafka) = rig.kafka.take() else { return };
            let ports = kafka.ports();
            kafka.kill().await;
            rig.kafka_disk.free();
            rig.start_kafka(ports).await;
        }
        Kind::Upgrade => {
            let which = if random.bool() { ingest } else { loader };
            rig.stage(which).terminate().await;
            rig.exchange(which);
            rig.restart(which).await;
        }
        Kind::ClickHouseKilled
        | Kind::ClickHouseTerminated
        | Kind::ClickHouseStopped
        | Kind::ClickHouseRefuses
        | Kind::ClickHouseDetached => clickhouse(kind, rig, lasts).await,
        Kind::UplinkNetwork
        | Kind::IngestKafkaNetwork
        | Kind::LoadKafkaNetwork
        | Kind::LoadClickHouseNetwork => network(kind, rig, lasts, random).await,
        Kind::Poison => poison.extend(produce_poison(rig, random).await),
        Kind::CollectorKilled | Kind::CollectorTerminated | Kind::CollectorStopped => {
            collector(kind, gateways, lasts, random).await;
        }
        Kind::IngestKilledUnanswered | Kind::IngestKilledUnheard => {
            let unheard = kind == Kind::IngestKilledUnheard;
            rig.ingest_to_kafka.set(if unheard { Network::Silent } else { Network::Unanswered });
            sleep(lasts).await;
            rig.stage(ingest).kill().await;
            rig.ingest_to_kafka.set(Network::Whole);
            rig.restart(ingest).await;
        }
        Kind::LoadKilledUnanswered => {
            let broken = if random.bool() { Network::Unanswered } else { Network::Silent };
            rig.load_to_clickhouse.set(broken);
            sleep(lasts).await;
            rig.stage(loader).kill().await;
            rig.load_to_clickhouse.set(Network::Whole);
            rig.restart(loader).await;
        }
    }
    sleep(Duration::from_millis(random.u64(..300))).await;
}

async fn killed(rig: &mut Rig, which: Which, lasts: Duration) {
    rig.stage(which).kill().await;
    sleep(lasts / 2).await;
    rig.restart(which).await;
}

async fn terminated(rig: &mut Rig, which: Which, lasts: Duration) {
    rig.stage(which).terminate().await;
    sleep(lasts / 2).await;
    rig.restart(which).await;
}

async fn stopped(rig: &mut Rig, which: Which, lasts: Duration) {
    rig.stage(which).signal(Signal::STOP);
    sleep(lasts).await;
    rig.stage(which).signal(Signal::CONT);
}

async fn rebalance(rig: &mut Rig) {
    if rig.loaders.len() < 2 * LOADERS {
        rig.add_loader().await;
    } else {
        while rig.loaders.len() > LOADERS {
            if let Some(stage) = rig.loaders.pop() {
                stage.stop().await;
            }
        }
    }
}

async fn kafka(kind: Kind, rig: &mut Rig, lasts: Duration) {
    if kind == Kind::KafkaStopped {
        let id = rig.kafka().id();
        send(id, Signal::STOP);
        // Longer than ingest's limit of delivery now and then.
        sleep(4 * lasts).await;
        return send(id, Signal::CONT);
    }
    let Some(kafka) = rig.kafka.take() else { return };
    let ports = kafka.ports();
    if kind == Kind::KafkaKilled {
        kafka.kill().await
    } else {
        kafka.stop().await
    }
    sleep(lasts).await;
    rig.start_kafka(ports).await;
}

async fn clickhouse(kind: Kind, rig: &mut Rig, lasts: Duration) {
    match kind {
        Kind::ClickHouseStopped => {
            let id = rig.clickhouse().id();
            send(id, Signal::STOP);
            sleep(2 * lasts).await;
            send(id, Signal::CONT);
        }
        Kind::ClickHouseRefuses => {
            let limit = |parts: u32| {
                format!(
                    "ALTER TABLE weighbridge.ledger MODIFY SETTING parts_to_delay_insert = {parts}, parts_to_throw_insert = {parts}"
                )
            };
            rig.clickhouse().query(&limit(1)).await;
            sleep(2 * lasts).await;
            rig.clickhouse().query(&limit(3_000)).await;
        }
        Kind::ClickHouseDetached => {
            rig.clickhouse().query("DETACH TABLE weighbridge.reports SYNC").await;
            sleep(lasts).await;
            rig.clickhouse().query("ATTACH TABLE weighbridge.reports").await;
        }
        _ => {
            let Some(clickhouse) = rig.clickhouse.take() else { return };
            if kind == Kind::ClickHouseKilled {
                clickhouse.kill().await
            } else {
                clickhouse.stop().await
            }
            sleep(lasts / 2).await;
            rig.start_clickhouse().await;
        }
    }
}

async fn network(kind: Kind, rig: &Rig, lasts: Duration, random: &mut Rng) {
    let proxy = match kind {
        Kind::UplinkNetwork => random.choice(&rig.to_ingest).expect("two proxies"),
        Kind::IngestKafkaNetwork => &rig.ingest_to_kafka,
        Kind::LoadKafkaNetwork => &rig.load_to_kafka,
        _ => &rig.load_to_clickhouse,
    };
    let slow = Network::Slow(Duration::from_millis(random.u64(1..60)));
    let networks = [Network::Cut, Network::Reset, Network::Silent, Network::Unanswered, slow];
    proxy.set(*random.choice(&networks).expect("five"));
    sleep(2 * lasts).await;
    proxy.set(Network::Whole);
}

async fn collector(kind: Kind, gateways: &mut Gateways, lasts: Duration, random: &mut Rng) {
    let many = gateways.0.len();
    let Some(gateway) = gateways.0.get_mut(random.usize(..many)) else { return };
    match kind {
        Kind::CollectorStopped => {
            let id = gateway.collector.process_id();
            send(id, Signal::STOP);
            sleep(2 * lasts).await;
            send(id, Signal::CONT);
        }
        Kind::CollectorTerminated => {
            gateway.collector.stop().await;
            gateway.collector.restart().await;
        }
        _ => {
            gateway.collector.kill().await;
            sleep(lasts / 2).await;
            gateway.collector.restart().await;
        }
    }
}

/// Garbage, a report that is cut short, and one as large as a record may be.
async fn produce_poison(rig: &Rig, random: &mut Rng) -> Vec<Bytes> {
    let mut garbage = vec![0xff; 30];
    garbage.extend(random.u64(..).to_le_bytes());
    // A length of 40 before 8 bytes.
    let mut short = vec![40];
    short.extend(random.u64(..).to_le_bytes());
    let mut large = vec![0xff; 900_000];
    large.extend(random.u64(..).to_le_bytes());
    let producer: FutureProducer = rig.kafka().client_config().create().expect("a producer");
    let values = [garbage, short, large].map(Bytes::from);
    for value in &values {
        let record = FutureRecord::<[u8], [u8]>::to(TOPIC).payload(value);
        let sent = producer.send(record, Duration::from_secs(60)).await;
        assert!(sent.is_ok(), "{sent:?}");
    }
    values.to_vec()
}
