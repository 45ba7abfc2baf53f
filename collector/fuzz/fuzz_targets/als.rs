//! Any bytes as Envoy's gRPC access log: the first byte chooses the clock and the profile.
//! What holds is said at `weighbridge_collector_fuzz`; besides, a message written twice in a row tells each entry twice.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weighbridge_collector::intake::{Encoding, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector_fuzz::{Push, field, now};

/// One entry with the status 200 and a path.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let status = field(4, &[field(1, &[[8_u8, 200, 1]])]);
        let path = field(3, &[field(5, &[b"/v1/chat/completions"])]);
        field(2, &[field(1, &[path, status])])
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let profiles: Vec<LogProfile> = LogProfile::all().collect();
    let profile = profiles[usize::from(choice >> 1) % profiles.len()];
    let push = Push {
        dialect: profile.into(),
        signal: Signal::Als,
        encoding: Encoding::Protobuf,
        now: now(choice & 1 == 0),
    };
    let good = good();
    let outcome = push.checked(payload, good);
    push.joined(payload, &outcome, good);
});
