//! Probes and loads with the running kernel. What a test needs and does not find makes it skip, with its name and
//! the reason printed.

#[path = "../../../skep-sys/tests/kernel/harness.rs"]
#[allow(dead_code, reason = "shared by several test targets")]
mod harness;
mod live;
mod loads;
mod objects;
mod probes;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared by several test targets")]
mod support;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(text) = loads::as_unprivileged().or_else(loads::as_pinner) {
        let written = std::io::stdout().write_all(text.as_bytes());
        return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(good) = loads::as_stopped() {
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    harness::run(&[probes::TESTS, loads::TESTS, live::TESTS, objects::TESTS].concat())
}
