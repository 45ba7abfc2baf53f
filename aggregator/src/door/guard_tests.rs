//! Who is let in, when a stream ends, and what happens to files that change.

use super::super::registry::{Grant, Hex};
use super::super::token::Token;
use super::*;
use crate::config::Quota;
use tokio::time::timeout;

const NOW_S: u64 = 1_795_435_200;
const LIMIT: Duration = Duration::from_secs(20);

struct Rig {
    folder: tempfile::TempDir,
    clock: Clock,
    instruments: Instruments,
    door: config::Door,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let door = config::Door {
            mode: DoorMode::Registered,
            contributors_file: Some(folder.path().join("contributors.json")),
            pseudonym_key_file: Some(folder.path().join("key")),
            quota: Quota { reports_per_minute: 2, bytes_per_minute: 1 << 30 },
            ..config::Door::default()
        };
        PseudonymKey::create(door.pseudonym_key_file.as_deref().unwrap()).unwrap();
        let rig =
            Rig { folder, clock: Clock::fixed(NOW_S * 1_000), instruments: Instruments::default(), door };
        rig.change(|_| Ok(()));
        rig
    }

    fn change(&self, change: impl FnOnce(&mut registry::Registry) -> Result<(), DoorError>) {
        registry::update(self.door.contributors_file.as_deref().unwrap(), change).unwrap();
    }

    fn add(&self, name: &str, id: u8, expires_at_s: Option<u64>) -> MetadataMap {
        let token = Token::generate().unwrap();
        self.change(|registry| registry.add(name, Hex([id; 16]), &Grant::from(&token), NOW_S, expires_at_s));
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {}", token.reveal()).parse().unwrap());
        metadata
    }

    fn guard(&self) -> Arc<Guard> {
        Arc::new(Guard::new(&self.door, true, self.clock.clone(), &self.instruments).unwrap())
    }

    fn has(&self, line: &str) -> bool {
        self.instruments.render().contains(line)
    }
}

fn admit(guard: &Arc<Guard>, metadata: &MetadataMap) -> Result<Pass, Refused> {
    guard.admit(metadata, Peer::default())
}

#[test]
fn nobody_listens_to_strangers_by_accident() {
    let rig = Rig::new();
    let open = |mode, on_loopback| {
        let door = config::Door { mode, ..rig.door.clone() };
        Guard::new(&door, on_loopback, rig.clock.clone(), &Instruments::default())
            .err()
            .map(|error| error.code())
    };
    assert_eq!(open(DoorMode::Loopback, true), None);
    assert_eq!(open(DoorMode::Loopback, false), Some("door_exposed"));
    assert_eq!(open(DoorMode::Open, false), None);
    assert_eq!(open(DoorMode::Registered, true), None);
    assert_eq!(open(DoorMode::Registered, false), Some("door_exposed"), "tokens in plain text");
}

#[test]
fn who_is_not_asked_has_no_other_name_and_who_is_has() {
    let mut rig = Rig::new();
    let acme = rig.add("acme", 1, None);
    let collector = CollectorId([9; 16]);
    let guard = rig.guard();
    let mut identified = admit(&guard, &acme).ok().unwrap().identified();
    assert_eq!(identified.sender(collector, NOW_S), identified.sender(collector, NOW_S + 60));
    let other = CollectorId([77; 16]);
    let told = [(collector, NOW_S), (other, NOW_S), (other, NOW_S + 4 * 7 * 86_400), (collector, NOW_S)];
    let told = told.map(|(collector, window_s)| identified.sender(collector, window_s).unwrap());
    assert_eq!(told[0], told[3], "by collector and epoch, whatever came before");
    assert_ne!(told[0].collector, told[1].collector);
    assert_eq!((told[0].contributor, told[1].collector), (told[1].contributor, told[2].collector));
    assert_ne!(told[1].contributor, told[2].contributor);
    assert!(identified.sender(collector, NOW_S).is_some());
    assert_eq!(admit(&guard, &MetadataMap::new()).err(), Some(Refused::NoCredentials));
    let mut two = acme.clone();
    two.append("authorization", "Bearer wb1_00_00".parse().unwrap());
    assert_eq!(admit(&guard, &two).err(), Some(Refused::Unknown));
    let mut garbage = MetadataMap::new();
    garbage.insert("authorization", "Bearer garbage".parse().unwrap());
    assert_eq!(admit(&guard, &garbage).err(), Some(Refused::Unknown));
    assert!(rig.has("weighbridge_ingest_door_refused_total{reason=\"unknown\"} 2"));
    assert!(rig.has("weighbridge_ingest_door_refused_total{reason=\"no_credentials\"} 1"));

    rig.door.mode = DoorMode::Loopback;
    rig.instruments = Instruments::default();
    let mut identified = admit(&rig.guard(), &MetadataMap::new()).ok().unwrap().identified();
    assert_eq!(identified.sender(collector, NOW_S), None);
    (0..10).for_each(|_| identified.spend(1).unwrap());
}

#[tokio::test]
async fn a_revoked_streams_pass_ceases_and_its_neighbours_does_not() {
    let rig = Rig::new();
    let (acme, beta) = (rig.add("acme", 1, None), rig.add("beta", 2, None));
    let guard = rig.guard();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&guard).keep_up(stop.clone()));
    let (acme_pass, beta_pass) = (admit(&guard, &acme).ok().unwrap(), admit(&guard, &beta).ok().unwrap());
    let mut beta_ceases = Box::pin(beta_pass.ceases());
    rig.change(|registry| registry.revoke("acme", NOW_S));
    tokio::select! {
        refused = timeout(LIMIT, acme_pass.ceases()) => assert_eq!(refused.unwrap(), Refused::Revoked),
        _ = &mut beta_ceases => panic!("beta is not revoked"),
    }
    assert_eq!(admit(&guard, &acme).err(), Some(Refused::Revoked));
    assert!(rig.has("weighbridge_ingest_door_ended_total{reason=\"revoked\"} 1"));
    assert!(rig.has("weighbridge_ingest_door_contributors 1"));
    // What cannot be read changes nothing; what can again does.
    let path = rig.door.contributors_file.clone().unwrap();
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "broken").unwrap();
    let failed = || rig.has("weighbridge_ingest_door_reload_failures_total{file=\"contributors\"} 1");
    timeout(LIMIT, async {
        while !failed() {
            sleep(Duration::from_millis(20)).await
        }
    })
    .await
    .unwrap();
    assert!(admit(&guard, &beta).is_ok());
    let text = String::from_utf8(good).unwrap().replace("beta", "gamma");
    let mut gone: registry::Registry = serde_json::from_str(&text).unwrap();
    gone.contributors.pop();
    registry::replace(&path, &serde_json::to_vec(&gone).unwrap()).unwrap();
    assert_eq!(timeout(LIMIT, &mut beta_ceases).await.unwrap(), Refused::Unknown, "taken out of the file");
    stop.cancel();
    keeping.await.unwrap();
    drop(rig.folder);
}

#[tokio::test(start_paused = true)]
async fn a_pass_ceases_when_it_expires() {
    let rig = Rig::new();
    let acme = rig.add("acme", 1, Some(NOW_S + 100));
    let guard = rig.guard();
    let pass = admit(&guard, &acme).ok().unwrap();
    let clock = rig.clock.clone();
    let passing = tokio::spawn(async move {
        sleep(Duration::from_secs(99)).await;
        clock.set((NOW_S + 100) * 1_000);
    });
    assert_eq!(pass.ceases().await, Refused::Expired);
    passing.await.unwrap();
    assert_eq!(admit(&guard, &acme).err(), Some(Refused::Expired));
}

#[test]
fn streams_of_one_contributor_share_its_quota() {
    let rig = Rig::new();
    let (acme, beta) = (rig.add("acme", 1, None), rig.add("beta", 2, None));
    let guard = rig.guard();
    let streams = [&acme, &acme, &beta].map(|metadata| admit(&guard, metadata).ok().unwrap().identified());
    streams[0].spend(1).unwrap();
    streams[1].spend(1).unwrap();
    assert!(streams[0].spend(1).is_err() && streams[1].spend(1).is_err());
    streams[2].spend(1).unwrap();
}
