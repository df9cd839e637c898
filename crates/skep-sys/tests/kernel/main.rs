//! The crate against the running kernel. What a test needs and does not find makes it skip, with its name and the
//! reason printed; nothing is skipped silently.

mod harness;
mod insn;
mod links;
mod maps;
mod network;
mod perf;
mod processes;
mod progs;
mod rings;
mod system;

fn main() -> std::process::ExitCode {
    let all = [
        maps::TESTS,
        progs::TESTS,
        links::TESTS,
        rings::TESTS,
        perf::TESTS,
        system::TESTS,
        processes::TESTS,
        network::TESTS,
    ];
    harness::run(&all.concat())
}
