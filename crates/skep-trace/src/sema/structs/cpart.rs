//! Layout of the types that a script defines in C.

use super::{Keyword, Named, TypeDb, field};
use crate::sema::diags::{Diags, Stage};
use crate::syntax::ast::{CComposite, CEnum, CItem, CMember, CType};
use crate::types::{AddrSpace, DataLoc, FieldDef, IntTy, Origin, StructId, Type};
use skep_btf::KindMask;
use skep_ir::{Diagnostic, Loc};
use std::collections::HashMap;
use std::rc::Rc;

/// Greatest alignment that a definition may ask for.
const MAX_ALIGN: u32 = 4096;
/// Greatest size of a definition; what is larger is cut to it and has been reported.
const MAX_SIZE: u32 = 1 << 30;

/// Deepest nesting of types that a definition may have.
const MAX_DEPTH: u32 = 64;

/// Conversion of a C part.
struct Part<'a, 'e> {
    db: &'a mut TypeDb<'e>,
    diags: &'a mut Diags,
    /// Where names of the script were defined.
    places: HashMap<String, Loc>,
    /// Whether the script defines a type that the kernel has too. Then none of the kernel's can be completed:
    /// the script's definitions are meant to stand alone.
    alone: bool,
    depth: u32,
}

impl TypeDb<'_> {
    /// Lays out the definitions of a C part. They hide types of the kernel that have the same names.
    pub(crate) fn define(&mut self, items: &[CItem], diags: &mut Diags) {
        if items.is_empty() {
            return;
        }
        let alone = self.redefines_kernel(items);
        let mut part = Part { db: self, diags, places: HashMap::new(), alone, depth: 0 };
        for item in items {
            part.item(item);
        }
    }

    fn redefines_kernel(&mut self, items: &[CItem]) -> bool {
        let Some(btf) = self.kernel_source() else { return false };
        let names = items.iter().filter_map(|item| match item {
            CItem::Composite(c) if c.members.is_some() && !c.name.is_empty() => {
                Some((c.name.as_str(), if c.union { KindMask::UNION } else { KindMask::STRUCT }))
            }
            CItem::Enum(e) if !e.name.is_empty() => Some((e.name.as_str(), KindMask::ANY_ENUM)),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        !names.is_empty() && btf.find_many(&names).iter().any(Option::is_some)
    }
}

impl Part<'_, '_> {
    fn error(&mut self, loc: Loc, text: impl AsRef<str>) {
        self.diags.error(Stage::Attach, loc, format!("C type error: {}", text.as_ref()));
    }

    fn item(&mut self, item: &CItem) -> Type {
        match item {
            CItem::Composite(c) => self.composite(c),
            CItem::Enum(e) => self.enumeration(e),
            CItem::Typedef { name, ty } => {
                let ty = self.ty(ty, name.loc);
                self.db.own.insert(name.name.clone(), Named::Type(ty.clone()));
                ty
            }
        }
    }

    /// Whether a name is defined for the first time.
    fn first(&mut self, full: &str, loc: Loc) -> bool {
        match self.places.insert(full.to_owned(), loc) {
            None => true,
            Some(before) => {
                let bare = full.split_once(' ').map_or(full, |(_, name)| name);
                let message = format!("C type error: redefinition of '{bare}'");
                let note = Diagnostic::error(loc, message).context(before, "previous definition is here");
                self.diags.push(Stage::Attach, note);
                false
            }
        }
    }

    fn enumeration(&mut self, e: &CEnum) -> Type {
        let values = || e.variants.iter().map(|(_, v)| *v);
        let negative = values().any(|v| v < 0);
        let wide =
            values().any(|v| if negative { i32::try_from(v).is_err() } else { u32::try_from(v).is_err() });
        let repr = IntTy { bytes: if wide { 8 } else { 4 }, signed: negative };
        let name = format!("enum {}", if e.name.is_empty() { "(unnamed)" } else { &e.name });
        let id = self.db.add_enum(name.clone(), repr, e.variants.clone());
        if !e.name.is_empty() && self.first(&name, e.loc) {
            self.db.own.insert(name, Named::Enum(id));
        }
        for (variant, value) in &e.variants {
            if self.first(&format!("enumerator {variant}"), e.loc) {
                self.db.own_values.insert(variant.clone(), (id, *value));
            }
        }
        Type::Enum(id)
    }

    fn composite(&mut self, c: &CComposite) -> Type {
        let keyword = if c.union { Keyword::Union } else { Keyword::Struct };
        let Some(members) = &c.members else {
            return Type::Struct(self.db.forward(keyword, &c.name));
        };
        let name = format!("{} {}", keyword.text(), if c.name.is_empty() { "(unnamed)" } else { &c.name });
        // The struct exists before its members: they may point to it.
        let id = match self.db.forwards.remove(&name) {
            Some(declared) if !c.name.is_empty() => declared,
            _ => self.db.add_struct(name.clone(), 0, 1, Origin::Script, None),
        };
        if !c.name.is_empty() && self.first(&name, c.loc) {
            self.db.own.insert(name, Named::Struct(id));
        }
        self.depth += 1;
        let mut layout = Placing::new(c.union, c.packed);
        if self.depth <= MAX_DEPTH {
            for member in members {
                self.member(member, id, &mut layout);
            }
        } else {
            self.error(c.loc, "types are nested too deeply");
        }
        self.depth -= 1;
        let mut seen = HashMap::new();
        for (f, loc) in &layout.fields {
            if seen.insert(f.name.clone(), ()).is_some() {
                let text = format!("duplicate member '{}'", f.name);
                self.error(*loc, text);
            }
        }
        if c.align > MAX_ALIGN || c.align != 0 && !c.align.is_power_of_two() {
            self.error(c.loc, format!("an alignment of {} bytes is not possible", c.align));
        }
        let align = layout.align.max(c.align.min(MAX_ALIGN)).max(1);
        let def = &mut self.db.structs.structs[id];
        def.size = layout.size().next_multiple_of(align);
        def.align = align;
        def.fields = Some(layout.fields.into_iter().map(|(f, _)| f).collect());
        Type::Struct(id)
    }

    fn member(&mut self, member: &CMember, within: StructId, layout: &mut Placing) {
        let ty = self.ty(&member.ty, member.loc);
        if self.incomplete(&ty, within) {
            let name = self.db.show(&ty);
            let mut note =
                Diagnostic::error(member.loc, format!("C type error: field has incomplete type '{name}'"));
            if self.alone {
                note = note.hint(
                    "The script defines types that the kernel has too, so it must define everything that they \
                     contain.",
                );
            }
            self.diags.push(Stage::Attach, note);
            return;
        }
        let (size, align) = (self.db.size_of(&ty), self.db.c_align(&ty).max(1));
        if member.name.is_empty() && member.bits.is_none() {
            let at = layout.place(size, align);
            if let Type::Struct(inner) = ty {
                let fields = self.db.fields(inner);
                let moved = fields
                    .iter()
                    .map(|f| (FieldDef { offset: f.offset.saturating_add(at), ..f.clone() }, member.loc));
                layout.fields.extend(moved);
            }
            return;
        }
        let field = match member.bits {
            None => field(member.name.as_str(), ty, layout.place(size, align)),
            Some(bits) if bits > size * 8 || !matches!(ty, Type::Int(_) | Type::Bool | Type::Enum(_)) => {
                let text = format!("'{}' cannot be a bit-field of {bits} bits", member.name);
                return self.error(member.loc, text);
            }
            Some(bits) => {
                let (offset, first) = layout.place_bits(bits, size, align);
                FieldDef {
                    name: member.name.as_str().into(),
                    ty,
                    offset,
                    bits: Some((first, bits)),
                    data_loc: DataLoc::Direct,
                }
            }
        };
        // Bits without a name only keep others away.
        if !member.name.is_empty() {
            layout.fields.push((field, member.loc));
        }
    }

    /// Whether values of a type have no size that is known here.
    fn incomplete(&mut self, ty: &Type, within: StructId) -> bool {
        match ty {
            Type::None => true,
            Type::Array(elem, _) => self.incomplete(elem, within),
            Type::Struct(id) if *id == within => true,
            Type::Struct(id) => {
                let def = &self.db.structs.structs[*id];
                let foreign = def.origin != Origin::Script;
                if foreign {
                    return self.alone;
                }
                // Looking at the fields would take them from the kernel.
                let declared = self.db.forwards.contains_key(&def.name);
                declared && (self.alone || self.db.fields(*id).is_empty())
            }
            _ => false,
        }
    }

    fn ty(&mut self, ty: &CType, loc: Loc) -> Type {
        self.depth += 1;
        let out = if self.depth > MAX_DEPTH { Type::None } else { self.ty_within(ty, loc) };
        self.depth -= 1;
        out
    }

    fn ty_within(&mut self, ty: &CType, loc: Loc) -> Type {
        match ty {
            CType::Int { bytes, signed } => Type::int(*bytes as u8, *signed),
            CType::Bool => Type::Bool,
            CType::Float(bytes) => Type::Array(Rc::new(Type::int(1, false)), *bytes),
            CType::Void => Type::None,
            CType::Name(name) => match self.db.type_named(&name.name) {
                Some(ty) => ty,
                None => {
                    let text = format!("unknown type name '{}'", name.name);
                    self.error(name.loc, text);
                    Type::U32
                }
            },
            CType::Struct(name) => self.tagged(Keyword::Struct, &name.name),
            CType::Union(name) => self.tagged(Keyword::Union, &name.name),
            CType::Enum(name) => self.db.enum_named(&name.name).map_or(Type::U32, Type::Enum),
            CType::Inline(item) => self.item(item),
            CType::Ptr(to) => Type::Ptr(Rc::new(self.ty(to, loc)), AddrSpace::None),
            CType::Array(elem, len) => {
                let len = len.unwrap_or(0);
                let Ok(len) = u32::try_from(len) else {
                    self.error(loc, "the array is too large");
                    return Type::None;
                };
                if matches!(**elem, CType::Int { bytes: 1, signed: true }) && len > 0 {
                    return Type::Str(len);
                }
                let elem = self.ty(elem, loc);
                if self.db.size_of(&elem).checked_mul(len).is_none_or(|size| size > MAX_SIZE) {
                    self.error(loc, "the array is too large");
                    return Type::None;
                }
                Type::Array(Rc::new(elem), len)
            }
        }
    }

    /// A struct by name: the kernel's where the script has none, unless it stands alone.
    fn tagged(&mut self, keyword: Keyword, name: &str) -> Type {
        if !self.alone
            && let Some(id) = self.db.composite_named(keyword, name)
        {
            return Type::Struct(id);
        }
        Type::Struct(self.db.forward(keyword, name))
    }
}

/// Where the next member goes. Bit-fields follow the System V ABI: they share a storage unit of their type as
/// long as they fit into it, and packed ones take the next bit.
struct Placing {
    union: bool,
    packed: bool,
    /// First free bit; for unions the end of the longest member.
    bits: u64,
    align: u32,
    fields: Vec<(FieldDef, Loc)>,
}

impl Placing {
    fn new(union: bool, packed: bool) -> Self {
        Placing { union, packed, bits: 0, align: 1, fields: Vec::new() }
    }

    /// Bytes so far.
    fn size(&self) -> u32 {
        u32::try_from(self.bits.div_ceil(8)).unwrap_or(u32::MAX).min(MAX_SIZE)
    }

    fn place(&mut self, size: u32, align: u32) -> u32 {
        let align = if self.packed { 1 } else { align };
        self.align = self.align.max(align);
        let start = if self.union { 0 } else { self.bits.div_ceil(8).next_multiple_of(u64::from(align)) };
        self.bits = self.bits.max((start + u64::from(size)) * 8);
        u32::try_from(start).unwrap_or(u32::MAX).min(MAX_SIZE)
    }

    /// Byte offset of the storage unit, and the first bit in it.
    fn place_bits(&mut self, bits: u32, size: u32, align: u32) -> (u32, u32) {
        let unit = u64::from(size.max(1)) * 8;
        let mut start = if self.union { 0 } else { self.bits };
        if bits == 0 {
            // A bit-field of no bits ends the storage unit.
            self.bits = self.bits.next_multiple_of(unit);
            return (0, 0);
        }
        if !self.packed {
            self.align = self.align.max(align);
            if start % unit + u64::from(bits) > unit {
                start = start.next_multiple_of(unit);
            }
        }
        self.bits = self.bits.max(start + u64::from(bits));
        // Packed fields may straddle a unit; then the byte where they begin is where they are read from.
        let offset = if start % unit + u64::from(bits) <= unit { start / unit * unit } else { start / 8 * 8 };
        (u32::try_from(offset / 8).unwrap_or(u32::MAX).min(MAX_SIZE), (start - offset) as u32)
    }
}
