//! Test and benchmark probes.

use super::attach::{self, Placed};
use super::runner::Runner;
use super::{Records, run_once};
use crate::console::{FAILED, Failure};
use crate::trace::Compiled;
use skep_ir::spec::When;
use skep_trace::output::{Printer, TestResult};
use std::time::{Duration, Instant};

/// A benchmark is repeated until it takes this long.
const LONG_ENOUGH: Duration = Duration::from_millis(1);
/// However fast it is.
const MOST_CALLS: u64 = 1 << 24;

/// The part of a probe's name behind its provider.
fn name<'c>(place: &Placed<'_>, compiled: &'c Compiled) -> &'c str {
    let spec = place.program.spec;
    let full = compiled.plan.probes.iter().find(|p| p.program == spec).map_or("", |p| p.name.as_str());
    full.split_once(':').map_or(full, |(_, name)| name)
}

/// Runs the tests; the result is the exit code.
pub(super) fn test(
    runner: &mut Runner<'_>,
    records: &mut Records,
    compiled: &Compiled,
    places: &[Placed<'_>],
) -> Result<u8, Failure> {
    let tests = attach::at(places, When::Manual);
    records.all(runner)?;
    runner.print(|printer, host| printer.tests_begin(tests.len(), host));
    let mut failed = Vec::new();
    for place in &tests {
        let name = name(place, compiled);
        runner.print(|printer, host| printer.test_begin(name, host));
        runner.out.capture();
        let errors = runner.printer.errors();
        let started = Instant::now();
        let value = run_once(place)?;
        let duration = started.elapsed();
        records.all(runner)?;
        let output = runner.out.release();
        let exit = runner.exit.take().unwrap_or(0);
        runner.stop.set_ending(false);
        let passed = value == 0 && exit == 0 && runner.printer.errors() == errors;
        if !passed {
            failed.push(name);
        }
        let result = TestResult { name, duration, passed, output: &output };
        runner.print(|printer, host| printer.test_end(&result, host));
        runner.look();
        if runner.stop.is_ending() {
            break;
        }
    }
    runner.print(|printer, host| printer.tests_end(tests.len(), &failed, host));
    Ok(if failed.is_empty() { 0 } else { FAILED })
}

/// Runs the benchmarks; the result is the exit code.
pub(super) fn bench(
    runner: &mut Runner<'_>,
    records: &mut Records,
    compiled: &Compiled,
    places: &[Placed<'_>],
) -> Result<u8, Failure> {
    records.all(runner)?;
    runner.print(Printer::benchmarks_begin);
    for place in attach::at(places, When::Manual) {
        let name = name(&place, compiled);
        let mut calls: u64 = 1;
        let average = loop {
            let started = Instant::now();
            for _ in 0..calls {
                run_once(&place)?;
            }
            let took = started.elapsed();
            runner.out.capture();
            records.all(runner)?;
            runner.out.release();
            runner.look();
            if took >= LONG_ENOUGH || calls >= MOST_CALLS || runner.stop.is_ending() {
                break u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / calls;
            }
            calls *= 2;
        };
        runner.print(|printer, host| printer.benchmark(name, average, calls, host));
        if runner.stop.is_ending() {
            break;
        }
    }
    Ok(0)
}
