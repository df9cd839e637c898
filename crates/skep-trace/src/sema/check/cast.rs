//! Explicit conversions.

use super::convert::{cast, mask};
use super::{Checker, Ex, fold};
use crate::hir::{self, Builtin, ExprKind as Hir};
use crate::sema::diags::Stage;
use crate::sema::ty::{Traits, Ty};
use crate::syntax::ast::{self, TypeBase, TypeExpr};
use crate::types::{AddrSpace, IntTy, Type};
use skep_ir::{Loc, Span};
use std::rc::Rc;

impl Checker<'_, '_> {
    pub(super) fn cast(&mut self, ty: &TypeExpr, operand: &ast::Expr, loc: Loc) -> Ex {
        let ex = self.expr(operand);
        // Messages point at the parentheses and what is in them.
        let at = Loc { span: Span { hi: operand.loc.span.lo.max(loc.span.lo), ..loc.span }, ..loc };
        let at = if operand.loc.expansion == loc.expansion && operand.loc.span.file == loc.span.file {
            at
        } else {
            loc
        };
        if let (TypeBase::Enum(name), []) = (&ty.base, ty.suffixes.as_slice())
            && self.db.enum_named(name).is_none()
        {
            return self.error(Stage::Check, at, format!("Unknown enum: {name}"));
        }
        let Some(written) = self.written(ty) else { return Ex::unknown(loc) };
        // Of collected numbers only those that read as one are anything but collected numbers.
        let ex = self.value(ex);
        if ex.unknown {
            return Ex::unknown(loc);
        }
        let (to, open) = (written.ty, written.open);
        let plain = ex.lit.is_some() || matches!(ex.e.kind, Hir::Local(_));
        if plain && !open && same_type(&ex.e.ty, &to.ty) && !is_library(self, at) {
            let message = format!("Unnecessary cast: expression is already of type {}", self.show(&ex));
            self.diags.warn(Stage::Check, at, message);
        }
        let out = match (&ex.e.ty, &to.ty) {
            (_, Type::Bool) => self.bool_of(ex.clone()),
            (Type::Array(..), Type::Array(to_elem, len)) => {
                let len = if open { self.open_length(&ex.e.ty, to_elem) } else { Some(*len) };
                let same = len
                    .is_some_and(|n| self.db.size_of(&ex.e.ty) == self.db.size_of(to_elem).saturating_mul(n));
                same.then(|| {
                    let to = Type::Array(to_elem.clone(), len.unwrap_or(0));
                    Ex::new(cast(ex.e.clone(), &to).kind, to, loc)
                })
            }
            (
                Type::Int(_) | Type::Bool | Type::Enum(_) | Type::Str(_) | Type::Buf(_),
                Type::Array(elem, len),
            ) => {
                return self.array_of(ex, elem, (!open).then_some(*len), at, loc);
            }
            (_, Type::Int(int)) => self.int_of(&ex, *int, loc),
            (Type::Int(_) | Type::Ptr(..) | Type::Array(..), Type::Ptr(pointee, _)) => {
                Some(self.pointer_of(ex.clone(), pointee, loc))
            }
            (Type::Int(_) | Type::Enum(_), Type::Enum(id)) => {
                if let Some(value) = ex.lit_int() {
                    let def = &self.db.structs.enums[*id];
                    if !def.variants.iter().any(|(_, v)| i128::from(*v) == value) {
                        let name = def.name.strip_prefix("enum ").unwrap_or(&def.name);
                        let message = format!("Enum: {name} doesn't contain a variant value of {value}");
                        return self.error(Stage::Check, at, message);
                    }
                    let kind = Hir::Int(mask(value, def.repr));
                    return Ex::new(kind, to.ty, loc);
                }
                Some(Ex::new(cast(ex.e.clone(), &to.ty).kind, to.ty.clone(), loc))
            }
            (Type::Str(from), Type::Str(capacity)) if open || from <= capacity => {
                let to = if open { Type::Str(*from) } else { to.ty.clone() };
                let kind = match (&ex.lit, ex.e.kind.clone()) {
                    (Some(_), Hir::Str(text)) => Hir::Str(text),
                    _ => cast(ex.e.clone(), &to).kind,
                };
                Some(Ex { lit: ex.lit.clone(), ..Ex::new(kind, to, loc) })
            }
            (Type::Buf(from), Type::Buf(capacity)) if open || from <= capacity => {
                let to = if open { Type::Buf(*from) } else { to.ty.clone() };
                Some(Ex::new(cast(ex.e.clone(), &to).kind, to, loc))
            }
            (Type::Int(_), Type::Username | Type::KSym) => {
                let number = cast(ex.e.clone(), &Type::U64);
                Some(Ex::new(Hir::Cast(Box::new(number)), to.ty.clone(), loc))
            }
            (Type::Ptr(..), Type::KSym) => {
                Some(Ex::new(Hir::Cast(Box::new(ex.e.clone())), to.ty.clone(), loc))
            }
            (from, to) if from == to => Some(Ex { e: hir::Expr { loc, ..ex.e.clone() }, ..ex.clone() }),
            (Type::Tuple(_), Type::Tuple(_)) | (Type::Record(_), Type::Record(_))
                if crate::sema::ty::merge(&to, &ex.ty()).is_some_and(|m| m.ty == to.ty) =>
            {
                let e = self.convert(ex.clone(), &to.ty);
                Some(Ex::typed(e.kind, to.clone(), loc))
            }
            _ => None,
        };
        out.unwrap_or_else(|| {
            let shown = match (&to.ty, open) {
                (Type::Str(_), true) => "string".to_owned(),
                (Type::Buf(_), true) => "buffer".to_owned(),
                (ty, _) => self.db.show(ty),
            };
            let message = format!("Cannot cast from \"{}\" to \"{shown}\"", self.show(&ex));
            self.error(Stage::Check, at, message)
        })
    }

    fn bool_of(&mut self, ex: Ex) -> Option<Ex> {
        let loc = ex.loc();
        if let Some(lit) = &ex.lit {
            return Some(Ex::bool(fold::truth(lit), loc));
        }
        self.truth_value(ex).ok().map(|e| Ex::new(e.kind, Type::Bool, loc))
    }

    fn int_of(&mut self, ex: &Ex, to: IntTy, loc: Loc) -> Option<Ex> {
        let ty = Type::Int(to);
        let space = ex.ty().space();
        let traits = Traits::address(space);
        let typed = |kind| Some(Ex::typed(kind, Ty { ty: ty.clone(), traits: traits.clone() }, loc));
        match &ex.e.ty {
            Type::Int(_) => match ex.lit_int() {
                Some(n) => typed(Hir::Int(mask(n, to))),
                None => typed(cast(ex.e.clone(), &ty).kind),
            },
            Type::Bool => match &ex.lit {
                Some(lit) => typed(Hir::Int(u64::from(fold::truth(lit)))),
                None => typed(cast(ex.e.clone(), &ty).kind),
            },
            Type::Enum(_) | Type::Ptr(..) => {
                let number = cast(ex.e.clone(), &Type::U64);
                typed(cast(number, &ty).kind)
            }
            Type::KSym | Type::Username => typed(cast(cast(ex.e.clone(), &Type::U64), &ty).kind),
            Type::Array(elem, _) if matches!(**elem, Type::Int(_) | Type::Bool) => {
                let same = self.db.size_of(&ex.e.ty) == u32::from(to.bytes);
                if same { typed(cast(ex.e.clone(), &ty).kind) } else { None }
            }
            _ => None,
        }
    }

    /// The number of elements of an array without a length that takes in all of a value.
    fn open_length(&mut self, from: &Type, elem: &Type) -> Option<u32> {
        let (size, step) = (self.db.size_of(from), self.db.size_of(elem).max(1));
        size.is_multiple_of(step).then_some(size / step)
    }

    /// The bytes of an integer or of text as an array.
    fn array_of(&mut self, ex: Ex, elem: &Rc<Type>, len: Option<u32>, at: Loc, loc: Loc) -> Ex {
        if !matches!(**elem, Type::Int(_) | Type::Bool) {
            let to = Type::Array(elem.clone(), len.unwrap_or(0));
            let message = format!("Cannot cast from \"{}\" to \"{}\"", self.show(&ex), self.db.show(&to));
            return self.error(Stage::Check, at, message);
        }
        let step = self.db.size_of(elem).max(1);
        // A constant is as wide as the array wants it, if it fits.
        let value = match (len, ex.lit_int()) {
            (Some(len), Some(n)) => {
                let bytes = len.saturating_mul(step);
                let wide =
                    [1u32, 2, 4, 8].contains(&bytes).then_some(IntTy { bytes: bytes as u8, signed: n < 0 });
                match wide {
                    Some(int) if super::convert::literal_fits(n, int) || bytes == 8 => {
                        let ty = Type::Int(int);
                        Ex::new(Hir::Int(mask(n, int)), ty, ex.loc())
                    }
                    _ => ex,
                }
            }
            _ => ex,
        };
        let size = match &value.e.ty {
            Type::Buf(capacity) => *capacity,
            ty => self.db.size_of(ty),
        };
        let fitting = match len {
            Some(len) => (len.saturating_mul(step) == size).then_some(len),
            None => size.is_multiple_of(step).then_some(size / step),
        };
        let Some(len) = fitting else {
            let message = match len {
                None => {
                    "Cannot determine array size: the element size is incompatible with the cast integer size"
                        .to_owned()
                }
                Some(len) => {
                    let to = Type::Array(elem.clone(), len);
                    format!("Cannot cast from \"{}\" to \"{}\"", self.show(&value), self.db.show(&to))
                }
            };
            return self.error(Stage::Check, at, message);
        };
        let to = Type::Array(elem.clone(), len);
        Ex::new(cast(value.e, &to).kind, to, loc)
    }

    /// Whether a conversion asks for what the entry of a system call really gets: a pointer to the registers.
    fn means_registers(&self, ex: &Ex, pointee: &Type) -> bool {
        let Type::Struct(id) = pointee else { return false };
        let entry = self.place.probe.as_ref().is_some_and(|p| p.syscall);
        entry
            && matches!(ex.e.kind, Hir::Builtin(Builtin::Arg(0)))
            && self.db.structs.structs[*id].name == "struct pt_regs"
    }

    fn pointer_of(&mut self, ex: Ex, pointee: &Rc<Type>, loc: Loc) -> Ex {
        // A number out of nowhere is an address of whatever the probe looks at.
        let space = match ex.ty().space() {
            _ if self.means_registers(&ex, pointee) => AddrSpace::Kernel,
            AddrSpace::None => self.default_space(),
            known => known,
        };
        let ty = Ty { ty: Type::Ptr(pointee.clone(), space), traits: Traits::PLAIN };
        let from = match &ex.e.ty {
            Type::Int(_) => match ex.lit_int() {
                Some(n) => return Ex::typed(Hir::Int(n as u64), ty, loc),
                None => cast(ex.e, &Type::U64),
            },
            _ => ex.e,
        };
        Ex::typed(cast(from, &ty.ty).kind, ty, loc)
    }
}

/// Whether a conversion between two types changes nothing; whose memory a pointer points to does not count.
fn same_type(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Ptr(x, _), Type::Ptr(y, _)) => x == y,
        _ => a == b,
    }
}

/// Whether code comes from the built-in library, where careful casts are no mistake of the user.
fn is_library(c: &Checker<'_, '_>, loc: Loc) -> bool {
    c.sources.file(loc.span.file).name.starts_with(crate::stdlib::PREFIX)
}
