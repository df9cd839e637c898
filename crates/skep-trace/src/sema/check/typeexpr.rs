//! Types as scripts write them, and questions about types.

use super::{Checker, Ex};
use crate::sema::diags::Stage;
use crate::sema::structs::Keyword;
use crate::sema::ty::Ty;
use crate::syntax::ast::{self, ExprKind, TypeBase, TypeExpr, TypeOrExpr, TypeSuffix};
use crate::types::{AddrSpace, Type};
use skep_ir::{Diagnostic, Loc};
use std::rc::Rc;

/// A type as written; capacities and lengths that were left out are settled by what it is used for.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) ty: Ty,
    /// `string` or `buffer` without a capacity, or an array without a length.
    pub(super) open: bool,
}

/// Longest string that a script may declare.
const MAX_STRING: i128 = 1 << 20;

/// A type that has a name in the language itself.
fn builtin(name: &str) -> Option<Type> {
    let int = |bytes, signed| Some(Type::int(bytes, signed));
    match name {
        "bool" => Some(Type::Bool),
        "int8" => int(1, true),
        "int16" => int(2, true),
        "int32" => int(4, true),
        "int64" => int(8, true),
        "uint8" => int(1, false),
        "uint16" => int(2, false),
        "uint32" => int(4, false),
        "uint64" => int(8, false),
        "void" => Some(Type::None),
        "ksym" | "ksym_t" => Some(Type::KSym),
        "usym" | "usym_t" => Some(Type::USym),
        "username" | "username_t" => Some(Type::Username),
        "timestamp" => Some(Type::Timestamp),
        "inet" => Some(Type::Inet),
        "macaddr" | "mac_address" | "macaddr_t" => Some(Type::Mac),
        "cgroup_path" | "cgroup_path_t" => Some(Type::CgroupPath),
        // C names that need no kernel types to be known.
        "int8_t" | "s8" | "__s8" | "char" => int(1, true),
        "int16_t" | "s16" | "__s16" | "short" => int(2, true),
        "int32_t" | "s32" | "__s32" | "int" | "pid_t" => int(4, true),
        "int64_t" | "s64" | "__s64" | "long" | "ssize_t" => int(8, true),
        "uint8_t" | "u8" | "__u8" => int(1, false),
        "uint16_t" | "u16" | "__u16" => int(2, false),
        "uint32_t" | "u32" | "__u32" | "unsigned" => int(4, false),
        "uint64_t" | "u64" | "__u64" | "size_t" | "uintptr_t" => int(8, false),
        _ => None,
    }
}

impl Checker<'_, '_> {
    /// A type as written; `None` after a message.
    pub(super) fn written(&mut self, ty: &TypeExpr) -> Option<Written> {
        self.deeper(ty.loc, None, |c| c.written_within(ty))
    }

    /// A type that a declaration names.
    pub(crate) fn declared_type(&mut self, ty: &TypeExpr) -> Option<Type> {
        let written = self.written(ty)?;
        match written.ty.ty {
            // Text that a function takes or gives has as much room as text at an address.
            Type::Str(_) if written.open => Some(Type::Str(self.max_strlen())),
            _ => self.sized(ty).map(|t| t.ty),
        }
    }

    /// A type whose size must be known.
    pub(super) fn sized(&mut self, ty: &TypeExpr) -> Option<Ty> {
        let written = self.written(ty)?;
        if written.open && matches!(written.ty.ty, Type::Array(..)) {
            self.diags.error(Stage::Types, ty.loc, "Could not determine size of the array");
            return None;
        }
        Some(written.ty)
    }

    fn written_within(&mut self, ty: &TypeExpr) -> Option<Written> {
        let mut suffixes = ty.suffixes.as_slice();
        let mut base = match &ty.base {
            TypeBase::Name(name) if name == "string" || name == "buffer" => {
                let (capacity, rest) = self.capacity(suffixes, ty.loc)?;
                suffixes = rest;
                let open = capacity.is_none();
                let bytes = capacity.unwrap_or(0);
                Written {
                    ty: if name == "string" { Type::Str(bytes) } else { Type::Buf(bytes) }.into(),
                    open,
                }
            }
            TypeBase::Name(name) => Written { ty: self.named_type(name, ty.loc)?, open: false },
            TypeBase::Struct(name) => self.composite_type(Keyword::Struct, name, suffixes, ty.loc)?,
            TypeBase::Union(name) => self.composite_type(Keyword::Union, name, suffixes, ty.loc)?,
            TypeBase::Enum(name) => match self.db.enum_named(name) {
                Some(id) => Written { ty: Type::Enum(id).into(), open: false },
                None => {
                    self.diags.error(Stage::Check, ty.loc, format!("Unknown enum: {name}"));
                    return None;
                }
            },
            TypeBase::Typeof(of) => {
                let of = self.type_or_expr(of, ty.loc)?;
                Written { ty: of, open: false }
            }
            TypeBase::Tuple(elems) => {
                let elems: Option<Vec<Ty>> = elems.iter().map(|t| self.sized(t)).collect();
                Written { ty: Ty::tuple(elems?), open: false }
            }
        };
        for suffix in suffixes {
            base = match suffix {
                TypeSuffix::Ptr => Written { ty: base.ty.pointer(AddrSpace::None), open: false },
                TypeSuffix::Array(len) => {
                    let len = match len {
                        Some(e) => Some(self.array_length(e)?),
                        None => None,
                    };
                    let open = len.is_none();
                    Written { ty: Type::Array(Rc::new(base.ty.ty), len.unwrap_or(0)).into(), open }
                }
            };
        }
        Some(base)
    }

    fn array_length(&mut self, e: &ast::Expr) -> Option<u32> {
        match self.literal(e) {
            Some(super::Lit::Int(n)) if (0..=MAX_STRING).contains(&n) => Some(n as u32),
            _ => {
                let message = "The length of an array must be a literal that is not negative";
                self.diags.error(Stage::Types, e.loc, message);
                None
            }
        }
    }

    /// The capacity behind `string` or `buffer`.
    fn capacity<'a>(
        &mut self,
        suffixes: &'a [TypeSuffix],
        loc: Loc,
    ) -> Option<(Option<u32>, &'a [TypeSuffix])> {
        let [TypeSuffix::Array(Some(e)), rest @ ..] = suffixes else { return Some((None, suffixes)) };
        match self.literal(e) {
            Some(super::Lit::Int(n)) if (0..=MAX_STRING).contains(&n) => Some((Some(n as u32), rest)),
            Some(super::Lit::Int(n)) if n > MAX_STRING => {
                self.diags.error(
                    Stage::Types,
                    loc,
                    format!("String type is too long (over {MAX_STRING}): {n}"),
                );
                None
            }
            _ => {
                let message = "The capacity of a string must be a literal that is not negative";
                self.diags.error(Stage::Types, e.loc, message);
                None
            }
        }
    }

    fn named_type(&mut self, name: &str, loc: Loc) -> Option<Ty> {
        // Types of the script's C part hide those of the language.
        let ty = if self.db.is_own(name) { self.db.type_named(name) } else { builtin(name) };
        match ty.or_else(|| self.db.type_named(name)) {
            Some(ty) => Some(ty.into()),
            None => {
                self.unknown_type(name, loc);
                None
            }
        }
    }

    fn unknown_type(&mut self, text: &str, loc: Loc) {
        let mut note = Diagnostic::error(loc, format!("Cannot resolve unknown type \"{text}\""));
        if self.env.btf().is_none() {
            note = note
                .hint("This kernel has no type information (BTF); define the type in the script's C part.");
        }
        self.diags.push(Stage::Types, note);
    }

    fn composite_type(
        &mut self,
        keyword: Keyword,
        name: &str,
        suffixes: &[TypeSuffix],
        loc: Loc,
    ) -> Option<Written> {
        if let Some(id) = self.db.composite_named(keyword, name) {
            return Some(Written { ty: Type::Struct(id).into(), open: false });
        }
        let keyword = if keyword == Keyword::Union { "union" } else { "struct" };
        // The message shows the type without what follows its name, at the place of the name.
        let text = format!("{keyword} {name}");
        let _ = suffixes;
        self.unknown_type(&text, loc);
        None
    }

    /// The type that is meant by a type or by an expression. A bare name may turn out to be an expression.
    pub(super) fn type_or_expr(&mut self, of: &TypeOrExpr, loc: Loc) -> Option<Ty> {
        match of {
            TypeOrExpr::Expr(e) => self.type_of_operand(e),
            TypeOrExpr::Type(ty) => {
                if let (TypeBase::Name(name), []) = (&ty.base, ty.suffixes.as_slice()) {
                    let known = builtin(name).is_some()
                        || matches!(name.as_str(), "string" | "buffer")
                        || self.db.type_named(name).is_some();
                    if !known {
                        let e = ast::Expr { kind: ExprKind::Ident(name.clone()), loc: ty.loc };
                        return self.type_of_operand(&e);
                    }
                }
                let _ = loc;
                self.written(ty).map(|w| w.ty)
            }
        }
    }

    /// The type of an expression that is only asked about. A map with keys that is named without one stands for
    /// its key.
    fn type_of_operand(&mut self, e: &ast::Expr) -> Option<Ty> {
        if let ExprKind::Map { name, key: None, .. } = &e.kind
            && let Some(map) = self.maps.get(name.as_str())
            && map.keyed.or(map.was_keyed) == Some(true)
        {
            return map.key.clone();
        }
        let ex = self.type_of(e);
        (!ex.unknown).then(|| ex.ty())
    }

    pub(super) fn size_of(&mut self, of: &TypeOrExpr, loc: Loc) -> Ex {
        match self.type_or_expr(of, loc) {
            Some(ty) => {
                if let Type::Struct(id) = ty.ty {
                    self.db.fields(id);
                }
                // Scripts see a buffer without the padding behind it.
                let size = match ty.ty {
                    Type::Buf(capacity) => capacity.saturating_add(4),
                    ref other => self.db.size_of(other),
                };
                Ex::int(i128::from(size), loc)
            }
            None => Ex::failed(loc),
        }
    }

    pub(super) fn offset_of(&mut self, of: &TypeOrExpr, path: &[ast::Ident], loc: Loc) -> Ex {
        let Some(mut ty) = self.type_or_expr(of, loc).map(|t| t.ty) else { return Ex::failed(loc) };
        if let Type::Ptr(to, _) = ty {
            ty = (*to).clone();
        }
        let mut offset = 0u32;
        for name in path {
            let Type::Struct(id) = ty else {
                let message = format!("'{}' is no struct or union", self.db.show(&ty));
                return self.error(Stage::Types, loc, message);
            };
            let Some((_, field)) = self.db.field(id, &name.name) else {
                let message = format!("'{}' has no field named '{}'", self.db.show(&ty), name.name);
                return self.error(Stage::Types, loc, message);
            };
            offset = offset.saturating_add(field.offset);
            ty = field.ty;
        }
        Ex::int(i128::from(offset), loc)
    }

    /// `typeinfo(x)`: a record of what is known about a type.
    pub(super) fn type_info(&mut self, of: &TypeOrExpr, loc: Loc) -> Ex {
        if !self.unstable("typeinfo", "unstable_typeinfo", self.config.unstable_typeinfo, loc) {
            return Ex::unknown(loc);
        }
        let Some(ty) = self.type_or_expr(of, loc) else { return Ex::unknown(loc) };
        let id = match &ty.ty {
            Type::Struct(id) => match &self.db.structs.structs[*id].origin {
                crate::types::Origin::Kernel { id, .. } => *id,
                _ => 0,
            },
            _ => 0,
        };
        let full = self.db.show(&ty.ty);
        let base = super::class(&ty.ty);
        let fields = vec![
            ("btf_id".into(), Ex::int(i128::from(id), loc)),
            ("base_type".into(), Ex::str(base.as_bytes(), loc)),
            ("full_type".into(), Ex::str(full.as_bytes(), loc)),
        ];
        let ty = Ty::record(fields.iter().map(|(n, e): &(Rc<str>, Ex)| (n.clone(), e.ty())).collect());
        let elems = fields.into_iter().enumerate().map(|(i, (_, e))| (i as u32, e.e)).collect();
        Ex::typed(crate::hir::ExprKind::Record(elems), ty, loc)
    }
}
