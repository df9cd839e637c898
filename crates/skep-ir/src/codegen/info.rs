//! Type information of what is loaded: maps' keys and values, functions, source lines.

use super::globals::Globals;
use crate::func::{Func, Linkage};
use crate::kernel::{Feature, KernelInfo};
use crate::module::{GlobalId, MapId, Module};
use crate::source::{FileId, Loc, SourceMap};
use crate::types::{self, IntKind, Qualifier, Type};
use cranelift_entity::SecondaryMap;
use skep_btf::info::{LineInfo, LineTable, source_line};
use skep_btf::{Builder, IntEncoding, MemberDef, SectionVar, Supported, TypeDef, TypeId};
use std::collections::HashMap;

/// BTF in the making.
pub(super) struct Info<'m> {
    module: &'m Module,
    pub(super) builder: Builder,
    ids: SecondaryMap<types::TypeId, Option<TypeId>>,
    lines: HashMap<(FileId, u32), u32>,
    names: HashMap<FileId, u32>,
}

/// What the target's kernel takes.
pub(super) fn supported(kernel: &dyn KernelInfo) -> Supported {
    Supported {
        func_global: kernel.has(Feature::BtfFuncGlobal),
        datasec: kernel.has(Feature::BtfDatasec),
        float: kernel.has(Feature::BtfFloat),
        decl_tag: kernel.has(Feature::BtfDeclTag),
        type_tag: kernel.has(Feature::BtfTypeTag),
        enum64: kernel.has(Feature::BtfEnum64),
    }
}

impl<'m> Info<'m> {
    pub(super) fn new(module: &'m Module) -> Self {
        let builder = Builder::new();
        Info { module, builder, ids: SecondaryMap::new(), lines: HashMap::new(), names: HashMap::new() }
    }

    /// Key and value types of a map, void where they are not known.
    pub(super) fn map_types(&mut self, map: MapId) -> (TypeId, TypeId) {
        let Some(map) = self.module.maps.get(map) else { return (TypeId::VOID, TypeId::VOID) };
        let key = map.key.map_or(TypeId::VOID, |t| self.ty(t));
        let value = map.value.map_or(TypeId::VOID, |t| self.ty(t));
        (key, value)
    }

    /// The sections of globals; the value types of their maps.
    pub(super) fn sections(&mut self, globals: &Globals) -> Vec<(MapId, TypeId)> {
        let mut out = Vec::new();
        for section in &globals.sections {
            let mut vars = Vec::with_capacity(section.vars.len());
            for &(global, offset) in &section.vars {
                let data = &self.module.globals[global];
                let target = self.global_type(global);
                let name = identifier(&data.name);
                let type_id = self.builder.var(&name, target, skep_btf::Linkage::Static);
                vars.push(SectionVar { type_id, offset, size: data.size });
            }
            out.push((section.map, self.builder.datasec(section.name, section.size, vars)));
        }
        out
    }

    fn global_type(&mut self, global: GlobalId) -> TypeId {
        let data = &self.module.globals[global];
        // The kernel checks that a variable's type has the variable's size.
        if self.module.types.size(data.ty) == Some(data.size) {
            return self.ty(data.ty);
        }
        let byte = self.builder.int("unsigned char", 1, IntEncoding::Unsigned);
        self.builder.array(byte, data.size)
    }

    fn ty(&mut self, id: types::TypeId) -> TypeId {
        if let Some(done) = self.ids[id] {
            return done;
        }
        let done = self.translate(self.module.types.get(id));
        self.ids[id] = Some(done);
        done
    }

    fn translate(&mut self, ty: &Type) -> TypeId {
        match ty {
            Type::Void => TypeId::VOID,
            Type::Int { name, bytes, kind } => {
                let encoding = match kind {
                    IntKind::Unsigned => IntEncoding::Unsigned,
                    IntKind::Signed => IntEncoding::Signed,
                    IntKind::Bool => IntEncoding::Bool,
                    IntKind::Char => IntEncoding::Char,
                };
                self.builder.int(name, *bytes, encoding)
            }
            Type::Float { name, bytes } => self.builder.float(name, *bytes),
            Type::Ptr(to) => {
                let to = self.ty(*to);
                self.builder.ptr(to)
            }
            Type::Array { elem, len } => {
                let elem = self.ty(*elem);
                self.builder.array(elem, *len)
            }
            Type::Composite { name, union, size, members } => {
                let members = members.iter().map(|m| MemberDef {
                    name: identifier(&m.name),
                    type_id: self.ty(m.ty),
                    bit_offset: m.bit_offset,
                    bit_size: u8::try_from(m.bit_size).ok().filter(|&b| b != 0),
                });
                let members: Vec<MemberDef> = members.collect();
                let name = identifier(name);
                let def = TypeDef::Composite { name, union: *union, size: *size, members };
                self.builder.add(def)
            }
            Type::Enum { name, bytes, variants } => {
                let fits = |n: i64| i32::try_from(n).is_ok() || u32::try_from(n).is_ok();
                let wide = *bytes == 8 || !variants.iter().all(|(_, n)| fits(*n));
                let signed = variants.iter().any(|(_, n)| *n < 0);
                let variants = variants.iter().map(|(v, n)| (identifier(v), *n)).collect();
                let name = identifier(name);
                self.builder.add(TypeDef::Enum { name, size: *bytes, signed, wide, variants })
            }
            Type::Kernel { name, .. } => match name.split_once(' ') {
                Some(("struct", tag)) => self.builder.fwd(&identifier(tag), false),
                Some(("union", tag)) => self.builder.fwd(&identifier(tag), true),
                // Only its address is ever described.
                _ => TypeId::VOID,
            },
            Type::Forward { name, union } => self.builder.fwd(&identifier(name), *union),
            Type::Typedef { name, to } => {
                let to = self.ty(*to);
                self.builder.typedef(&identifier(name), to)
            }
            Type::Qualified(qualifier, to) => {
                let to = self.ty(*to);
                match qualifier {
                    Qualifier::Const => self.builder.add(TypeDef::Const(to)),
                    Qualifier::Volatile => self.builder.add(TypeDef::Volatile(to)),
                    Qualifier::User => self.builder.type_tag("user", to),
                    Qualifier::Rcu => self.builder.type_tag("rcu", to),
                    Qualifier::PerCpu => self.builder.type_tag("percpu", to),
                }
            }
            Type::FuncProto { params, ret } => {
                let ret = self.ty(*ret);
                let params = params.iter().map(|(n, t)| (identifier(n), self.ty(*t))).collect();
                self.builder.add(TypeDef::FuncProto { ret, params })
            }
        }
    }

    /// A function of a program.
    pub(super) fn func(&mut self, func: &Func) -> TypeId {
        let scalar = self.builder.int("unsigned long long", 8, IntEncoding::Unsigned);
        let void = self.builder.ptr(TypeId::VOID);
        let int = self.builder.int("int", 4, IntEncoding::Signed);
        let params = func.params().iter().enumerate().map(|(i, &p)| {
            let name = func.param_names.get(i).map_or_else(|| format!("a{i}"), |n| identifier(n));
            (name, if func.ty(p).as_ptr().is_some() { void } else { scalar })
        });
        let params: Vec<(String, TypeId)> = params.collect();
        // What the kernel calls returns an int to it; what the program calls returns a register.
        let ret = match (func.linkage, func.ret) {
            (_, None) => TypeId::VOID,
            (Linkage::Entry, _) => int,
            (_, Some(_)) => scalar,
        };
        let proto = self.builder.add(TypeDef::FuncProto { ret, params });
        self.builder.func(&identifier(&func.name), proto, skep_btf::Linkage::Static)
    }

    /// Source lines of a program. `locs` ascend by instruction; `starts` are the first instructions of its
    /// functions.
    pub(super) fn lines(
        &mut self,
        locs: &[(u32, Loc)],
        starts: &[u32],
        sources: &SourceMap,
    ) -> Vec<LineInfo> {
        let mut table = LineTable::new();
        let mut starts = starts.iter().copied().peekable();
        for (i, &(insn, loc)) in locs.iter().enumerate() {
            let loc = sources.outermost(loc);
            let file = sources.file(loc.span.file);
            let (line, column) = file.line_col(loc.span.lo);
            let Some((file_name_off, line_off)) = self.line_strings(sources, loc.span.file, line) else {
                continue;
            };
            let insn_off = if i == 0 { 0 } else { insn };
            while starts.next_if(|&s| s < insn_off).is_some() {}
            let starts_function = starts.next_if(|&s| s == insn_off).is_some();
            table.mark(LineInfo { insn_off, file_name_off, line_off, line, column }, starts_function);
        }
        table.records().to_vec()
    }

    fn line_strings(&mut self, sources: &SourceMap, file: FileId, line: u32) -> Option<(u32, u32)> {
        let source = sources.file(file);
        let name = match self.names.get(&file) {
            Some(&offset) => offset,
            None => {
                let offset = self.builder.string(&source_line(&source.name)).ok()?;
                self.names.insert(file, offset);
                offset
            }
        };
        let text = match self.lines.get(&(file, line)) {
            Some(&offset) => offset,
            None => {
                let offset = self.builder.string(&source_line(source.line(line))).ok()?;
                self.lines.insert((file, line), offset);
                offset
            }
        };
        Some((name, text))
    }
}

/// A name that the kernel accepts: letters, digits and `_`, at most 127 of them (`__btf_name_valid` and
/// `KSYM_NAME_LEN` in kernel/bpf/btf.c).
pub(super) fn identifier(name: &str) -> String {
    const LONGEST: usize = 127;
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut out: String = name.chars().take(LONGEST).map(safe).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
        out.truncate(LONGEST);
    }
    out
}
