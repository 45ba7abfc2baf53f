//! CPU time of the thread as a measurement, so that a busy machine does not blur it.
#![allow(unreachable_pub)]

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// Nanoseconds that the thread was on a CPU.
#[derive(Debug)]
pub struct CpuTime;

fn on_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        on_cpu()
    }

    fn end(&self, start: u64) -> u64 {
        on_cpu() - start
    }

    fn add(&self, first: &u64, second: &u64) -> u64 {
        first + second
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
