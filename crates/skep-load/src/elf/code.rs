//! Programs: main functions in sections of their kind, the functions that they call in `.text`.

use super::btf::Types;
use super::names::{Unique, identifier, section};
use super::object::{Bind, Object, Place, Reloc, SymbolKind};
use super::{ElfError, MapForm, Maps};
use skep_asm::{Endian, Insn, encode};
use skep_btf::info::{FuncInfo, LineInfo};
use skep_ir::spec::{Collection, ProgramSpec, RefKind};
use std::collections::HashMap;

const BYTES: u32 = Insn::BYTES as u32;

/// Records of one section.
#[derive(Default)]
struct Records {
    name: String,
    funcs: Vec<FuncInfo>,
    lines: Vec<LineInfo>,
}

pub(super) fn write(
    collection: &Collection,
    object: &mut Object,
    types: &mut Types,
    maps: &Maps,
) -> Result<(), ElfError> {
    let mut writer = Writer {
        collection,
        object,
        types,
        maps,
        sections: HashMap::new(),
        records: Vec::new(),
        values: HashMap::new(),
        ksyms: HashMap::new(),
        names: Unique::default(),
    };
    for spec in &collection.programs {
        writer.program(spec)?;
    }
    let Writer { records, types, .. } = writer;
    for Records { name, funcs, lines } in records {
        types.add_records(&name, funcs, lines)?;
    }
    Ok(())
}

struct Writer<'a> {
    collection: &'a Collection,
    object: &'a mut Object,
    types: &'a mut Types,
    maps: &'a Maps,
    /// Sections by name, with the index of their records.
    sections: HashMap<String, (usize, usize)>,
    records: Vec<Records>,
    /// Symbols of places in sections of memory.
    values: HashMap<(usize, u32), usize>,
    ksyms: HashMap<u32, usize>,
    names: Unique,
}

/// A function of a program: its instructions in the spec, and where they go.
struct Part {
    start: usize,
    end: usize,
    section: usize,
    records: usize,
    /// Bytes from the start of the section.
    offset: u32,
}

impl Part {
    fn holds(&self, insn: usize) -> bool {
        (self.start..self.end).contains(&insn)
    }

    /// Where an instruction of the part goes, in bytes from the start of the section.
    fn place(&self, insn: usize) -> u32 {
        self.offset + (insn - self.start) as u32 * BYTES
    }
}

impl Writer<'_> {
    fn section(&mut self, name: &str) -> (usize, usize) {
        if let Some(&known) = self.sections.get(name) {
            return known;
        }
        let section = self.object.code_section(name);
        self.records.push(Records { name: name.to_owned(), ..Records::default() });
        let entry = (section, self.records.len() - 1);
        self.sections.insert(name.to_owned(), entry);
        entry
    }

    fn program(&mut self, spec: &ProgramSpec) -> Result<(), ElfError> {
        let no_section = || ElfError::Kind { name: spec.name.clone(), kind: spec.kind };
        let main_section = section(spec).ok_or_else(no_section)?;
        let mut starts = vec![0];
        for (at, insn) in spec.insns.iter().enumerate() {
            let target = insn.subprog_target(at).and_then(|t| usize::try_from(t).ok());
            starts.extend(target.filter(|t| *t < spec.insns.len()));
        }
        starts.sort_unstable();
        starts.dedup();
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([spec.insns.len()]).collect();
        let mut parts = Vec::with_capacity(starts.len());
        for (&start, &end) in starts.iter().zip(&ends) {
            let (section, records) =
                if start == 0 { self.section(&main_section) } else { self.section(".text") };
            let offset = self.object.len(section) as u32;
            self.object.resize(section, offset as usize + (end - start) * Insn::BYTES);
            parts.push(Part { start, end, section, records, offset });
        }
        let mut insns = spec.insns.clone();
        self.relocate(spec, &parts, &mut insns)?;
        self.link_calls(spec, &parts, &mut insns)?;
        for (index, part) in parts.iter().enumerate() {
            let code = encode(&insns[part.start..part.end], Endian::Little);
            self.object.overwrite(part.section, part.offset as usize, &code);
            let (name, bind) = if index == 0 {
                (self.names.take(&identifier(&spec.name)), Bind::Global)
            } else {
                (format!("{}_{index}", identifier(&spec.name)), Bind::Local)
            };
            let place = Place::At(part.section, part.offset.into());
            self.object.symbol(&name, SymbolKind::Func, bind, place, code.len() as u64);
        }
        self.add_records(spec, &parts);
        Ok(())
    }

    /// References to maps and kernel variables: constants without a value, and relocations.
    fn relocate(&mut self, spec: &ProgramSpec, parts: &[Part], insns: &mut [Insn]) -> Result<(), ElfError> {
        for reference in &spec.refs {
            let wrong = |what| ElfError::Reference { program: spec.name.clone(), insn: reference.insn, what };
            let at = reference.insn as usize;
            let part = parts.iter().find(|p| p.holds(at)).ok_or(wrong("it is outside of the program"))?;
            let symbol = match reference.kind {
                RefKind::Map(map) => match self.maps.form(map) {
                    Some(MapForm::Declared(symbol)) => symbol,
                    Some(MapForm::Memory(_)) => return Err(wrong("a map is both memory and looked up")),
                    None => return Err(wrong("there is no such map")),
                },
                RefKind::MapValue(map, offset) => match self.maps.form(map) {
                    Some(MapForm::Memory(section)) => self.value(section, offset),
                    _ => {
                        return Err(wrong("the address of a map's value, which is not of one array element"));
                    }
                },
                RefKind::Ksym(index) => self.ksym(index).ok_or(wrong("there is no such kernel variable"))?,
                RefKind::Kfunc(index) => {
                    let function = self.collection.kfuncs.get(index as usize).cloned().unwrap_or_default();
                    return Err(ElfError::Kfunc { program: spec.name.clone(), function });
                }
            };
            let Some([first, second]) = insns.get_mut(at..at + 2) else {
                return Err(wrong("it is no constant of two slots"));
            };
            // What the constant means is the loader's to say.
            [*first, *second] = Insn::load_imm64(first.dst, 0);
            self.object.relocate(part.section, part.place(at).into(), Reloc::Constant, symbol);
        }
        Ok(())
    }

    /// The symbol of a place in a section of memory. The symbol has the offset and the constant stays 0, since
    /// readers disagree on whether both count.
    fn value(&mut self, section: usize, offset: u32) -> usize {
        if let Some(&known) = self.values.get(&(section, offset)) {
            return known;
        }
        let name = format!(".Lvalue.{section}.{offset}");
        let place = Place::At(section, offset.into());
        let symbol = self.object.symbol(&name, SymbolKind::Object, Bind::Local, place, 0);
        self.values.insert((section, offset), symbol);
        symbol
    }

    fn ksym(&mut self, index: u32) -> Option<usize> {
        if let Some(&known) = self.ksyms.get(&index) {
            return Some(known);
        }
        let name = self.collection.ksyms.get(index as usize)?;
        self.types.ksym(name);
        let symbol = self.object.symbol(name, SymbolKind::None, Bind::Global, Place::Extern, 0);
        self.ksyms.insert(index, symbol);
        Some(symbol)
    }

    /// Calls between functions, and their addresses. Within a section a call holds its distance; from another
    /// one, and for addresses, a relocation names `.text` and the constant is the place in it: in instructions
    /// less one for calls, in bytes for addresses (tools/lib/bpf/libbpf.c, `bpf_program__record_reloc`).
    fn link_calls(&mut self, spec: &ProgramSpec, parts: &[Part], insns: &mut [Insn]) -> Result<(), ElfError> {
        for (at, slot) in insns.iter_mut().enumerate() {
            let insn = *slot;
            let Some(target) = insn.subprog_target(at).and_then(|t| usize::try_from(t).ok()) else {
                continue;
            };
            let wrong = |what| ElfError::Reference { program: spec.name.clone(), insn: at as u32, what };
            let from = parts.iter().find(|p| p.holds(at)).ok_or(wrong("it is outside of the program"))?;
            let to = parts.iter().find(|p| p.start == target);
            let to = to.ok_or(wrong("it calls something outside of the program"))?;
            if from.section == to.section && insn.is_call() {
                let distance = i64::from(to.offset) - i64::from(from.place(at)) - i64::from(BYTES);
                slot.imm = (distance / i64::from(BYTES)) as i32;
                continue;
            }
            let symbol = self.object.section_symbol(to.section);
            let reloc = if insn.is_call() {
                slot.imm = (to.offset / BYTES) as i32 - 1;
                Reloc::Call
            } else {
                slot.imm = to.offset.cast_signed();
                Reloc::Constant
            };
            self.object.relocate(from.section, from.place(at).into(), reloc, symbol);
        }
        Ok(())
    }

    /// Function and line records, moved to where the functions went.
    fn add_records(&mut self, spec: &ProgramSpec, parts: &[Part]) {
        for part in parts {
            let records = &mut self.records[part.records];
            let place = |insn: u32| part.holds(insn as usize).then(|| part.place(insn as usize));
            let funcs = spec.func_info.iter();
            records.funcs.extend(funcs.filter_map(|f| Some(FuncInfo { insn_off: place(f.insn_off)?, ..*f })));
            let lines = spec.line_info.iter();
            records.lines.extend(lines.filter_map(|l| Some(LineInfo { insn_off: place(l.insn_off)?, ..*l })));
        }
    }
}
