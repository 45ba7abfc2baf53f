//! `faults [--seed N] [--faults N] [--collectors N] [--gateways N] [--kinds NAME,NAME] [--previous FILE]
//! [--aggregator FILE --sabotage NAME]`: runs the fault suite, prints every step, and fails when anything differs. The processes' logs stay in `target/faults/`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use weighbridge_tests::faults::{self, Kind, Plan};
use weighbridge_tests::processes::root;

const USAGE: &str = "use --seed, --faults, --collectors, --gateways (numbers), --kinds (names, with commas between), --aggregator, --previous (files), --sabotage (a name)";

fn plan() -> Result<Plan, String> {
    let mut plan = Plan { faults: 1_000, collectors: 60, gateways: 3, ..Plan::default() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        let number = || value.parse::<usize>().map_err(|_| format!("{name} takes a number; {USAGE}"));
        match name.as_str() {
            "--seed" => plan.seed = value.parse().map_err(|_| format!("{name} takes a number; {USAGE}"))?,
            "--faults" => plan.faults = number()?,
            "--collectors" => plan.collectors = number()?,
            "--gateways" => plan.gateways = number()?,
            "--aggregator" => plan.aggregator = Some(PathBuf::from(value)),
            "--previous" => plan.previous = Some(PathBuf::from(value)),
            "--kinds" => plan.kinds = value.split(',').map(kind).collect::<Result<_, _>>()?,
            "--sabotage" => plan.sabotage = Some(value),
            _ => return Err(format!("{name} is unknown; {USAGE}")),
        }
    }
    Ok(plan)
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = || Kind::all().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ");
    Kind::all()
        .find(|kind| format!("{kind:?}") == name)
        .ok_or_else(|| format!("--kinds: {name} is none of {}", names()))
}

fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("faults: {error}");
            return ExitCode::from(64);
        }
    };
    let folder = root().join("target/faults").join(plan.seed.to_string());
    // The data of an earlier run with this seed has the same names in it.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("an empty folder");
    }
    std::fs::create_dir_all(&folder).expect("a folder");
    let since = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let say = |line: String| println!("{:>7.1} s {line}", since.elapsed().as_secs_f64());
    let verdict = runtime.block_on(faults::run(&plan, &folder, say));
    for difference in &verdict.differences {
        println!("DIFFERENT: {difference}");
    }
    let exact = verdict.differences.is_empty();
    println!(
        "seed {}: {} faults, {} reports, {} requests: {}",
        plan.seed,
        plan.faults,
        verdict.reports,
        verdict.requests,
        if exact { "exact" } else { "DIFFERENT" }
    );
    if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
