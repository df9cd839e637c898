//! Static probes of programs: `usdt:FILE:[PROVIDER:]NAME`, and the operands that hold their arguments.

use super::{Attacher, Facts, Target, glob, part, user};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Feature, ProgKind};

pub(super) fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let (file, written, name) = match point.parts.len() {
        2 => (part(point, 0), "", part(point, 1)),
        _ => (part(point, 0), part(point, 1), part(point, 2)),
    };
    let provider = if point.parts.len() == 2 { "*" } else { written };
    if name.is_empty() {
        a.error(point.loc, "usdt probe must have a target function or wildcard");
        return Vec::new();
    }
    if file.is_empty() && a.options.pid.is_none() {
        a.error(
            point.loc,
            "usdt probe must specify at least path or pid to probe. To target all paths/pids set the path to '*'.",
        );
        return Vec::new();
    }
    if !a.env.has(Feature::Uprobe) {
        a.refuse(Diagnostic::error(point.loc, "This kernel has no uprobes, which static probes need."));
        return Vec::new();
    }
    let file = if file.is_empty() { "*" } else { file };
    let mut targets = Vec::new();
    for (shown, binary) in user::binaries(a, point, "usdt", file) {
        let notes = binary.usdt().iter();
        let meant = notes.filter(|n| glob::matches(provider, &n.provider) && glob::matches(name, &n.name));
        for (index, note) in meant.enumerate() {
            // A probe may stand in several places; all of them are one probe to the user, whose name is shown
            // once, so later places are told apart here only.
            let place = if index == 0 { String::new() } else { format!("@{:#x}", note.offset) };
            targets.push(Target {
                name: format!("usdt:{shown}:{}:{}{place}", note.provider, note.name),
                provider: Provider::Usdt,
                kind: ProgKind::Kprobe,
                attach: Attach::Uprobe {
                    path: binary.path().to_owned(),
                    offset: note.offset,
                    semaphore: note.semaphore,
                    ret: false,
                    pid: a.options.pid,
                    cookie: 0,
                },
                facts: Facts::Usdt(note.args.clone()),
            });
        }
    }
    if targets.is_empty() && !a.has_failed() && ![file, written, name].into_iter().any(glob::is_pattern) {
        let parts: Vec<&str> = point.parts.iter().map(|p| p.text.as_str()).collect();
        a.missing(point.loc, &format!("usdt {}", parts.join(":")), Vec::new());
    }
    targets
}

/// Where an argument of a static probe is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    /// Bytes: 1, 2, 4 or 8.
    pub(crate) bytes: u8,
    /// Whether it is extended by its sign.
    pub(crate) signed: bool,
    pub(crate) place: Place,
}

/// See [`Operand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A constant.
    Constant(i64),
    /// A register, by name.
    Register(String),
    /// Memory at a register, plus another one times a scale, plus an offset.
    Memory { base: String, index: Option<(String, u8)>, offset: i64 },
}

/// Reads the operands of a note, e.g. `-4@%eax 8@-16(%rbp,%rcx,8) 4@$5` or, on Arm, `-4@[sp, 12] 8@x0`.
/// `None` in the place of an operand that is of no known form, such as one relative to a symbol.
pub(crate) fn operands(text: &str) -> Vec<Option<Operand>> {
    split(text).into_iter().map(operand).collect()
}

/// Operands are parted by blanks, which brackets may contain.
fn split(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut depth, mut start) = (0usize, None);
    for (i, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c.is_whitespace() && depth == 0, start) {
            (false, None) => start = Some(i),
            (true, Some(from)) => {
                out.push(&text[from..i]);
                start = None;
            }
            _ => {}
        }
    }
    out.extend(start.map(|from| &text[from..]));
    out
}

fn operand(text: &str) -> Option<Operand> {
    // Old assemblers left the size out; then it is that of a register.
    let (size, place) = text.split_once('@').unwrap_or(("8", text));
    // Sizes of floating point arguments end in `f`.
    let size: i32 = size.parse().ok()?;
    let bytes = match size.unsigned_abs() {
        n @ (1 | 2 | 4 | 8) => n as u8,
        _ => return None,
    };
    Some(Operand { bytes, signed: size < 0, place: place_of(place)? })
}

fn number(text: &str) -> Option<i64> {
    super::number::integer(text.trim())
        .ok()
        .and_then(|n| i64::try_from(n).ok().or(u64::try_from(n).ok().map(|n| n as i64)))
}

fn place_of(text: &str) -> Option<Place> {
    if let Some(constant) = text.strip_prefix('$') {
        return number(constant).map(Place::Constant);
    }
    if let Some(inside) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let (base, offset) = match inside.split_once(',') {
            Some((base, offset)) => (base, number(offset)?),
            None => (inside, 0),
        };
        return Some(Place::Memory { base: base.trim().to_owned(), index: None, offset });
    }
    if let Some(inside) = text.strip_suffix(')') {
        let (offset, registers) = inside.split_once('(')?;
        let offset = if offset.is_empty() { 0 } else { number(offset)? };
        let mut parts = registers.split(',').map(str::trim);
        let base = register(parts.next()?)?;
        // The address of what is relative to the instruction pointer depends on where the file is mapped.
        if base == "rip" || base == "eip" {
            return None;
        }
        let index = match parts.next() {
            Some(index) => {
                let scale = parts.next().map_or(Some(1), |s| s.parse().ok())?;
                Some((register(index)?, scale))
            }
            None => None,
        };
        return Some(Place::Memory { base, index, offset });
    }
    if let Some(register) = register(text) {
        return Some(Place::Register(register));
    }
    match number(text) {
        Some(n) => Some(Place::Constant(n)),
        None if text.starts_with(|c: char| c.is_ascii_alphabetic()) => Some(Place::Register(text.to_owned())),
        None => None,
    }
}

fn register(text: &str) -> Option<String> {
    Some(text.strip_prefix('%')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_of_both_architectures() {
        let parsed =
            operands("-4@%eax 8@-16(%rbp) 8@(%rax,%rcx,8) 4@$-5 8@x0 -4@[sp, 12] 8@sym+4(%rip) 4f@%xmm0");
        let place = |i: usize| parsed[i].as_ref().map(|o| (o.bytes, o.signed, o.place.clone()));
        let register = |r: &str| Place::Register(r.into());
        assert_eq!(place(0), Some((4, true, register("eax"))));
        let memory = |base: &str, index: Option<(&str, u8)>, offset| Place::Memory {
            base: base.into(),
            index: index.map(|(r, s)| (r.to_owned(), s)),
            offset,
        };
        assert_eq!(place(1), Some((8, false, memory("rbp", None, -16))));
        assert_eq!(place(2), Some((8, false, memory("rax", Some(("rcx", 8)), 0))));
        assert_eq!(place(3), Some((4, false, Place::Constant(-5))));
        assert_eq!(place(4), Some((8, false, register("x0"))));
        assert_eq!(place(5), Some((4, true, memory("sp", None, 12))));
        assert_eq!(place(6), None);
        assert_eq!(place(7), None);
    }
}
