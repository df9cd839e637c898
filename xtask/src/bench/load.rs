//! The load under which tracers are measured: one system call, over and over, on one CPU.

use crate::ui;
use anyhow::{Context, Result, bail};
use rustix::thread::CpuSet;
use std::time::Instant;

const HELP: &str = "\
usage: cargo xtask bench-load getppid N [--cpu K]

Calls getppid N times, on CPU K if one is given, and prints how many nanoseconds a call took.";

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let mut words = Vec::new();
    let mut cpu = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("cpu") => cpu = Some(parser.value()?.parse::<usize>()?),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let [call, count] = words.as_slice() else { bail!(crate::Usage(HELP.into())) };
    let count: u32 = count.parse().ok().filter(|n| *n > 0).with_context(|| crate::Usage(HELP.into()))?;
    if call != "getppid" {
        bail!(crate::Usage(HELP.into()));
    }
    if let Some(cpu) = cpu {
        pin(cpu)?;
    }
    ui::out(&format!("{:.2}", getppid(count)));
    Ok(0)
}

fn pin(cpu: usize) -> Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        bail!("there is no CPU {cpu}");
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Nanoseconds per call. A tenth of the calls goes before, unmeasured, to warm things up.
fn getppid(count: u32) -> f64 {
    for _ in 0..count / 10 {
        std::hint::black_box(rustix::process::getppid());
    }
    let started = Instant::now();
    for _ in 0..count {
        std::hint::black_box(rustix::process::getppid());
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_call_takes_a_plausible_time() {
        // The quickest entry into a kernel takes tens of nanoseconds; an emulated one takes microseconds.
        let ns = super::getppid(10_000);
        assert!((5.0..1e6).contains(&ns), "{ns}");
    }
}
