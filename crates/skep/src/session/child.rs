//! The command of `-c`.

use crate::console::{Failure, reason};
use skep_sys::poll::Signal;
use skep_sys::process::{Child, StopAt, find_program, spawn};
use std::ffi::OsString;

/// A command that waits until everything is attached.
pub(crate) struct Command {
    child: Child,
    name: String,
}

impl Command {
    /// Starts a command, given as its words.
    ///
    /// # Errors
    /// There is no such program, or it could not be started.
    pub(crate) fn start(words: &[OsString], stop: StopAt) -> Result<Command, Failure> {
        let Some(program) = words.first() else {
            return Err(Failure::new("Failed to fork child: the command is empty"));
        };
        let name = program.to_string_lossy().into_owned();
        let failed = |why: &str| Failure::new(format!("Failed to fork child: {why}"));
        find_program(program).map_err(|e| {
            let cause = reason(&std::io::Error::from_raw_os_error(e.errno.0));
            failed(&format!("Path '{name}' does not exist or is not executable ({cause})"))
        })?;
        let child = spawn(words, stop).map_err(|e| failed(&format!("{name}: {e}")))?;
        Ok(Command { child, name })
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Lets it run.
    ///
    /// # Errors
    /// It could not become the program.
    pub(crate) fn resume(&mut self) -> Result<(), Failure> {
        let name = &self.name;
        self.child.resume().map_err(|e| Failure::new(format!("Failed to run child: {name}: {e}")))
    }

    /// Ends it if it still runs.
    pub(crate) fn end(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may be gone by now, or be somebody else's: nothing that can be done about it.
            let _ = self.child.signal(Signal::SIGTERM);
        }
    }
}
