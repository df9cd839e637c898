//! Type information of an object file: the collection's, with maps described the way loaders read them.

use super::ElfError;
use super::names::identifier;
use skep_btf::ext::{BtfExt, ExtSection};
use skep_btf::info::{FuncInfo, LineInfo};
use skep_btf::{Btf, Builder, IntEncoding, Linkage, MemberDef, SectionVar, Supported, TypeDef, TypeId};
use skep_ir::spec::{Collection, MapSpec};
use std::collections::HashMap;

/// Member `pinning`: by the map's name (tools/lib/bpf/libbpf.c, `LIBBPF_PIN_BY_NAME`).
const PIN_BY_NAME: u32 = 1;
const POINTER: u32 = 8;

/// BTF in the making.
pub(super) struct Types {
    /// The collection's, for its strings; `None` if it has none.
    source: Option<Btf>,
    builder: Builder,
    maps: Vec<SectionVar>,
    ksyms: Vec<SectionVar>,
    funcs: Vec<ExtSection<FuncInfo>>,
    lines: Vec<ExtSection<LineInfo>>,
    strings: HashMap<u32, u32>,
}

impl Types {
    pub(super) fn of(collection: &Collection) -> Result<Types, ElfError> {
        let source = if collection.btf.is_empty() {
            None
        } else {
            Some(Btf::parse(collection.btf.clone()).map_err(|e| ElfError::Btf(e.to_string()))?)
        };
        let builder = source.as_ref().map_or_else(Builder::new, Builder::copy_of);
        Ok(Types {
            source,
            builder,
            maps: Vec::new(),
            ksyms: Vec::new(),
            funcs: Vec::new(),
            lines: Vec::new(),
            strings: HashMap::new(),
        })
    }

    /// A pointer to an array of so many integers: how a map's type says a number.
    fn number(&mut self, value: u32) -> TypeId {
        let int = self.builder.int("int", 4, IntEncoding::Signed);
        let array = self.builder.array(int, value);
        self.builder.ptr(array)
    }

    /// The members of a map's definition but for those of its inner map.
    fn members(&mut self, spec: &MapSpec) -> Vec<(&'static str, TypeId)> {
        let map = &spec.map;
        let mut members = vec![("type", self.number(map.kind as u32))];
        if map.max_entries != 0 {
            members.push(("max_entries", self.number(map.max_entries)));
        }
        if map.flags != 0 {
            members.push(("map_flags", self.number(map.flags)));
        }
        match spec.btf_key {
            0 if map.key_size == 0 => {}
            0 => members.push(("key_size", self.number(map.key_size))),
            id => members.push(("key", self.builder.ptr(TypeId(id)))),
        }
        match spec.btf_value {
            _ if map.inner.is_some() => {}
            0 if map.value_size == 0 => {}
            0 => members.push(("value_size", self.number(map.value_size))),
            id => members.push(("value", self.builder.ptr(TypeId(id)))),
        }
        if map.pin.is_some() {
            members.push(("pinning", self.number(PIN_BY_NAME)));
        }
        members
    }

    fn definition(&mut self, members: &[(&'static str, TypeId)], size: u32) -> TypeId {
        let defs = members.iter().zip(0u32..).map(|((name, type_id), i)| MemberDef {
            name: (*name).to_owned(),
            type_id: *type_id,
            bit_offset: i * POINTER * 8,
            bit_size: None,
        });
        let defs: Vec<MemberDef> = defs.collect();
        self.builder.structure("", size, defs)
    }

    /// Describes a map; returns the bytes of its variable.
    pub(super) fn map(&mut self, name: &str, spec: &MapSpec, collection: &Collection) -> u32 {
        let mut members = self.members(spec);
        let mut size = members.len() as u32 * POINTER;
        if let Some(inner) = spec.map.inner.and_then(|id| collection.maps.get(id)) {
            let inner = self.members(inner);
            let inner = self.definition(&inner, inner.len() as u32 * POINTER);
            let pointer = self.builder.ptr(inner);
            // An array without elements: what the map holds, and nothing put into it.
            members.push(("values", self.builder.array(pointer, 0)));
            size = (members.len() as u32 - 1) * POINTER;
        }
        let definition = self.definition(&members, size);
        let type_id = self.builder.var(name, definition, Linkage::Global);
        let offset = self.maps.iter().map(|v| v.size).sum();
        self.maps.push(SectionVar { type_id, offset, size });
        size
    }

    pub(super) fn maps_section(&mut self, size: u32) {
        let vars = std::mem::take(&mut self.maps);
        self.builder.datasec(".maps", size, vars);
    }

    /// Describes a map that is memory, unless the collection's BTF has its section already.
    pub(super) fn memory(&mut self, section: &str, spec: &MapSpec) {
        let known = self.builder.get(TypeId(spec.btf_value));
        if matches!(known, Some(TypeDef::Datasec { name, .. }) if name == section) {
            return;
        }
        let size = spec.map.value_size;
        let target = match (spec.btf_value, known) {
            (0, _) | (_, None | Some(TypeDef::Datasec { .. })) => {
                let byte = self.builder.int("unsigned char", 1, IntEncoding::Unsigned);
                self.builder.array(byte, size)
            }
            (id, _) => TypeId(id),
        };
        let type_id = self.builder.var(&identifier(&spec.map.name), target, Linkage::Static);
        self.builder.datasec(section, size, [SectionVar { type_id, offset: 0, size }]);
    }

    /// Describes a kernel variable that the loader finds the address of.
    pub(super) fn ksym(&mut self, name: &str) {
        // Loaders put an integer in the place of what has no type (tools/lib/bpf/libbpf.c,
        // `bpf_object__collect_externs`), and take it from here.
        self.builder.int("int", 4, IntEncoding::Signed);
        let target = self.builder.add(TypeDef::Const(TypeId::VOID));
        let type_id = self.builder.var(name, target, Linkage::Extern);
        self.ksyms.push(SectionVar { type_id, offset: 0, size: 0 });
    }

    /// Function records of a section, with `insn_off` in bytes from its start.
    pub(super) fn add_records(
        &mut self,
        section: &str,
        funcs: Vec<FuncInfo>,
        lines: Vec<LineInfo>,
    ) -> Result<(), ElfError> {
        let name_off = self.text(section)?;
        let mut moved = Vec::with_capacity(lines.len());
        for line in lines {
            moved.push(LineInfo {
                file_name_off: self.moved(line.file_name_off)?,
                line_off: self.moved(line.line_off)?,
                ..line
            });
        }
        self.funcs.push(ExtSection { name_off, records: funcs });
        self.lines.push(ExtSection { name_off, records: moved });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<u32, ElfError> {
        self.builder.string(text).map_err(|e| ElfError::Btf(e.to_string()))
    }

    /// The new offset of a string of the collection's BTF.
    fn moved(&mut self, offset: u32) -> Result<u32, ElfError> {
        if let Some(&known) = self.strings.get(&offset) {
            return Ok(known);
        }
        let text = self.source.as_ref().and_then(|btf| btf.string_at(offset)).unwrap_or_default();
        let text = String::from_utf8_lossy(text).into_owned();
        let new = self.text(&text)?;
        self.strings.insert(offset, new);
        Ok(new)
    }

    /// The sections `.BTF` and `.BTF.ext`; the former is empty if there are no types, which the kernel would refuse,
    /// the latter if there are no records.
    pub(super) fn encode(mut self) -> Result<(Vec<u8>, Vec<u8>), ElfError> {
        if !self.ksyms.is_empty() {
            let vars = std::mem::take(&mut self.ksyms);
            self.builder.datasec(".ksyms", 0, vars);
        }
        if self.builder.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let encoded = self.builder.encode(Supported::ALL).map_err(|e| ElfError::Btf(e.to_string()))?;
        let ext = BtfExt { funcs: self.funcs, lines: self.lines, relos: Vec::new() };
        let empty = ext.funcs.iter().all(|s| s.records.is_empty());
        Ok((encoded.bytes, if empty { Vec::new() } else { ext.encode() }))
    }
}
