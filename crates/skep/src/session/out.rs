//! Where output and messages go.

use crate::cli::trace::{Buffering, TraceArgs};
use crate::console::{self, Failure, reason};
use skep_trace::output::Sink;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Bytes that are gathered before they are written whatever the buffering.
const FULL: usize = 64 << 10;

/// The script's output: one buffer in front of stdout or a file, and messages on stderr.
pub(crate) struct Out {
    file: File,
    name: String,
    buffer: Vec<u8>,
    buffering: Buffering,
    state: State,
    /// Bytes are kept instead of written, for tests.
    captured: Option<Vec<u8>>,
}

/// Whether output still arrives.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The reader has gone.
    Closed,
    /// Writing failed.
    Failed(String),
}

impl Out {
    /// Opens what the command line says.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn open(args: &TraceArgs) -> Result<Out, Failure> {
        let (file, name) = match &args.output {
            Some(path) => (create(path)?, format!("'{}'", path.display())),
            None => {
                // Not through the standard library's handle, which looks for the ends of lines in everything.
                let fd = std::io::stdout().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|e| Failure::new(format!("standard output: {}", reason(&e))))?;
                (File::from(fd), "standard output".to_owned())
            }
        };
        Ok(Out {
            file,
            name,
            buffer: Vec::new(),
            buffering: args.buffering,
            state: State::Open,
            captured: None,
        })
    }

    /// Writes what is in the buffer.
    pub(crate) fn flush(&mut self) {
        if self.state == State::Open
            && let Err(e) = self.file.write_all(&self.buffer)
        {
            self.state = match e.kind() {
                ErrorKind::BrokenPipe => State::Closed,
                _ => State::Failed(format!("cannot write to {}: {}", self.name, reason(&e))),
            };
        }
        self.buffer.clear();
    }

    /// There is nothing more to add for now.
    pub(crate) fn rest(&mut self) {
        if self.buffering != Buffering::Full && !self.buffer.is_empty() {
            self.flush();
        }
    }

    /// Whether nothing that is written arrives any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state != State::Open
    }

    /// Writes what is left. A reader that has gone has seen enough, which is no error.
    ///
    /// # Errors
    /// Something could not be written.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        self.flush();
        match &self.state {
            State::Failed(why) => Err(Failure::new(why.clone())),
            State::Open | State::Closed => Ok(()),
        }
    }

    /// Keeps output from now on instead of writing it.
    pub(crate) fn capture(&mut self) {
        self.captured = Some(Vec::new());
    }

    /// Returns what was kept, and writes output again.
    pub(crate) fn release(&mut self) -> Vec<u8> {
        self.captured.take().unwrap_or_default()
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path)
        .map_err(|e| Failure::new(format!("failed to open output file '{}': {}", path.display(), reason(&e))))
}

impl Sink for Out {
    fn output(&mut self, bytes: &[u8]) {
        if let Some(captured) = &mut self.captured {
            captured.extend_from_slice(bytes);
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffering == Buffering::None || self.buffer.len() >= FULL {
            self.flush();
        }
    }

    fn message(&mut self, text: &[u8]) {
        // What came before stands before it where both go to the same place.
        if !self.buffer.is_empty() {
            self.flush();
        }
        console::say_bytes(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(path: &str, buffering: Buffering) -> Out {
        let args = TraceArgs { output: Some(path.into()), buffering, ..TraceArgs::default() };
        Out::open(&args).expect("the file can be made")
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let mut out = out("/dev/full", Buffering::Full);
        out.output(b"x\n");
        assert!(!out.is_closed());
        let failure = out.close().expect_err("nothing fits");
        assert_eq!(failure.messages[0].message, "cannot write to '/dev/full': No space left on device");
    }

    #[test]
    fn output_is_kept_and_released() {
        let mut out = out("/dev/null", Buffering::Line);
        out.capture();
        out.output(b"a");
        out.output(b"b");
        assert_eq!(out.release(), b"ab");
        assert!(out.buffer.is_empty());
        assert!(out.close().is_ok());
    }
}
