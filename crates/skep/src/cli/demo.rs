//! `skep demo`: a trace that has something to show at once.

use super::flags;
use super::trace::TraceArgs;
use crate::console::{self, Failure};
use std::ffi::OsString;

const SCRIPT: &str = r#"tracepoint:sched:sched_process_exec
{
  time("%H:%M:%S  ");
  printf("%-8d %s\n", pid, args.filename);
  @started[pid] = nsecs;
}

tracepoint:sched:sched_process_exit
/@started[pid]/
{
  @lived_us = hist((nsecs - @started[pid]) / 1000);
  delete(@started, pid);
}

end
{
  clear(@started);
}
"#;

/// What there is to see.
const COMMAND: &str =
    "uname -s >/dev/null; sleep 0.2; ls / >/dev/null; sleep 0.1; date >/dev/null; id >/dev/null";

const HELP: &str = "\
USAGE: skep demo

Runs a script that prints every program that is started on this machine, and starts a few
programs, so that there is something to see. Ends by itself.
";

/// Runs the command.
pub(super) fn run(args: &[OsString]) -> Result<u8, Failure> {
    match args {
        [] => {}
        [word] if word == "-h" || word == "--help" => return console::print(HELP).map(|()| 0),
        _ => return Err(flags::wrong("skep demo takes no arguments")),
    }
    let mut intro = "A script that prints every program that is started:\n\n".to_owned();
    for line in SCRIPT.lines() {
        intro += &format!("    {line}\n");
    }
    intro += &format!("\nIt runs while this does: sh -c '{COMMAND}'\n");
    intro += "After that it prints how many microseconds the programs lived.\n\n";
    console::print(&intro)?;
    let trace = TraceArgs {
        program: Some(SCRIPT.to_owned()),
        command: Some(["sh", "-c", COMMAND].map(OsString::from).to_vec()),
        ..TraceArgs::default()
    };
    let code = crate::trace::run(&trace)?;
    console::print(
        "\nTo run it as long as you like, put it in a file: skep trace FILE. See skep help trace.\n",
    )?;
    Ok(code)
}
