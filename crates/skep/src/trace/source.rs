//! The text of a script: from the command line, a file or standard input.

use crate::cli::trace::{TraceArgs, no_program};
use crate::console::{Failure, reason};
use skep_trace::syntax::MAX_SOURCE;
use std::fs::File;
use std::io::{Read, Stdin};

/// A script with what was given to it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Name in messages.
    pub(crate) name: String,
    /// Text.
    pub(crate) text: String,
    /// Positional parameters in front of `--`.
    pub(crate) params: Vec<String>,
}

/// Reads the script that the command line names.
///
/// # Errors
/// There is none, it cannot be read, or it is no text.
pub(crate) fn read(args: &TraceArgs) -> Result<Source, Failure> {
    let (name, text, params) = match (&args.program, args.words.split_first()) {
        (Some(program), _) => ("stdin", program.clone(), args.words.as_slice()),
        (None, Some((file, params))) if file == "-" => ("stdin", read_stdin(&std::io::stdin())?, params),
        (None, Some((file, params))) => (file.as_str(), read_file(file)?, params),
        (None, None) => return Err(no_program()),
    };
    if text.is_empty() {
        return Err(no_program());
    }
    Ok(Source { name: name.to_owned(), text, params: params.to_vec() })
}

fn read_stdin(stdin: &Stdin) -> Result<String, Failure> {
    let bytes = limited(stdin.lock());
    let bytes = bytes.map_err(|e| Failure::new(format!("failed to read standard input: {}", reason(&e))))?;
    text("standard input", bytes)
}

/// The text of a file.
///
/// # Errors
/// It cannot be read or is no text.
pub(crate) fn read_file(path: &str) -> Result<String, Failure> {
    let bytes = File::open(path).and_then(limited);
    let bytes = bytes.map_err(|e| Failure::new(format!("failed to open file '{path}': {}", reason(&e))))?;
    text(&format!("file '{path}'"), bytes)
}

/// No more than what is too much, so that files without an end have one.
fn limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_SOURCE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(what: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > MAX_SOURCE {
        let message = format!("{what} is too long for a script: at most {MAX_SOURCE} bytes are read");
        return Err(Failure::new(message));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::new(format!("{what} is no script: byte {at} is not part of UTF-8 text"))
    })
}
