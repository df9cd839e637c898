//! Where output and messages go.

use super::stop::Stop;
use crate::cli::trace::{Buffering, TraceArgs};
use crate::console::{self, Failure, reason};
use skep_sys::poll::wait_to_write;
use skep_trace::output::Sink;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Bytes that are gathered before they are written whatever the buffering.
const FULL: usize = 64 << 10;

/// What a pipe that can be written to takes without waiting: PIPE_BUF.
const AT_ONCE: usize = 4096;

/// The script's output: one buffer in front of stdout or a file, and messages on stderr.
pub(crate) struct Out<'s> {
    file: File,
    /// Writing may wait for a reader, which must not keep the user from ending the run.
    may_wait: bool,
    stop: &'s Stop,
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

impl<'s> Out<'s> {
    /// Opens what the command line says.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn open(args: &TraceArgs, stop: &'s Stop) -> Result<Out<'s>, Failure> {
        let (file, name) = match &args.output {
            Some(path) => (create(path)?, format!("'{}'", path.display())),
            None => {
                // Not through the standard library's handle, which looks for the ends of lines in everything.
                let fd = std::io::stdout().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|e| Failure::new(format!("standard output: {}", reason(&e))))?;
                (File::from(fd), "standard output".to_owned())
            }
        };
        let may_wait = file.metadata().map_or(true, |meta| !meta.is_file());
        Ok(Out {
            file,
            may_wait,
            stop,
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
            && let Err(e) = self.write()
        {
            self.state = match e.kind() {
                ErrorKind::BrokenPipe => State::Closed,
                _ => State::Failed(format!("cannot write to {}: {}", self.name, reason(&e))),
            };
        }
        self.buffer.clear();
    }

    fn write(&mut self) -> std::io::Result<()> {
        if !self.may_wait {
            return self.file.write_all(&self.buffer);
        }
        for part in self.buffer.chunks(AT_ONCE) {
            loop {
                let waited = wait_to_write(self.file.as_fd(), self.stop.as_fd())
                    .map_err(|e| std::io::Error::from_raw_os_error(e.errno.0))?;
                if waited.other {
                    self.stop.look();
                    if self.stop.is_hurried() {
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                }
                if waited.writable {
                    break;
                }
            }
            self.file.write_all(part)?;
        }
        Ok(())
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

impl Sink for Out<'_> {
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

    fn stop() -> Stop {
        Stop::new(skep_sys::poll::Signals::block(&[]).expect("no signal is always possible"))
    }

    fn out<'s>(path: &str, buffering: Buffering, stop: &'s Stop) -> Out<'s> {
        let args = TraceArgs { output: Some(path.into()), buffering, ..TraceArgs::default() };
        Out::open(&args, stop).expect("the file can be made")
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let stop = stop();
        let mut out = out("/dev/full", Buffering::Full, &stop);
        out.output(b"x\n");
        assert!(!out.is_closed());
        let failure = out.close().expect_err("nothing fits");
        assert_eq!(failure.messages[0].message, "cannot write to '/dev/full': No space left on device");
    }

    #[test]
    fn output_is_kept_and_released() {
        let stop = stop();
        let mut out = out("/dev/null", Buffering::Line, &stop);
        out.capture();
        out.output(b"a");
        out.output(b"b");
        assert_eq!(out.release(), b"ab");
        assert!(out.buffer.is_empty());
        assert!(out.close().is_ok());
    }
}
