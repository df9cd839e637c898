//! Messages on stderr, and failures of commands.

use skep_ir::{Diagnostic, Severity, SourceMap, diag};
use std::io::{IsTerminal, Write};

/// Exit code of what was asked and could not be done.
pub(crate) const FAILED: u8 = 1;
/// Exit code of wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Exit code of programs that the kernel did not take, or that could not be attached.
pub(crate) const NOT_LOADED: u8 = 255;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) code: u8,
    /// What is printed; empty if that was done already.
    pub(crate) messages: Vec<Diagnostic>,
}

impl Failure {
    /// An error without a place in a source.
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure { code: FAILED, messages: vec![Diagnostic::new(Severity::Error, None, text)] }
    }

    /// Everything has been said.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure { code, messages: Vec::new() }
    }

    /// Adds a way out.
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Failure {
        if let Some(message) = self.messages.pop() {
            self.messages.push(message.hint(text));
        }
        self
    }

    /// With another exit code.
    pub(crate) fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }
}

impl From<Diagnostic> for Failure {
    fn from(message: Diagnostic) -> Failure {
        Failure { code: FAILED, messages: vec![message] }
    }
}

impl From<skep_sys::SysError> for Failure {
    fn from(error: skep_sys::SysError) -> Failure {
        Failure::new(error.to_string())
    }
}

/// Whether messages are coloured: `auto` (on terminals), `always` or `never`, as the environment says.
pub(crate) fn wants_color() -> bool {
    let variable = |name: &str| std::env::var(name).ok();
    match variable("SKEP_COLOR").or_else(|| variable("BPFTRACE_COLOR")).as_deref() {
        Some("always") => true,
        Some("never") => false,
        _ => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stderr().is_terminal(),
    }
}

/// Writes text to stderr.
pub(crate) fn say(text: &str) {
    say_bytes(text.as_bytes());
}

/// Writes text to stderr. There is nobody left to tell if that fails.
pub(crate) fn say_bytes(text: &[u8]) {
    let _ = std::io::stderr().write_all(text);
}

/// Writes messages to stderr, errors first.
pub(crate) fn report(messages: &[Diagnostic], sources: &SourceMap) {
    if !messages.is_empty() {
        say(&diag::render_all(messages, sources, wants_color()));
    }
}

/// Writes text to stdout at once.
///
/// # Errors
/// Writing failed. That nobody reads (any more) is no error: whoever asked has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {}", reason(&e))))
        }
        _ => Ok(()),
    }
}

/// An error of the system in words, without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
