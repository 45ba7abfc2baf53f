//! What a process has used, from `/proc`, and what a collector has counted: for the load tools.

/// CPU seconds, user and system.
pub fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is running");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// The same of the threads that it has now, to the nanosecond: `cpu_s` counts in hundredths of a second.
pub fn threads_cpu_s(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is running");
    // A thread may end meanwhile.
    let times =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    let ns = times.map(|text| {
        text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).expect("time on a CPU")
    });
    ns.sum::<u64>() as f64 / 1e9
}

/// A line of its memory in KiB: `VmRSS` resident, `VmHWM` the most there was.
pub fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is running");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a memory line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("KiB")
}

/// Its resident memory in KiB, each page divided by the number of processes that have it (`Pss`).
pub fn shared_out_kib(pid: u32) -> u64 {
    let rollup =
        std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process is running");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("a memory line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("KiB")
}

/// A counter without labels of a collector's page.
pub fn counter(page: &str, name: &str) -> u64 {
    let prefix = format!("weighbridge_collector_{name}_total ");
    let value = page.lines().find_map(|line| line.strip_prefix(&prefix));
    value.and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("no {prefix}in\n{page}"))
}
