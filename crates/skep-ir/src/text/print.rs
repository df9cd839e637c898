//! Modules and functions as text: printing.

use super::attach;
use super::inst::{InstPrinter, Numbering};
use super::names::{is_word, map_word, quoted, section_word, symbol};
use super::symbols::Names;
use super::types::TypePrinter;
use crate::func::{Block, Func, Inst, Linkage, Storage};
use crate::module::{Global, Map, Module, Prog, Set};
use crate::source::{Loc, SourceMap};
use std::fmt::Write as _;

/// Whether instructions show where they come from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Locations {
    /// No.
    Hide,
    /// As comments, `; file:line:column`, where it differs from the line above.
    Show,
}

/// Column where locations begin.
const COMMENT: usize = 56;

/// A module as text.
#[must_use]
pub fn print(module: &Module, locations: Locations) -> String {
    let names = Names::of(module);
    let mut types = TypePrinter::new(&module.types);
    let mut body = String::new();
    for (id, map) in &module.maps {
        map_line(&mut body, map, &names.map(id), &names, &mut types);
    }
    for (id, global) in &module.globals {
        global_line(&mut body, global, &names.global(id), &mut types);
    }
    for (id, set) in &module.sets {
        let _ = writeln!(body, "set {}: {}", names.set(id), set_text(set));
    }
    if let Some(map) = module.ledger {
        let _ = writeln!(body, "ledger {}", names.map(map));
    }
    for (id, func) in &module.funcs {
        if !body.is_empty() {
            body.push('\n');
        }
        let sources = (locations == Locations::Show).then_some(&module.sources);
        func_text(&mut body, func, &names.func(id), &names, &mut types, sources);
    }
    for prog in &module.progs {
        prog_line(&mut body, prog, &names);
    }
    let mut out = String::new();
    if !module.license.is_empty() {
        let _ = writeln!(out, "license {}", quoted(module.license.as_bytes()));
    }
    out + &types.declarations() + &body
}

/// One function of a module as text; types are referred to and not declared.
#[must_use]
pub fn print_func(module: &Module, func: &Func, locations: Locations) -> String {
    let mut out = String::new();
    let names = Names::of(module);
    let sources = (locations == Locations::Show).then_some(&module.sources);
    let name = symbol('@', &func.name);
    func_text(&mut out, func, &name, &names, &mut TypePrinter::new(&module.types), sources);
    out
}

/// One instruction as it stands in the text of its function.
pub(crate) fn inst_text(module: &Module, func: &Func, inst: Inst) -> String {
    let names = Names::of(module);
    let numbers = Numbering::of(func);
    let mut types = TypePrinter::new(&module.types);
    let mut printer = InstPrinter { names: &names, types: &mut types, numbers: &numbers };
    inst_line(&mut printer, func, inst)
}

/// The number of a block in the text of its function.
pub(crate) fn block_text(func: &Func, block: Block) -> String {
    Numbering::of(func).block(block)
}

/// ` "name"` where a symbol does not say the name.
fn alias(symbol_text: &str, name: &str) -> String {
    if symbol_text == symbol('@', name) || symbol_text == symbol('$', name) {
        String::new()
    } else {
        format!(" {}", quoted(name.as_bytes()))
    }
}

fn map_line(out: &mut String, map: &Map, sym: &str, names: &Names, types: &mut TypePrinter<'_>) {
    let _ = write!(out, "map {sym}{}: {}", alias(sym, &map.name), map_word(map.kind));
    let mut part = |word: &str, size: u32, ty| {
        let ty = match ty {
            Some(ty) => format!(" {}", types.memory(ty)),
            None => String::new(),
        };
        let _ = write!(out, " {word} {size}{ty}");
    };
    part("key", map.key_size, map.key);
    part("value", map.value_size, map.value);
    let _ = write!(out, " entries {}", map.max_entries);
    if map.flags != 0 {
        let _ = write!(out, " flags {:#x}", map.flags);
    }
    if let Some(inner) = map.inner {
        let _ = write!(out, " inner {}", names.map(inner));
    }
    if let Some(pin) = &map.pin {
        let _ = write!(out, " pin {}", quoted(pin.as_bytes()));
    }
    if !map.contents.is_empty() {
        let pairs: Vec<String> =
            map.contents.iter().map(|(k, v)| format!("{} = {}", quoted(k), quoted(v))).collect();
        let _ = write!(out, " contents [{}]", pairs.join(", "));
    }
    out.push('\n');
}

fn global_line(out: &mut String, global: &Global, sym: &str, types: &mut TypePrinter<'_>) {
    let Global { name, section, ty, size, align, init } = global;
    let ty = types.memory(*ty);
    let _ = write!(
        out,
        "var {sym}{}: {} {ty} size {size} align {align}",
        alias(sym, name),
        section_word(*section)
    );
    if !init.is_empty() {
        let _ = write!(out, " = {}", quoted(init));
    }
    out.push('\n');
}

fn set_text(set: &Set) -> String {
    match set {
        Set::Ints(list) => {
            format!("ints [{}]", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Set::Strings(list) => {
            format!("strings [{}]", list.iter().map(|s| quoted(s)).collect::<Vec<_>>().join(", "))
        }
        Set::Prefixes { bytes, list } => {
            let list: Vec<String> = list.iter().map(|(b, n)| format!("{}/{n}", quoted(b))).collect();
            format!("prefixes {bytes} [{}]", list.join(", "))
        }
    }
}

fn prog_line(out: &mut String, prog: &Prog, names: &Names) {
    let Prog { name, func, kind, attach, sleepable } = prog;
    let (name, func) = (quoted(name.as_bytes()), names.func(*func));
    let _ = write!(out, "\nprog {name}: {} {func}", kind.info().name);
    if *sleepable {
        out.push_str(" sleepable");
    }
    for place in attach {
        let _ = write!(out, "\n  attach {}", attach::print(place));
    }
    out.push('\n');
}

pub(super) const LINKAGES: [(&str, Linkage); 5] = [
    ("entry", Linkage::Entry),
    ("inline", Linkage::Inline),
    ("static", Linkage::Static),
    ("global", Linkage::Global),
    ("closure", Linkage::Closure),
];

pub(super) const STORAGES: [(&str, Storage); 2] = [("stack", Storage::Stack), ("scratch", Storage::Scratch)];

fn func_text(
    out: &mut String,
    func: &Func,
    sym: &str,
    names: &Names,
    types: &mut TypePrinter<'_>,
    sources: Option<&SourceMap>,
) {
    let numbers = Numbering::of(func);
    let linkage = LINKAGES.iter().find(|(_, l)| *l == func.linkage).map_or("static", |(w, _)| w);
    let mut head = format!("{linkage} fn {sym}{}(", alias(sym, &func.name));
    let entry_params = func.layout.first().map_or(&[][..], |&b| &func.blocks[b].params);
    for (i, &param) in entry_params.iter().enumerate() {
        let name = func.param_names.get(i).map_or("", String::as_str);
        let name = match name {
            "" => String::new(),
            name if is_word(name) => format!(" {name}"),
            name => format!(" {}", quoted(name.as_bytes())),
        };
        let comma = if i == 0 { "" } else { ", " };
        let ty = types.value(func.ty(param), names);
        let _ = write!(head, "{comma}{}{name}: {ty}", numbers.value(param));
    }
    head.push(')');
    if let Some(ret) = func.ret {
        let _ = write!(head, " -> {}", types.value(ret, names));
    }
    if !func.captures.is_empty() {
        let list: Vec<String> = func.captures.iter().map(|&t| types.value(t, names)).collect();
        let _ = write!(head, " captures [{}]", list.join(", "));
    }
    head.push_str(" {");
    let mut last_place = None;
    line(out, &head, func.loc, sources, &mut last_place);
    for (id, slot) in &func.slots {
        let sym = numbers.slot(id);
        let _ = write!(out, "  slot {sym}{}: {} align {}", alias(&sym, &slot.name), slot.size, slot.align);
        if let Some((word, _)) = STORAGES.iter().find(|(_, s)| *s == slot.storage) {
            let _ = write!(out, " {word}");
        }
        if let Some(ty) = slot.ty {
            let _ = write!(out, " type {}", types.memory(ty));
        }
        out.push('\n');
    }
    for (place, &block) in func.layout.iter().enumerate() {
        let data = &func.blocks[block];
        let mut label = numbers.block(block);
        // The parameters of the first block are those of the function.
        if place > 0 && !data.params.is_empty() {
            let list: Vec<String> = data
                .params
                .iter()
                .map(|&p| format!("{}: {}", numbers.value(p), types.value(func.ty(p), names)))
                .collect();
            let _ = write!(label, "({})", list.join(", "));
        }
        if let Some(head) = data.loop_head {
            label.push_str(" loop");
            if let Some(bound) = head.bound {
                let _ = write!(label, " {bound}");
            }
        }
        if data.cold {
            label.push_str(" cold");
        }
        let _ = writeln!(out, "{label}:");
        for &inst in &data.insts {
            let mut printer = InstPrinter { names, types, numbers: &numbers };
            let text = format!("  {}", inst_line(&mut printer, func, inst));
            line(out, &text, func.insts[inst].loc, sources, &mut last_place);
        }
    }
    out.push_str("}\n");
}

fn inst_line(printer: &mut InstPrinter<'_, '_>, func: &Func, inst: Inst) -> String {
    let data = &func.insts[inst];
    let text = printer.kind(&data.kind);
    match data.result.expand() {
        None => text,
        Some(v) => {
            let ty = printer.types.value(func.ty(v), printer.names);
            format!("{}: {ty} = {text}", printer.numbers.value(v))
        }
    }
}

fn line(
    out: &mut String,
    text: &str,
    loc: Option<Loc>,
    sources: Option<&SourceMap>,
    last: &mut Option<(String, u32, u32)>,
) {
    out.push_str(text);
    if let (Some(sources), Some(loc)) = (sources, loc) {
        let file = sources.file(loc.span.file);
        let (row, column) = file.line_col(loc.span.lo);
        let place = Some((file.name.clone(), row, column));
        if *last != place {
            let gap = COMMENT.saturating_sub(text.chars().count()).max(1);
            let _ = write!(out, "{:gap$}; {}:{row}:{column}", "", file.name);
            *last = place;
        }
    }
    out.push('\n');
}
