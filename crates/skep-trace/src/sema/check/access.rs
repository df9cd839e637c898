//! Fields, elements of tuples, and elements of arrays.

use super::convert::cast;
use super::unary::in_space;
use super::{Checker, Ex};
use crate::hir::{self, BinOp, ExprKind as Hir};
use crate::sema::attach::suggest;
use crate::sema::diags::Stage;
use crate::sema::structs::tracepoint;
use crate::sema::ty::Ty;
use crate::syntax::ast;
use crate::types::{DataLoc, IntTy, Origin, StructId, Type};
use skep_ir::{Diagnostic, Loc};

impl Checker<'_, '_> {
    /// `e.name`, `e->name`
    pub(super) fn field(&mut self, base: &ast::Expr, name: &ast::Ident, loc: Loc) -> Ex {
        let base = self.expr(base);
        self.field_of(base, name, loc)
    }

    pub(super) fn field_of(&mut self, base: Ex, name: &ast::Ident, loc: Loc) -> Ex {
        let base = self.value(base);
        if base.unknown {
            return Ex { failed: base.failed, ..Ex::unknown(loc) };
        }
        let text = name.name.as_str();
        match &base.e.ty {
            Type::Ptr(to, _) if matches!(**to, Type::Struct(_)) => {
                let object = self.deref_object(base);
                self.field_of(object, name, loc)
            }
            Type::Struct(id) => self.struct_field(*id, base, text, loc),
            Type::Record(fields) => {
                let Some(index) = fields.iter().position(|(n, _)| **n == *text) else {
                    let message = format!("Record does not contain a field named '{text}'");
                    return self.error(Stage::Types, loc, message);
                };
                self.element_of(base, index, loc)
            }
            _ => {
                let message =
                    format!("Can not access field '{text}' on expression of type '{}'", self.show(&base));
                self.error(Stage::Types, loc, message)
            }
        }
    }

    /// The object that a pointer points to, as the base of a field: nothing is read yet.
    fn deref_object(&mut self, pointer: Ex) -> Ex {
        let loc = pointer.loc();
        let space = pointer.ty().space();
        match pointer.ty().pointee() {
            Some(to) => self.load(to, pointer.e, space, loc),
            None => Ex::unknown(loc),
        }
    }

    fn struct_field(&mut self, id: StructId, base: Ex, name: &str, loc: Loc) -> Ex {
        let record = self.db.structs.structs[id].origin == Origin::TracepointRecord;
        if record && tracepoint::is_common(name) {
            return self.error(Stage::Types, loc, "BPF does not support accessing common tracepoint fields");
        }
        let Some((index, field)) = self.db.field(id, name) else {
            let shown = self.db.show(&Type::Struct(id));
            let message = format!("Struct/union of type '{shown}' does not contain a field named '{name}'");
            let mut note = Diagnostic::error(loc, message);
            let fields = self.db.fields(id);
            let readable = fields.iter().map(|f| &*f.name).filter(|n| !record || !tracepoint::is_common(n));
            if let Some(near) = suggest::nearest(name, readable) {
                note = note.hint(format!("Did you mean {near}?"));
            }
            self.diags.push(Stage::Types, note);
            return Ex::unknown(loc);
        };
        let space = base.ty().space();
        let ty = match field.data_loc {
            DataLoc::Direct => in_space(field.ty.into(), space),
            // The data lie in the record, which is the kernel's whatever the tracepoint is about.
            _ => field.ty.into(),
        };
        Ex::typed(Hir::Field(Box::new(base.e), id, index), ty, loc)
    }

    /// `e.N`
    pub(super) fn tuple_index(&mut self, base: &ast::Expr, index: u64, loc: Loc) -> Ex {
        let base = self.expr(base);
        if base.unknown {
            return Ex { failed: base.failed, ..Ex::unknown(loc) };
        }
        if !matches!(base.e.ty, Type::Tuple(_)) {
            let message =
                format!("Can not access index '{index}' on expression of type '{}'", self.show(&base));
            self.diags.error(Stage::Check, loc, message);
            return Ex::failed(loc);
        }
        self.tuple_element(base, index, Stage::Check, loc)
    }

    fn tuple_element(&mut self, base: Ex, index: u64, stage: Stage, loc: Loc) -> Ex {
        let Type::Tuple(elems) = &base.e.ty else { return Ex::unknown(loc) };
        let count = elems.len();
        match usize::try_from(index).ok().filter(|&i| i < count) {
            Some(index) => self.element_of(base, index, loc),
            None => {
                let message = format!("Invalid tuple index: {index}. Found {count} elements in tuple.");
                self.diags.error(stage, loc, message);
                Ex::failed(loc)
            }
        }
    }

    fn element_of(&mut self, base: Ex, index: usize, loc: Loc) -> Ex {
        let Some(ty) = base.ty().element(index) else { return Ex::unknown(loc) };
        // A constant of a tuple that is written out is a constant.
        match &base.e.kind {
            Hir::Tuple(elems) if elems.iter().all(is_constant) => {
                if let Some(e) = elems.get(index) {
                    return constant(e, ty, loc);
                }
            }
            Hir::Record(elems) if elems.iter().all(|(_, e)| is_constant(e)) => {
                if let Some((_, e)) = elems.iter().find(|(i, _)| *i as usize == index) {
                    return constant(e, ty, loc);
                }
            }
            _ => {}
        }
        Ex::typed(Hir::Element(Box::new(base.e), index as u32), ty, loc)
    }

    /// `e[i]`
    pub(super) fn index(&mut self, base: &ast::Expr, index: &ast::Expr, loc: Loc) -> Ex {
        let base = self.expr(base);
        let index = self.expr(index);
        let base = self.value(base);
        let index = self.value(index);
        if base.unknown || index.unknown {
            return Ex::unknown(loc);
        }
        let known = index.lit_int();
        let number = matches!(index.e.ty, Type::Int(_)) && known.is_none_or(|n| n >= 0);
        match &base.e.ty {
            Type::Tuple(_) => match known.and_then(|n| u64::try_from(n).ok()) {
                Some(n) => self.tuple_element(base, n, Stage::Types, loc),
                None => {
                    let message = "Array-style access for tuples only valid for integer literals";
                    self.error(Stage::Check, loc, message)
                }
            },
            Type::Ptr(..) | Type::Array(..) | Type::Str(_) | Type::Buf(_) if !number => {
                let message = format!(
                    "The array index operator [] only accepts non-negative integer indices. Got: {}",
                    self.show(&index)
                );
                self.error(Stage::Check, loc, message)
            }
            Type::Ptr(to, _) if **to == Type::None => {
                let message =
                    "The array index operator [] cannot be used on a pointer to an unsized type (void *).";
                self.error(Stage::Check, loc, message)
            }
            Type::Ptr(..) => {
                let space = base.ty().space();
                let target = base.ty().pointee();
                let address = self.pointer_plus(BinOp::Add, base, index, loc);
                match target {
                    Some(target) if !address.unknown => self.load(target, address.e, space, loc),
                    _ => Ex::unknown(loc),
                }
            }
            Type::Array(elem, len) => {
                let elem = in_space(Ty::from((**elem).clone()), base.ty().space());
                // An array of no length is one that goes on behind its struct.
                let len = if *len == 0 { None } else { Some(*len) };
                self.array_element(base, index, known, len, elem, loc)
            }
            Type::Str(capacity) => {
                let (len, elem) = (*capacity, Ty::from(Type::int(1, true)));
                if let (Some(text), Some(n)) = (base.lit_str(), known)
                    && n < i128::from(len)
                {
                    let byte = usize::try_from(n).ok().and_then(|i| text.get(i)).copied().unwrap_or(0);
                    return Ex::int(i128::from(byte as i8), loc);
                }
                self.array_element(base, index, known, Some(len), elem, loc)
            }
            _ => {
                let message = format!(
                    "The array index operator [] can only be used on arrays, pointers, and tuples, found {}.",
                    self.show(&base)
                );
                self.error(Stage::Types, loc, message)
            }
        }
    }

    fn array_element(
        &mut self,
        base: Ex,
        index: Ex,
        known: Option<i128>,
        len: Option<u32>,
        elem: Ty,
        loc: Loc,
    ) -> Ex {
        if let (Some(n), Some(len)) = (known, len)
            && n >= i128::from(len)
        {
            let message = format!("the index {n} is out of bounds for array of size {len}");
            return self.error(Stage::Check, loc, message);
        }
        let index = match known {
            Some(n) => hir::Expr::new(Hir::Int(n as u64), Type::U64, index.e.loc),
            None => {
                let signed = matches!(index.e.ty, Type::Int(IntTy { signed: true, .. }));
                cast(index.e, if signed { &Type::I64 } else { &Type::U64 })
            }
        };
        Ex::typed(Hir::Index(Box::new(base.e), Box::new(index)), elem, loc)
    }
}

fn is_constant(e: &hir::Expr) -> bool {
    matches!(e.kind, Hir::Int(_) | Hir::Str(_))
}

/// A constant element, which is a literal again if its type is that of one.
fn constant(e: &hir::Expr, ty: Ty, loc: Loc) -> Ex {
    let flexible = ty.is_flexible();
    match (&e.kind, &ty.ty) {
        (Hir::Str(text), Type::Str(_)) => {
            let plain = Ex::str(text.as_slice(), loc);
            if plain.e.ty == ty.ty { plain } else { Ex::typed(e.kind.clone(), ty, loc) }
        }
        (Hir::Int(bits), Type::Int(_)) if flexible => Ex::int(i128::from(*bits), loc),
        (Hir::Int(bits), Type::Bool) => Ex::bool(*bits != 0, loc),
        _ => Ex::typed(e.kind.clone(), ty, loc),
    }
}
