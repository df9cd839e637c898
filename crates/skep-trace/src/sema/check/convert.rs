//! Implicit conversions, written out.

use super::{Checker, Ex, Lit};
use crate::hir::{self, ExprKind, StmtKind};
use crate::sema::diags::Stage;
use crate::sema::ty::{Ty, agg_reads_as, int_fits};
use crate::types::{IntTy, Type};
use skep_ir::Feature;
use std::rc::Rc;

/// Whether a number is a value of an integer type.
pub(crate) fn literal_fits(value: i128, to: IntTy) -> bool {
    let bits = u32::from(to.bytes) * 8;
    if to.signed {
        let limit = 1i128 << (bits - 1);
        (-limit..limit).contains(&value)
    } else {
        (0..1i128 << bits).contains(&value)
    }
}

impl Checker<'_, '_> {
    /// The value of an expression where collected numbers count as the integer that they amount to.
    pub(crate) fn value(&mut self, ex: Ex) -> Ex {
        let Type::Agg(agg) = ex.e.ty else { return ex };
        let Some(signed) = agg_reads_as(agg) else { return ex };
        let loc = ex.loc();
        if !self.needs(Feature::LookupPercpuElem, loc, "Reading a number that each CPU collects") {
            return Ex::unknown(loc);
        }
        Ex::new(ex.e.kind, Type::Int(IntTy { bytes: 8, signed }), loc)
    }

    /// Converts an expression to a type that it merges into. Warns where an integer may lose its value.
    pub(crate) fn convert(&mut self, ex: Ex, to: &Type) -> hir::Expr {
        if ex.unknown || ex.e.ty == *to {
            return ex.e;
        }
        let ex = self.value(ex);
        if let (Type::Int(to_int), Some(from)) = (to, ex.ty().as_int()) {
            return self.convert_int(ex, from, *to_int);
        }
        let loc = ex.loc();
        match (&ex.e.ty, to) {
            // A constant just has more room.
            (Type::Str(_), Type::Str(_)) if ex.lit.is_some() => hir::Expr { ty: to.clone(), ..ex.e },
            (Type::Tuple(_), Type::Tuple(types)) => match ex.e.kind {
                ExprKind::Tuple(elems) => {
                    let parts = elems.into_iter().zip(types.iter()).enumerate();
                    let parts: Vec<_> = parts
                        .map(|(i, (e, to))| {
                            let part = part_of(e, &ex.traits.part(i));
                            self.convert(part, to)
                        })
                        .collect();
                    hir::Expr::new(ExprKind::Tuple(parts), to.clone(), loc)
                }
                kind => cast(hir::Expr { kind, ..ex.e }, to),
            },
            (Type::Record(from), Type::Record(fields)) => {
                let from = from.clone();
                self.convert_record(ex, &from, fields, to)
            }
            _ => cast(ex.e, to),
        }
    }

    fn convert_int(&mut self, ex: Ex, from: IntTy, to: IntTy) -> hir::Expr {
        let loc = ex.loc();
        if let Some(Lit::Int(value)) = ex.lit
            && literal_fits(value, to)
        {
            return hir::Expr::new(ExprKind::Int(mask(value, to)), Type::Int(to), loc);
        }
        // What a map collects is a number of its own kind, not one that somebody chose the width of.
        let collected = match ex.e.kind {
            ExprKind::Map(id, _) => {
                self.maps.values().any(|m| m.id == id && m.value.as_ref().is_some_and(|v| v.ty.is_agg()))
            }
            _ => false,
        };
        let is_int = matches!(ex.e.ty, Type::Int(_));
        if is_int && !collected && !int_fits(from, ex.traits.is_flexible(), to) {
            let message = format!(
                "Expression of type: {} being cast to type: {}. This may cause unexpected results. Use an explicit \
                 cast to suppress this warning.",
                self.show(&ex),
                self.db.show(&Type::Int(to))
            );
            self.diags.warn(Stage::Check, loc, message);
        }
        cast(ex.e, &Type::Int(to))
    }

    fn convert_record(
        &mut self,
        ex: Ex,
        from: &Rc<[(Rc<str>, Type)]>,
        fields: &Rc<[(Rc<str>, Type)]>,
        to: &Type,
    ) -> hir::Expr {
        let loc = ex.loc();
        let place = |name: &str| fields.iter().position(|(n, _)| **n == *name).unwrap_or(0);
        if let ExprKind::Record(elems) = ex.e.kind {
            let elems: Vec<_> = elems
                .into_iter()
                .map(|(i, e)| {
                    let at = place(&from[i as usize].0);
                    let part = part_of(e, &ex.traits.part(i as usize));
                    (at as u32, self.convert(part, &fields[at].1))
                })
                .collect();
            return hir::Expr::new(ExprKind::Record(elems), to.clone(), loc);
        }
        let same_order = from.iter().zip(fields.iter()).all(|((a, _), (b, _))| a == b);
        if same_order {
            return cast(ex.e, to);
        }
        // The record is computed once, then its elements change places.
        let whole = self.temporary(ex.e.ty.clone(), loc);
        let whole_ty = ex.e.ty.clone();
        let elems = from.iter().enumerate().map(|(i, (name, ty))| {
            let at = place(name);
            let local = hir::Expr::new(ExprKind::Local(whole), whole_ty.clone(), loc);
            let element = hir::Expr::new(ExprKind::Element(Box::new(local), i as u32), ty.clone(), loc);
            let part = part_of(element, &ex.traits.part(i));
            (at as u32, self.convert(part, &fields[at].1))
        });
        let elems: Vec<_> = elems.collect();
        let record = hir::Expr::new(ExprKind::Record(elems), to.clone(), loc);
        let set = hir::Stmt { kind: StmtKind::SetLocal(whole, ex.e), loc };
        hir::Expr::new(ExprKind::Block(vec![set], Box::new(record)), to.clone(), loc)
    }

    /// Whether a value can go where a fixed type is wanted: integers always can unless they are literals that do
    /// not fit; anything else must merge into the type without changing it.
    pub(crate) fn suits(&self, ex: &Ex, to: &Ty) -> bool {
        match (&ex.e.ty, &to.ty) {
            (Type::Int(_), Type::Int(int)) => ex.lit_int().is_none_or(|n| literal_fits(n, *int)),
            (Type::Enum(_), Type::Int(_)) => true,
            // Whose memory it points to is not written.
            (Type::Ptr(x, _), Type::Ptr(y, _)) => x == y,
            (Type::Agg(agg), Type::Int(_)) => agg_reads_as(*agg).is_some(),
            (Type::Str(from), Type::Str(to)) | (Type::Buf(from), Type::Buf(to)) => from <= to,
            _ => crate::sema::ty::merge(to, &ex.ty()).is_some_and(|merged| merged.ty == to.ty),
        }
    }

    /// Any integer, truth value or enumeration as an unsigned number of 64 bits; pointers as their address.
    pub(crate) fn as_u64(&mut self, ex: Ex) -> hir::Expr {
        match ex.lit {
            Some(Lit::Int(n)) => hir::Expr::new(ExprKind::Int(n as u64), Type::U64, ex.e.loc),
            _ => {
                let ex = self.value(ex);
                cast(ex.e, &Type::U64)
            }
        }
    }

    /// Any integer as a signed number of 64 bits.
    pub(crate) fn as_i64(&mut self, ex: Ex) -> hir::Expr {
        match ex.lit {
            Some(Lit::Int(n)) => hir::Expr::new(ExprKind::Int(n as u64), Type::I64, ex.e.loc),
            _ => {
                let ex = self.value(ex);
                cast(ex.e, &Type::I64)
            }
        }
    }
}

/// An element of a tuple or record that is written out, as an expression of its own.
fn part_of(e: hir::Expr, traits: &crate::sema::ty::Traits) -> Ex {
    let lit = match (&e.kind, &e.ty) {
        (ExprKind::Int(bits), Type::Int(int)) => {
            let shift = 128 - u32::from(int.bytes) * 8;
            let value = i128::from(*bits) << shift;
            Some(Lit::Int(if int.signed { value >> shift } else { (value as u128 >> shift) as i128 }))
        }
        (ExprKind::Str(text), Type::Str(_)) => Some(Lit::Str(text.as_slice().into())),
        _ => None,
    };
    Ex { e, traits: traits.clone(), lit, unknown: false, failed: false }
}

/// The bits of a number in an integer type.
pub(crate) fn mask(value: i128, ty: IntTy) -> u64 {
    let bits = u32::from(ty.bytes) * 8;
    let low = value as u64;
    if bits == 64 { low } else { low & ((1u64 << bits) - 1) }
}

/// A conversion, unless the type is right already.
pub(crate) fn cast(e: hir::Expr, to: &Type) -> hir::Expr {
    if e.ty == *to {
        return e;
    }
    let loc = e.loc;
    hir::Expr::new(ExprKind::Cast(Box::new(e)), to.clone(), loc)
}
