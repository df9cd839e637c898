//! Functions of programs and libraries: `uprobe` and `uretprobe`.

use super::number::integer;
use super::{Attacher, Facts, Target, glob, part, suggest};
use crate::env::{BinaryError, UserBinary, UserSymbol};
use crate::hir::Provider;
use crate::sema::diags::Stage;
use crate::syntax::ast::AttachPoint;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Feature, ProgKind};
use std::sync::Arc;

pub(super) fn uprobe(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    resolve(a, point, false)
}

pub(super) fn uretprobe(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    resolve(a, point, true)
}

/// Where in a file a probe goes, as written.
enum Place<'a> {
    Function { pattern: &'a str, offset: u64, demangled: bool },
    Address(u64),
    Line { file: &'a str, line: u32, column: Option<u32> },
}

fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint, ret: bool) -> Vec<Target> {
    let name = if ret { "uretprobe" } else { "uprobe" };
    if !a.env.has(Feature::Uprobe) {
        let note = Diagnostic::error(point.loc, format!("This kernel has no {name}s."));
        a.refuse(note.hint(format!("They exist since kernel {}.", Feature::Uprobe.since())));
        return Vec::new();
    }
    let Some((file, place)) = place(a, point, ret) else { return Vec::new() };
    let binaries = binaries(a, point, name, file);
    let mut targets = Vec::new();
    for (shown, binary) in binaries {
        match &place {
            Place::Function { pattern, offset, demangled } => {
                functions(a, point, ret, &shown, &binary, pattern, *offset, *demangled, &mut targets);
            }
            Place::Address(address) => targets.extend(at_address(a, point, ret, &shown, &binary, *address)),
            Place::Line { file, line, column } => {
                at_line(a, point, &shown, &binary, file, *line, *column, &mut targets);
            }
        }
    }
    let literal = match &place {
        Place::Function { pattern, .. } => !glob::is_pattern(pattern) && !glob::is_pattern(file),
        _ => false,
    };
    if targets.is_empty() && literal && !a.failed {
        missing_function(a, point, name);
    }
    targets
}

fn place<'p>(a: &mut Attacher<'_, '_>, point: &'p AttachPoint, ret: bool) -> Option<(&'p str, Place<'p>)> {
    let file = part(point, 0);
    if file.is_empty() {
        a.error(
            point.loc,
            format!("{} should be attached to a function", if ret { "uretprobe" } else { "uprobe" }),
        );
        return None;
    }
    if let Some((file, source)) = file.split_once('@') {
        return Some((file, by_line(a, point, ret, source)?));
    }
    let (text, demangled) = match point.parts.len() {
        2 => (part(point, 1), false),
        _ if part(point, 1) == "cpp" => (part(point, 2), true),
        _ => {
            let language = part(point, 1);
            a.error(point.loc, format!("{language} is not a language whose names are known; only cpp is"));
            return None;
        }
    };
    if text.is_empty() {
        a.error(point.loc, "uprobe probe must have a target function or wildcard");
        return None;
    }
    let quoted = point.parts.last().is_some_and(|p| p.quoted);
    if !quoted && text.starts_with(|c: char| c.is_ascii_digit()) {
        if ret {
            a.error(point.loc, "uretprobes can not be attached to an address");
            return None;
        }
        return match integer(text).map(u64::try_from) {
            Ok(Ok(address)) => Some((file, Place::Address(address))),
            Ok(Err(_)) => None,
            Err(e) => {
                a.error(point.loc, format!("Invalid function/address argument: {e}"));
                None
            }
        };
    }
    // A demangled name such as `operator+` has a plus of its own.
    let split = if demangled { None } else { text.rsplit_once('+') };
    let Some((function, offset)) = split else {
        return Some((file, Place::Function { pattern: text, offset: 0, demangled }));
    };
    if ret {
        a.error(point.loc, "Offset not allowed");
        return None;
    }
    if function.contains('+') {
        a.error(point.loc, "Cannot take more than one offset");
        return None;
    }
    match integer(offset).map(u64::try_from) {
        Ok(Ok(offset)) => Some((file, Place::Function { pattern: function, offset, demangled })),
        Ok(Err(_)) => {
            a.error(point.loc, "Invalid offset: it must not be negative");
            None
        }
        Err(e) => {
            a.error(point.loc, format!("Invalid offset: {e}"));
            None
        }
    }
}

fn by_line<'p>(
    a: &mut Attacher<'_, '_>,
    point: &'p AttachPoint,
    ret: bool,
    source: &'p str,
) -> Option<Place<'p>> {
    let number = |text: &str| integer(text).ok().and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
    let column = match point.parts.len() {
        3 => Some(number(part(point, 2))),
        _ => None,
    };
    match (number(part(point, 1)), column) {
        _ if ret => {
            a.error(point.loc, "Source code location not allowed");
            None
        }
        _ if glob::is_pattern(source) => {
            a.error(point.loc, "Cannot use wildcards with source code location");
            None
        }
        (Some(line), None) => Some(Place::Line { file: source, line, column: None }),
        (Some(line), Some(Some(column))) => Some(Place::Line { file: source, line, column: Some(column) }),
        _ => {
            a.error(point.loc, "expected format: uprobe:TARGET@FILE:LINE[:COL]");
            None
        }
    }
}

/// Files that the first part of an attach point names, with the name that probes show.
pub(super) fn binaries(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    provider: &str,
    file: &str,
) -> Vec<(String, Arc<dyn UserBinary>)> {
    let pid = a.options.pid;
    let paths = a.env.find_binary(file, pid);
    let not_there = |shown: &str| {
        Diagnostic::error(
            point.loc,
            format!("{provider} target file '{shown}' does not exist or is not executable"),
        )
    };
    if paths.is_empty() {
        a.refuse(not_there(file));
        return Vec::new();
    }
    let pattern = glob::is_pattern(file);
    let paths = if !pattern && paths.len() > 1 {
        let message = format!(
            "attaching to {provider} target file '{}' but matched {} binaries",
            paths[0],
            paths.len()
        );
        a.diags.warn(Stage::Attach, point.loc, message);
        &paths[..1]
    } else {
        &paths[..]
    };
    let mut out = Vec::new();
    for path in paths {
        match a.env.binary(path, pid) {
            Ok(binary) => {
                // Scripts print the path that they gave.
                let shown = if file.contains('/') && !pattern { file.to_owned() } else { path.clone() };
                out.push((shown, binary));
            }
            // A wildcard may well match files that are no programs.
            Err(_) if pattern => {}
            Err(BinaryError::Missing) => a.refuse(not_there(file)),
            Err(BinaryError::NotElf(what)) => {
                let note = not_there(file).hint(format!("It is {what}, not an ELF file for this machine."));
                a.refuse(note);
            }
            Err(BinaryError::Io(why)) => {
                a.refuse(Diagnostic::error(
                    point.loc,
                    format!("{provider} target file '{path}' cannot be read: {why}"),
                ));
            }
        }
    }
    out
}

fn target(
    a: &Attacher<'_, '_>,
    name: String,
    ret: bool,
    binary: &Arc<dyn UserBinary>,
    offset: u64,
    function: String,
) -> Target {
    Target {
        name,
        provider: if ret { Provider::Uretprobe } else { Provider::Uprobe },
        kind: ProgKind::Kprobe,
        attach: Attach::Uprobe {
            path: binary.path().to_owned(),
            offset,
            semaphore: 0,
            ret,
            pid: a.options.pid,
            cookie: 0,
        },
        facts: Facts::User { binary: binary.clone(), function },
    }
}

/// Whether a symbol is meant by a name or pattern.
fn is_meant(symbol: &UserSymbol, pattern: &str, demangled: bool) -> bool {
    if !demangled && glob::matches(pattern, &symbol.name) {
        return true;
    }
    symbol.demangled.as_deref().is_some_and(|name| {
        // `f` means `f(int)` as well; a pattern or a name with parameters means the whole.
        glob::matches(pattern, name)
            || name.split_once('(').is_some_and(|(bare, _)| glob::matches(pattern, bare))
    }) || demangled && symbol.demangled.is_none() && glob::matches(pattern, &symbol.name)
}

#[allow(clippy::too_many_arguments, reason = "the parts of one attach point")]
fn functions(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    ret: bool,
    shown: &str,
    binary: &Arc<dyn UserBinary>,
    pattern: &str,
    offset: u64,
    demangled: bool,
    targets: &mut Vec<Target>,
) {
    let provider = if ret { "uretprobe" } else { "uprobe" };
    let literal = !glob::is_pattern(pattern) && !demangled;
    let exact = if literal { binary.function(pattern) } else { None };
    let meant: Vec<&UserSymbol> = match &exact {
        Some(symbol) => vec![symbol],
        None => binary.functions().iter().filter(|s| is_meant(s, pattern, demangled)).collect(),
    };
    for symbol in meant {
        if offset != 0 && !within(a, point, shown, binary, symbol, offset) {
            return;
        }
        let plus = if offset == 0 { String::new() } else { format!("+{offset}") };
        let language = if demangled { "cpp:" } else { "" };
        let name = format!("{provider}:{shown}:{language}{}{plus}", symbol.name);
        let at = symbol.offset.saturating_add(offset);
        targets.push(target(a, name, ret, binary, at, symbol.name.clone()));
    }
}

/// Whether an offset into a function is a sound place for a probe.
fn within(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    shown: &str,
    binary: &Arc<dyn UserBinary>,
    symbol: &UserSymbol,
    offset: u64,
) -> bool {
    if symbol.size != 0 && offset >= symbol.size && !a.options.unsafe_allowed {
        let message =
            format!("Offset outside the function bounds ('{}' size is {})", symbol.name, symbol.size);
        a.refuse(Diagnostic::error(point.loc, message));
        return false;
    }
    let place = format!("{shown}:{}+{offset}", symbol.name);
    boundary(a, point, binary, symbol.address.saturating_add(offset), &place)
}

/// Whether an instruction begins at an address; a probe in its middle would change the program's code.
fn boundary(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    binary: &Arc<dyn UserBinary>,
    address: u64,
    place: &str,
) -> bool {
    let message = match binary.is_instruction_start(address) {
        _ if a.options.unsafe_allowed => return true,
        Some(true) => return true,
        Some(false) => format!("Could not add uprobe into middle of instruction: {place}"),
        None => {
            let why = if binary.is_stripped() { " (binary appears stripped)" } else { "" };
            format!("Could not determine instruction boundary for uprobe:{place}{why}.")
        }
    };
    let note = Diagnostic::error(point.loc, message).hint(
        "Use --unsafe to force attachment. WARNING: This option could lead to data corruption in the target process.",
    );
    a.refuse(note);
    false
}

fn at_address(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    ret: bool,
    shown: &str,
    binary: &Arc<dyn UserBinary>,
    given: u64,
) -> Option<Target> {
    // The number is an offset into the file as the kernel wants it; tools show addresses, which are the same
    // for programs linked at 0.
    let Some(address) = binary.address_of(given) else {
        let message = format!("Could not resolve address: {shown}:{given:#x}");
        a.refuse(Diagnostic::error(point.loc, message));
        return None;
    };
    if !boundary(a, point, binary, address, &format!("{shown}:{given}")) {
        return None;
    }
    Some(target(a, format!("uprobe:{shown}:{given}"), ret, binary, given, String::new()))
}

#[allow(clippy::too_many_arguments, reason = "the parts of one attach point")]
fn at_line(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    shown: &str,
    binary: &Arc<dyn UserBinary>,
    file: &str,
    line: u32,
    column: Option<u32>,
    targets: &mut Vec<Target>,
) {
    let Some(addresses) = binary.line_addresses(file, line, column) else {
        let message =
            format!("No DWARF debug info found for '{shown}', cannot attach by source code location.");
        a.refuse(Diagnostic::error(point.loc, message));
        return;
    };
    for address in addresses {
        let Some(offset) = binary.file_offset(address) else { continue };
        let place = column.map_or_else(|| format!("{file}:{line}"), |c| format!("{file}:{line}:{c}"));
        targets.push(target(a, format!("uprobe:{shown}@{place}"), false, binary, offset, String::new()));
    }
    if targets.is_empty() {
        a.missing(point.loc, &format!("uprobe {shown}@{file}:{line}"), Vec::new());
    }
}

fn missing_function(a: &mut Attacher<'_, '_>, point: &AttachPoint, name: &str) {
    let file = part(point, 0);
    let parts: Vec<&str> = point.parts.iter().map(|p| p.text.as_str()).collect();
    let wanted = parts.last().copied().unwrap_or("");
    let mut lines = Vec::new();
    for path in a.env.find_binary(file, a.options.pid).iter().take(1) {
        let Ok(binary) = a.env.binary(path, a.options.pid) else { continue };
        if let Some(near) = suggest::nearest(wanted, binary.functions().iter().map(|s| s.name.as_str())) {
            lines.push(format!("Did you mean {name}:{file}:{near}?"));
        } else if binary.is_stripped() {
            lines.push(format!("{path} has no symbol table; only functions that it exports can be found."));
        }
    }
    a.missing(point.loc, &format!("{name} {}", parts.join(":")), lines);
}
