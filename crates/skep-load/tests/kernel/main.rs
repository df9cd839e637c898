//! Probes and loads with the running kernel. What a test needs and does not find makes it skip, with its name and
//! the reason printed.

#[path = "../../../skep-sys/tests/kernel/harness.rs"]
#[allow(dead_code, reason = "shared by several test targets")]
mod harness;
mod live;
mod loads;
mod probes;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared by several test targets")]
mod support;

fn main() -> std::process::ExitCode {
    harness::run(&[probes::TESTS, loads::TESTS, live::TESTS].concat())
}
