//! Stages of compilation as text, for people.

use skep_asm::text::{Style, Symbols, print};
use skep_asm::{SymKind, SymRef};
use skep_ir::spec::{Collection, ProgramSpec, RefKind};
use skep_ir::text::{self, Locations};
use skep_ir::{Module, SourceMap};
use std::fmt::Write as _;

/// A stage's text under its name.
pub(crate) fn section(name: &str, text: &str) -> String {
    format!("--- {name}\n{}\n\n", text.trim_end())
}

/// IR.
pub(crate) fn module(module: &Module) -> String {
    text::print(module, Locations::Show)
}

/// Maps and instructions.
pub(crate) fn collection(collection: &Collection) -> String {
    let mut out = String::new();
    for map in collection.maps.values() {
        let map = &map.map;
        let _ = writeln!(
            out,
            "map {}: {:?}, key {} bytes, value {} bytes, {} elements",
            map.name, map.kind, map.key_size, map.value_size, map.max_entries
        );
    }
    for program in &collection.programs {
        let kind = program.kind.map_or("?", |k| k.info().name);
        let _ = writeln!(out, "\nprogram {} ({kind}, {} instructions)", program.name, program.insns.len());
        for attach in &program.attach {
            let _ = writeln!(out, "  at {attach:?}");
        }
        out += &with_lines(&code(program, collection), program, &collection.sources);
    }
    out
}

fn code(program: &ProgramSpec, collection: &Collection) -> String {
    let refs = program.refs.iter().map(|r| SymRef {
        insn: r.insn,
        kind: match r.kind {
            RefKind::Map(map) => SymKind::Map(map.as_u32()),
            RefKind::MapValue(map, offset) => SymKind::MapValue { map: map.as_u32(), offset },
            RefKind::Kfunc(index) => SymKind::Kfunc(index),
            RefKind::Ksym(index) => SymKind::Ksym(index),
        },
    });
    let refs: Vec<SymRef> = refs.collect();
    let symbols = Symbols {
        maps: collection.maps.values().map(|m| m.map.name.clone()).collect(),
        kfuncs: collection.kfuncs.clone(),
        ksyms: collection.ksyms.clone(),
        funcs: Vec::new(),
    };
    print(&program.insns, &Style { numbers: true, refs: &refs, symbols: Some(&symbols), ..Style::default() })
}

/// Puts source lines between the instructions that come from them.
fn with_lines(code: &str, program: &ProgramSpec, sources: &SourceMap) -> String {
    let mut out = String::new();
    let mut locs = program.locs.iter().peekable();
    let mut shown = String::new();
    for line in code.lines() {
        let number = line.trim_start().split(':').next().and_then(|n| n.parse::<u32>().ok());
        let mut at = None;
        while let Some((_, loc)) = locs.next_if(|(insn, _)| number.is_some_and(|n| *insn <= n)) {
            at = Some(loc);
        }
        if let Some(loc) = at {
            let loc = sources.outermost(*loc);
            let file = sources.file(loc.span.file);
            let text = file.line(file.line_col(loc.span.lo).0).trim();
            if text != shown {
                text.clone_into(&mut shown);
                let _ = writeln!(out, "; {shown}");
            }
        }
        let _ = writeln!(out, "{line}");
    }
    out
}
