//! `/proc/kallsyms`: names and addresses of the kernel's symbols.
//!
//! The file has over a hundred thousand lines, which the kernel prints anew for each reader (60 ms and more), so
//! everything here goes through it once.

use crate::error::{Result, SysError};
use std::collections::HashMap;
use std::io::Read;
use std::ops::ControlFlow;

const PATH: &str = "/proc/kallsyms";
/// Lines are at most KSYM_NAME_LEN (512) + MODULE_NAME_LEN (64) and a few bytes; longer ones are no symbols.
const LINE_MAX: usize = 64 << 10;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Address; 0 if hidden (or absolute zero).
    pub addr: u64,
    /// Kind as nm(1) prints it: `T` and `t` for functions; small letters for symbols of one file.
    pub kind: u8,
    /// Name.
    pub name: &'a str,
    /// Module, or `bpf`, `__builtin__ftrace` and the like; `None` for the kernel itself.
    pub module: Option<&'a str>,
}

impl Symbol<'_> {
    /// Whether it is in a text section.
    pub fn is_function(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

/// Reads one line, without its newline: `ffffffff81000000 T _stext` or, in a module, `… t name\t[module]`.
pub fn parse_symbol(line: &[u8]) -> Option<Symbol<'_>> {
    let space = line.iter().position(|b| *b == b' ')?;
    let digits = &line[..space];
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut addr = 0u64;
    for digit in digits {
        addr = addr << 4 | u64::from(char::from(*digit).to_digit(16)?);
    }
    let (&kind, rest) = line[space + 1..].split_first()?;
    let rest = std::str::from_utf8(rest.strip_prefix(b" ")?).ok()?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.trim_end().strip_prefix('[')?.strip_suffix(']')?)),
        None => (rest, None),
    };
    (!name.is_empty()).then_some(Symbol { addr, kind, name, module })
}

/// What a pass through the symbols went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Visited {
    /// Symbols seen.
    pub symbols: usize,
    /// Whether all their addresses were 0: kptr_restrict hides them from this process.
    pub hidden: bool,
}

/// Hands every symbol of the running kernel to `visit`, until that breaks.
pub fn visit_symbols(visit: impl FnMut(Symbol<'_>) -> ControlFlow<()>) -> Result<Visited> {
    let file = std::fs::File::open(PATH).map_err(|e| SysError::io("open", &e).about(PATH))?;
    visit_symbols_in(file, visit).map_err(|e| SysError::io("read", &e).about(PATH))
}

/// Hands every symbol of a text in this format to `visit`, until that breaks. Lines of other forms are left
/// out.
pub fn visit_symbols_in(
    mut from: impl Read,
    mut visit: impl FnMut(Symbol<'_>) -> ControlFlow<()>,
) -> std::io::Result<Visited> {
    let mut visited = Visited::default();
    let mut any_address = false;
    let mut line = |line: &[u8]| match parse_symbol(line) {
        Some(symbol) => {
            visited.symbols += 1;
            any_address |= symbol.addr != 0;
            visit(symbol)
        }
        None => ControlFlow::Continue(()),
    };
    let mut buffer = vec![0; LINE_MAX];
    let mut filled = 0;
    // The rest of a line that was longer than the buffer is skipped.
    let mut skipping = false;
    'all: loop {
        let n = match from.read(&mut buffer[filled..]) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if n == 0 {
            if !skipping && filled > 0 {
                let _ = line(&buffer[..filled]);
            }
            break;
        }
        // Only what is new can hold the end of the line that is there already.
        let mut look_from = filled;
        filled += n;
        let mut start = 0;
        while let Some(end) = buffer[look_from..filled].iter().position(|b| *b == b'\n') {
            let end = look_from + end;
            if !std::mem::take(&mut skipping) && line(&buffer[start..end]).is_break() {
                break 'all;
            }
            start = end + 1;
            look_from = start;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            skipping = true;
            filled = 0;
        }
    }
    visited.hidden = visited.symbols > 0 && !any_address;
    Ok(visited)
}

/// One symbol found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Address; 0 if hidden.
    pub addr: u64,
    /// Kind as nm(1) prints it.
    pub kind: u8,
    /// Module; `None` for the kernel itself.
    pub module: Option<String>,
}

/// Looks up many names in one pass. The answer has an entry for each name, in their order, with every symbol of
/// that name: functions of one file may share theirs.
pub fn find_symbols(names: &[&str]) -> Result<(Vec<Vec<Found>>, Visited)> {
    let mut found = vec![Vec::new(); names.len()];
    // The same name may be asked for twice.
    let mut wanted: HashMap<&str, Vec<usize>> = HashMap::with_capacity(names.len());
    // Most symbols fall through this: a bit for each length modulo 64, for each first byte modulo 64.
    let (mut lengths, mut firsts) = (0u64, 0u64);
    for (i, name) in names.iter().enumerate() {
        wanted.entry(name).or_default().push(i);
        lengths |= 1 << (name.len() % 64);
        firsts |= 1 << (name.bytes().next().unwrap_or(0) % 64);
    }
    let visited = visit_symbols(|symbol| {
        let name = symbol.name;
        let maybe = lengths >> (name.len() % 64) & firsts >> (name.as_bytes()[0] % 64) & 1;
        if maybe == 1
            && let Some(indexes) = wanted.get(name)
        {
            for i in indexes {
                let module = symbol.module.map(str::to_owned);
                found[*i].push(Found { addr: symbol.addr, kind: symbol.kind, module });
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok((found, visited))
}
