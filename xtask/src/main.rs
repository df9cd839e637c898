//! Project automation: `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod cases;
mod deps;
mod fuzz;
mod interrupt;
mod process;
mod test;
mod ui;
mod vm;

use anyhow::Result;
use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask COMMAND ...

  test        run all tests
  vm          run a command under the kernels of the matrix
  run-cases   run the cases of tests/run against a binary
  deps        check the rules for dependencies
  fuzz        run the fuzz targets
  bench       measure skep beside its peer

cargo xtask COMMAND --help tells more.";

/// Wrong usage: the text says what is right. Ends with exit code 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The folder of the workspace.
fn root() -> &'static std::path::Path {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            ui::note(&format!("xtask: {e:#}"));
            let usage = e.is::<Usage>() || e.is::<lexopt::Error>();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn dispatch() -> Result<u8> {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(lexopt::Arg::Value(name)) => match name.to_str() {
            Some("test") => test::main(parser),
            Some("vm") => vm::main(parser),
            Some("run-cases") => cases::main(parser),
            Some("deps") => deps::main(parser),
            Some("fuzz") => fuzz::main(parser),
            Some("bench") => bench::main(parser),
            Some("bench-load") => bench::load_main(parser),
            Some("leave-map") => cases::leave_map(parser),
            _ => Err(Usage(HELP.to_owned()).into()),
        },
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => {
            ui::out(HELP);
            Ok(0)
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(Usage(HELP.to_owned()).into()),
    }
}
