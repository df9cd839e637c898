//! The crate against the running kernel. What a test needs and does not find makes it skip, with its name and the
//! reason printed; nothing is skipped silently.

mod harness;
mod insn;
mod maps;
mod network;
mod perf;
mod processes;
mod progs;
mod rings;
mod system;

fn main() -> std::process::ExitCode {
    let tests = [
        maps::TESTS,
        progs::TESTS,
        rings::TESTS,
        perf::TESTS,
        system::TESTS,
        processes::TESTS,
        network::TESTS,
    ]
    .concat();
    harness::run(&tests)
}
