//! Attachments, records and the ledger with the running kernel. What a test needs and does not find makes it skip,
//! with its name and the reason printed.

mod events;
#[path = "../../../skep-sys/tests/kernel/harness.rs"]
mod harness;
mod many;
mod places;
mod progs;

fn main() -> std::process::ExitCode {
    harness::run(&[places::TESTS, events::TESTS, many::TESTS].concat())
}
