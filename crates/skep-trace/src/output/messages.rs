//! Messages of the script, and warnings about what failed while it ran.

use super::errno::strerror;
use super::json;
use super::number;
use crate::plan::RuntimeError;
use skep_ir::diag::{self, Diagnostic, Severity};
use skep_ir::{Loc, SourceMap};
use std::borrow::Cow;

/// `E2BIG`, which updating a full hash yields.
const TOO_BIG: i64 = -7;

const MAP_FULL: &str = "Map full; can't update element. Try increasing max_map_keys config or manually setting \
                        the max entries in a map declaration e.g. `let @a = hash(5000)`";

/// What a warning says.
pub(super) fn warning(what: &RuntimeError, code: i64) -> Cow<'static, str> {
    Cow::Borrowed(match what {
        RuntimeError::DivisionByZero => {
            "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."
        }
        RuntimeError::OutOfBounds => "Array access out of bounds. This can lead to unexpected results.",
        RuntimeError::NoSuchTask => "No task has this pid. N/A is being used as its comm.",
        RuntimeError::Helper("map_update_elem") if code == TOO_BIG => MAP_FULL,
        RuntimeError::Helper("map_lookup_elem") => "Can't lookup map element because it does not exist.",
        RuntimeError::Helper("map_delete_elem") => "Can't delete map element because it does not exist.",
        RuntimeError::Helper(_) => return error_text(code),
    })
}

fn error_text(code: i64) -> Cow<'static, str> {
    match strerror(code.unsigned_abs()) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(format!("Unknown error {}", code.unsigned_abs())),
    }
}

/// A warning as it is printed: like those of the compiler, with the helper and what it returned.
pub(super) fn warning_text(
    what: &RuntimeError,
    code: i64,
    loc: Loc,
    sources: &SourceMap,
    color: bool,
) -> String {
    let mut diagnostic = Diagnostic::warning(loc, warning(what, code));
    if let RuntimeError::Helper(name) = what {
        diagnostic.detail = Some(format!("Additional Info - helper: {name}, retcode: {code}"));
    }
    diagnostic.render(sources, color)
}

/// A warning as an object.
pub(super) fn warning_json(out: &mut Vec<u8>, what: &RuntimeError, code: i64, loc: Loc, sources: &SourceMap) {
    if let RuntimeError::Helper(name) = what {
        out.extend_from_slice(b"{\"type\": \"helper_error\", \"msg\": ");
        json::string(out, error_text(code).as_bytes());
        out.extend_from_slice(b", \"helper\": ");
        json::string(out, name.as_bytes());
        out.extend_from_slice(b", \"retcode\": ");
        number::signed(out, code);
    } else {
        out.extend_from_slice(b"{\"type\": \"runtime_error\", \"msg\": ");
        json::string(out, warning(what, code).as_bytes());
    }
    place_json(out, loc, sources);
}

/// Where something stands, and the end of its object.
fn place_json(out: &mut Vec<u8>, loc: Loc, sources: &SourceMap) {
    let file = sources.file(loc.span.file);
    let (line, column) = file.line_col(loc.span.lo);
    out.extend_from_slice(b", \"filename\": ");
    json::string(out, file.name.as_bytes());
    number::write(out, format_args!(", \"line\": {line}, \"col\": {column}}}\n"));
}

/// A message of the script: its place and text without the source line, then the calls of macros that it is in.
pub(super) fn message_text(
    out: &mut Vec<u8>,
    error: bool,
    text: &[u8],
    loc: Loc,
    sources: &SourceMap,
    color: bool,
) {
    let (severity, label, on) = if error {
        (Severity::Error, "ERROR", "\x1b[31m")
    } else {
        (Severity::Warning, "WARNING", "\x1b[33m")
    };
    let (on, off) = if color { (on, "\x1b[0m") } else { ("", "") };
    number::write(out, format_args!("{on}{}: {label}: {off}", diag::position(sources, loc)));
    out.extend_from_slice(text);
    out.push(b'\n');
    for call in sources.call_chain(loc) {
        // Only this call: those around it follow by themselves.
        let call = Diagnostic::new(severity, Some(Loc::new(call.span)), "expanded from");
        out.extend_from_slice(call.render(sources, color).as_bytes());
    }
}

/// A message of the script as an object.
pub(super) fn message_json(out: &mut Vec<u8>, error: bool, text: &[u8], loc: Loc, sources: &SourceMap) {
    let kind = if error { "errorf" } else { "warnf" };
    number::write(out, format_args!("{{\"type\": \"{kind}\", \"msg\": "));
    json::string(out, text);
    place_json(out, loc, sources);
}
