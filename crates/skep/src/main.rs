//! The `skep` command.
//!
//! | module | concern |
//! |---|---|
//! | `cli` | words on the command line, help |
//! | `console` | messages on stderr, and what keeps a command from being done |
//! | `env` | what compilation asks of the live system |
//! | `symbols` | names of addresses, contents of programs |
//! | `trace` | scripts: reading, compiling, listing, dumping |
//! | `session` | a script that runs: loading, attaching, records, the end |
#![forbid(unsafe_code)]

mod cli;
mod console;
mod env;
mod session;
mod symbols;
mod trace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&std::env::args_os().collect::<Vec<_>>())
}
