//! Kernel symbols by name, and which functions can be probed.

use skep_sys::fs::TraceFs;
use skep_sys::proc::{find_symbols, visit_symbols};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

/// Stretches of the kernel's text where probes are forbidden or the code is gone after boot, by the symbols
/// that enclose them (include/asm-generic/sections.h; kernel/kprobes.c, `populate_kprobe_blacklist`).
const FORBIDDEN: [(&str, &str); 4] = [
    ("_sinittext", "_einittext"),
    ("__noinstr_text_start", "__noinstr_text_end"),
    ("__entry_text_start", "__entry_text_end"),
    ("__kprobes_text_start", "__kprobes_text_end"),
];

/// The address of a kernel symbol, of the kernel itself rather than of a module; 0 if the kernel hides it.
pub(super) fn symbol(name: &str) -> Option<u64> {
    let (mut found, _) = find_symbols(&[name]).ok()?;
    let found = found.pop()?;
    found.iter().find(|s| s.module.is_none()).or(found.first()).map(|s| s.addr)
}

/// Names of functions that can be probed with their module, sorted: from a given file, or the kernel's own list,
/// or, where that cannot be read, all functions without those that are known to be out of bounds.
pub(super) fn probeable(file: Option<&Path>, tracefs: Option<&TraceFs>) -> Vec<(String, String)> {
    let text = match file {
        Some(file) => std::fs::read(file).ok(),
        None => tracefs.and_then(|fs| fs.read(Path::new("available_filter_functions")).ok()),
    };
    let mut functions = match text {
        Some(text) => listed(&String::from_utf8_lossy(&text)),
        None => from_symbols(&blacklist()),
    };
    functions.sort_unstable();
    functions.dedup();
    functions
}

/// Reads lines of the form `name` or `name [module]`.
fn listed(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
        let module = rest.trim().strip_prefix('[').and_then(|m| m.strip_suffix(']')).unwrap_or("");
        // Places that ftrace knows but that belong to no function (kernel/trace/ftrace.c,
        // FTRACE_INVALID_FUNCTION).
        let usable = !name.is_empty() && !name.starts_with("__ftrace_invalid_address__");
        usable.then(|| (name.to_owned(), module.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Functions that kprobes refuse, as far as the kernel tells.
fn blacklist() -> HashSet<String> {
    let text = std::fs::read("/sys/kernel/debug/kprobes/blacklist").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| Some(line.split_once('\t')?.1.trim().to_owned())).collect()
}

fn from_symbols(blacklist: &HashSet<String>) -> Vec<(String, String)> {
    let mut bounds: HashMap<&str, u64> = HashMap::new();
    let mut found: Vec<(String, String, u64)> = Vec::new();
    let visited = visit_symbols(|s| {
        if s.module.is_none()
            && let Some(name) = FORBIDDEN.iter().flat_map(|(a, b)| [a, b]).find(|n| **n == s.name)
        {
            bounds.insert(name, s.addr);
        }
        if s.is_function() && is_function_name(s.name) && s.module.is_none_or(is_module) {
            found.push((s.name.to_owned(), s.module.unwrap_or("").to_owned(), s.addr));
        }
        ControlFlow::Continue(())
    });
    if visited.is_err() {
        return Vec::new();
    }
    let stretches: Vec<(u64, u64)> =
        FORBIDDEN.iter().filter_map(|(a, b)| Some((*bounds.get(a)?, *bounds.get(b)?))).collect();
    found.retain(|(name, module, at)| {
        let inside = module.is_empty() && stretches.iter().any(|(from, to)| from <= at && at < to);
        !inside && !blacklist.contains(name)
    });
    found.into_iter().map(|(name, module, _)| (name, module)).collect()
}

/// Neither padding before functions nor the cold half of one.
fn is_function_name(name: &str) -> bool {
    let part = name.starts_with("__pfx_") || name.starts_with("__cfi_") || name.starts_with('.');
    !part && !name.ends_with(".cold") && !name.contains(".cold.")
}

/// kallsyms puts what is not of a module between brackets as well: `bpf`, `__builtin__kprobes`.
fn is_module(name: &str) -> bool {
    name != "bpf" && !name.starts_with("__builtin__")
}
