//! Collections from text: programs in the notation of the verifier's log, whose lines are their own source.

use skep_asm::SymKind;
use skep_ir::ProgKind;
use skep_ir::module::{Map, MapId, MapKind};
use skep_ir::source::{FileId, Loc, Span};
use skep_ir::spec::{Attach, Collection, MapSpec, ProgramSpec, Ref, RefKind, When};

/// A collection of one program, `prog`, and an array map of one element of 8 bytes for each map that it names
/// (a hash, if the name begins with `h`; a ring, if with `ring`).
pub(crate) fn collection(kind: &str, attach: &[&str], text: &str) -> Result<Collection, String> {
    let mut collection = Collection { license: "GPL".into(), ..Collection::default() };
    add_program(&mut collection, "prog", kind, attach, text)?;
    Ok(collection)
}

/// Adds a program to a collection; maps of one name are one map.
pub(crate) fn add_program(
    collection: &mut Collection,
    name: &str,
    kind: &str,
    attach: &[&str],
    text: &str,
) -> Result<(), String> {
    let parsed = skep_asm::text::parse(text).map_err(|e| format!("{e} in\n{text}"))?;
    let kind = ProgKind::ALL.iter().copied().find(|k| k.info().name == kind).ok_or("no such kind")?;
    let file = collection.sources.add_file(format!("{name}.s"), text);
    let maps: Vec<MapId> = parsed.symbols.maps.iter().map(|n| map_named(collection, n)).collect();
    let mut refs = Vec::new();
    for r in &parsed.code.refs {
        let kind = match r.kind {
            SymKind::Map(map) => RefKind::Map(maps[map as usize]),
            SymKind::MapValue { map, offset } => RefKind::MapValue(maps[map as usize], offset),
            SymKind::Kfunc(i) => {
                RefKind::Kfunc(index(&mut collection.kfuncs, &parsed.symbols.kfuncs[i as usize]))
            }
            SymKind::Ksym(i) => {
                RefKind::Ksym(index(&mut collection.ksyms, &parsed.symbols.ksyms[i as usize]))
            }
        };
        refs.push(Ref { insn: r.insn, kind });
    }
    let attach = attach.iter().map(|a| place(kind, a)).collect();
    let slot = collection.programs.len() as u32;
    collection.programs.push(ProgramSpec {
        name: name.into(),
        kind: Some(kind),
        attach,
        locs: locs(file, text, &parsed.code.insns),
        insns: parsed.code.insns,
        refs,
        slot,
        ..ProgramSpec::default()
    });
    Ok(())
}

fn index(list: &mut Vec<String>, name: &str) -> u32 {
    if let Some(known) = list.iter().position(|n| n == name) {
        return known as u32;
    }
    list.push(name.to_owned());
    list.len() as u32 - 1
}

fn map_named(collection: &mut Collection, name: &str) -> MapId {
    if let Some((id, _)) = collection.maps.iter().find(|(_, m)| m.map.name == name) {
        return id;
    }
    let (kind, key_size, value_size, max_entries) = match name {
        n if n.starts_with("ring") => (MapKind::RingBuf, 0, 0, 5000),
        n if n.starts_with('h') => (MapKind::Hash, 8, 8, 100),
        _ => (MapKind::Array, 4, 8, 1),
    };
    collection.maps.push(spec(name, kind, key_size, value_size, max_entries))
}

/// A map without anything special.
pub(crate) fn spec(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    let map = Map {
        name: name.into(),
        kind,
        key: None,
        value: None,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        inner: None,
        contents: Vec::new(),
        pin: None,
    };
    MapSpec { map, btf_key: 0, btf_value: 0, frozen: false }
}

fn place(kind: ProgKind, name: &str) -> Attach {
    match kind {
        ProgKind::TpBtf | ProgKind::RawTracepoint if name != "once" => {
            Attach::RawTracepoint { event: name.into() }
        }
        ProgKind::Tracepoint => match name.split_once(':') {
            Some((c, e)) => Attach::Tracepoint { category: c.into(), event: e.into() },
            None => Attach::Once(When::Manual),
        },
        ProgKind::Fentry | ProgKind::Fexit | ProgKind::FmodRet | ProgKind::Lsm => {
            Attach::Trampoline { function: name.into(), module: String::new() }
        }
        ProgKind::Iter => Attach::Iter { target: name.into(), pin: None },
        ProgKind::Kprobe => Attach::Kprobe { symbol: name.into(), offset: 0, ret: false },
        _ => Attach::Once(When::Manual),
    }
}

/// A location for each instruction: its line, but for labels and blank lines, which are none.
fn locs(file: FileId, text: &str, insns: &[skep_asm::Insn]) -> Vec<(u32, Loc)> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split([';', '\n']).next().unwrap_or("").trim();
        let lo = start + (line.len() - line.trim_start().len());
        start += line.len();
        if code.is_empty() || code.ends_with(':') {
            continue;
        }
        let span = Span { file, lo: lo as u32, hi: (lo + code.len()) as u32 };
        out.push((at as u32, Loc::new(span)));
        at += insns.get(at).map_or(1, |i| i.slots());
    }
    out
}
