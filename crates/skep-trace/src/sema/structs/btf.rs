//! Types from BTF: of the kernel, its modules and user programs.

use super::{Keyword, Named, Source, SourceInfo, TypeDb, field};
use crate::btf_types::{self, BtfRef, Composites};
use crate::types::{DataLoc, EnumId, FieldDef, IntTy, Origin, StructId, Type};
use skep_btf::{Btf, KindMask, TypeId};

impl<'e> TypeDb<'e> {
    /// The kernel's type information, if it has any.
    pub(crate) fn kernel_btf(&self) -> Option<&'e Btf> {
        self.env.btf()
    }

    pub(super) fn kernel_source(&mut self) -> Option<BtfRef<'e>> {
        if self.sources.is_empty() {
            let btf = self.env.btf().map(BtfRef::Kernel);
            self.sources.push(SourceInfo { module: Some(String::new()), btf });
        }
        self.sources[0].btf.clone()
    }

    fn list_modules(&mut self) {
        if !self.modules_listed {
            self.modules_listed = true;
            for module in self.env.btf_modules() {
                let btf = self.env.module_btf(&module).map(BtfRef::Module);
                self.sources.push(SourceInfo { module: Some(module), btf });
            }
        }
    }

    /// The source of a module's types; the kernel's for an empty name.
    pub(crate) fn module_source(&mut self, module: &str) -> Option<Source> {
        self.kernel_source();
        let known = |s: &SourceInfo<'_>| s.module.as_deref() == Some(module);
        let at = match self.sources.iter().position(known) {
            Some(at) => at,
            None => {
                let btf = self.env.module_btf(module).map(BtfRef::Module);
                self.sources.push(SourceInfo { module: Some(module.to_owned()), btf });
                self.sources.len() - 1
            }
        };
        self.sources[at].btf.is_some().then_some(Source(at as u32))
    }

    /// The type information of a source.
    pub(crate) fn source(&self, source: Source) -> Option<BtfRef<'e>> {
        self.sources.get(source.0 as usize)?.btf.clone()
    }

    /// Name of a source's module; empty for the kernel and user programs.
    fn module_name(&self, source: Source) -> Option<String> {
        self.sources.get(source.0 as usize)?.module.clone()
    }

    /// Looks for a type by name in the kernel, then in user programs, then in modules.
    pub(crate) fn find_btf(&mut self, name: &str, kinds: KindMask) -> Option<(Source, TypeId)> {
        if let Some(id) = self.kernel_source().and_then(|btf| btf.find(name, kinds)) {
            return Some((Source::KERNEL, id));
        }
        let search = |db: &Self, from: usize| {
            let rest = db.sources.iter().enumerate().skip(from);
            rest.filter_map(|(i, s)| Some((Source(i as u32), s.btf.as_ref()?.find(name, kinds)?))).next()
        };
        if let Some(found) = search(self, 1) {
            return Some(found);
        }
        if self.modules_listed {
            return None;
        }
        let from = self.sources.len();
        self.list_modules();
        search(self, from)
    }

    pub(super) fn find_tagged(&mut self, full: &str) -> Option<Named> {
        let (keyword, name) = full.split_once(' ')?;
        let kinds = match keyword {
            "struct" => KindMask::STRUCT,
            "union" => KindMask::UNION,
            _ => KindMask::ANY_ENUM,
        };
        let (source, id) = self.find_btf(name, kinds)?;
        self.named_by_id(source, id)
    }

    pub(super) fn find_ordinary(&mut self, name: &str) -> Option<Named> {
        let (source, id) = self.find_btf(name, KindMask::ORDINARY)?;
        Some(Named::Type(self.btf_type(source, id)))
    }

    pub(super) fn find_enumerator(&mut self, name: &str) -> Option<(EnumId, i64)> {
        self.kernel_source();
        let mut found = None;
        for (i, source) in self.sources.iter().enumerate() {
            if let Some(value) = source.btf.as_ref().and_then(|btf| btf.enum_value(name)) {
                found = Some((Source(i as u32), value));
                break;
            }
        }
        let (source, value) = found?;
        let Some(Named::Enum(id)) = self.named_by_id(source, value.type_id) else { return None };
        Some((id, value.value))
    }

    /// The type of the language for a type of BTF.
    pub(crate) fn btf_type(&mut self, source: Source, id: TypeId) -> Type {
        let Some(btf) = self.source(source) else { return Type::None };
        btf_types::convert(&btf, id, &mut In { db: self, source })
    }

    fn named_by_id(&mut self, source: Source, id: TypeId) -> Option<Named> {
        match self.btf_type(source, id) {
            Type::Struct(id) => Some(Named::Struct(id)),
            Type::Enum(id) => Some(Named::Enum(id)),
            _ => None,
        }
    }

    /// Where the kernel or a module defines a struct, for [`Origin::Kernel`].
    fn origin(&self, source: Source, id: TypeId) -> Origin {
        match self.module_name(source) {
            Some(module) => Origin::Kernel { module, id: id.0 },
            None => Origin::Dwarf,
        }
    }

    /// The prototype of a function by its name.
    pub(crate) fn function_proto(&self, source: Source, name: &str) -> Option<(Source, TypeId)> {
        let btf = self.source(source)?;
        match btf.ty(btf.find(name, KindMask::FUNC)?)? {
            skep_btf::Type::Func(func) => Some((source, func.proto())),
            _ => None,
        }
    }

    /// The parameters of a prototype, some at its start left out, as an argument list.
    pub(crate) fn prototype_list(
        &mut self,
        source: Source,
        proto: TypeId,
        skip: usize,
        target: &str,
    ) -> Option<StructId> {
        let btf = self.source(source)?;
        let skep_btf::Type::FuncProto(proto) = btf.ty(proto)? else { return None };
        let params = proto.params().skip(skip).filter(|p| !p.type_id().is_void());
        let args = params.map(|p| (p.name().to_owned(), self.btf_type(source, p.type_id()))).collect();
        Some(self.argument_list(&format!("struct {target}_args"), args))
    }

    /// The type of a prototype's result; none for void.
    pub(crate) fn prototype_result(&mut self, source: Source, proto: TypeId) -> Option<Type> {
        let btf = self.source(source)?;
        match btf.ty(proto)? {
            skep_btf::Type::FuncProto(proto) => Some(self.btf_type(source, proto.ret())),
            _ => None,
        }
    }

    pub(super) fn btf_fields(&mut self, source: Source, id: u32) -> Vec<FieldDef> {
        let Some(btf) = self.source(source) else { return Vec::new() };
        let mut fields = Vec::new();
        for member in btf.fields(TypeId(id)) {
            let ty = self.btf_type(source, member.at.type_id);
            let name = member.member.name();
            fields.push(match member.at.bit_size {
                None => field(name, ty, member.at.bit_offset / 8),
                Some(bits) => {
                    let size = self.size_of(&ty).clamp(1, 8);
                    let offset = member.at.bit_offset / 8 / size * size;
                    let bits = Some((member.at.bit_offset - offset * 8, u32::from(bits)));
                    FieldDef { name: name.into(), ty, offset, bits, data_loc: DataLoc::Direct }
                }
            });
        }
        fields
    }

    /// Alignment as C has it, which for structs of the kernel is worked out only where it matters.
    pub(super) fn c_align(&self, ty: &Type) -> u32 {
        match ty {
            Type::Struct(id) => {
                let known = self
                    .origins
                    .get(id)
                    .and_then(|&(source, btf_id)| self.source(source)?.align_of(TypeId(btf_id)));
                known.unwrap_or(self.structs.structs[*id].align)
            }
            Type::Array(elem, _) => self.c_align(elem),
            _ => ty.layout(&self.structs).1,
        }
    }
}

/// Conversion of types of one source.
struct In<'a, 'e> {
    db: &'a mut TypeDb<'e>,
    source: Source,
}

impl Composites for In<'_, '_> {
    fn composite(&mut self, btf: &Btf, id: TypeId) -> Type {
        if let Some(Named::Struct(known)) = self.db.by_id.get(&(self.source, id.0)) {
            return Type::Struct(*known);
        }
        let name = btf_types::tag(btf, id);
        // A struct that the script defines itself stands for the kernel's of that name everywhere.
        if let Some(Named::Struct(own)) = self.db.own.get(&name) {
            return Type::Struct(*own);
        }
        let size = btf.size_of(id).unwrap_or(0);
        // Values in tuples and records are laid out by us alone, so the alignment only has to be a sound one.
        let align = if size == 0 { 1 } else { 1 << size.trailing_zeros().min(3) };
        let origin = self.db.origin(self.source, id);
        let new = self.db.add_struct(name, size, align, origin, None);
        self.db.origins.insert(new, (self.source, id.0));
        self.db.by_id.insert((self.source, id.0), Named::Struct(new));
        Type::Struct(new)
    }

    fn enumeration(&mut self, btf: &Btf, id: TypeId) -> Type {
        if let Some(Named::Enum(known)) = self.db.by_id.get(&(self.source, id.0)) {
            return Type::Enum(*known);
        }
        let name = btf_types::tag(btf, id);
        if let Some(Named::Enum(own)) = self.db.own.get(&name) {
            return Type::Enum(*own);
        }
        let Some(e) = btf.ty(id).and_then(|t| t.enumeration()) else { return Type::U32 };
        let bytes = match e.size() {
            size @ (1 | 2 | 4 | 8) => size as u8,
            _ => 4,
        };
        let variants = e.variants().map(|v| (v.name().to_owned(), v.value())).collect();
        let new = self.db.add_enum(name, IntTy { bytes, signed: e.is_signed() }, variants);
        self.db.by_id.insert((self.source, id.0), Named::Enum(new));
        Type::Enum(new)
    }

    fn forward(&mut self, name: &str, union: bool) -> Type {
        let keyword = if union { Keyword::Union } else { Keyword::Struct };
        Type::Struct(self.db.forward(keyword, name))
    }
}
