//! Operators with one operand.

use super::convert::cast;
use super::{Checker, Ex, Lit, fold};
use crate::hir::{self, ExprKind as Hir};
use crate::sema::diags::Stage;
use crate::sema::ty::{Traits, Ty};
use crate::syntax::ast::{self, ExprKind, UnaryOp};
use crate::types::{AddrSpace, IntTy, Type};
use skep_ir::Loc;

impl Checker<'_, '_> {
    pub(super) fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, loc: Loc) -> Ex {
        match op {
            UnaryOp::AddrOf => return self.address_of(operand, loc),
            UnaryOp::Deref => {
                let pointer = self.expr(operand);
                return self.deref(pointer, loc);
            }
            UnaryOp::Neg | UnaryOp::BitNot | UnaryOp::Not => {}
        }
        let ex = self.expr(operand);
        if let Some(lit) = &ex.lit {
            match fold::unary(op, lit) {
                Ok(Some(Lit::Int(n))) => return Ex::int(n, loc),
                Ok(Some(Lit::Bool(b))) => return Ex::bool(b, loc),
                Ok(_) => {}
                Err(e) => return self.error(Stage::Fold, loc, e.message()),
            }
        }
        if ex.unknown {
            return Ex::unknown(loc);
        }
        match (op, &ex.e.ty) {
            (UnaryOp::Neg, Type::Int(_) | Type::Enum(_)) => self.negate(ex, loc),
            (UnaryOp::BitNot, Type::Int(int)) => {
                let to = Type::Int(wide(*int));
                Ex::new(Hir::BitNot(Box::new(cast(ex.e, &to))), to, loc)
            }
            (UnaryOp::Not, _) => match self.truth_value(ex) {
                Ok(truth) => Ex::new(Hir::Not(Box::new(truth)), Type::Bool, loc),
                Err(ex) => self.unsuitable(op, &ex, loc),
            },
            _ => self.unsuitable(op, &ex, loc),
        }
    }

    fn unsuitable(&mut self, op: UnaryOp, ex: &Ex, loc: Loc) -> Ex {
        if ex.unknown {
            return Ex::unknown(loc);
        }
        let sign = match op {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
            UnaryOp::BitNot => "~",
            UnaryOp::Deref => "*",
            UnaryOp::AddrOf => "&",
        };
        let message =
            format!("The {sign} operator can not be used on expressions of type '{}'", self.show(ex));
        self.error(Stage::Types, loc, message)
    }

    /// A negative number is a signed one, unless the operand is unsigned for certain.
    fn negate(&mut self, ex: Ex, loc: Loc) -> Ex {
        let int = ex.ty().as_int().unwrap_or(IntTy { bytes: 8, signed: true });
        let to = Type::Int(wide(int));
        Ex::new(Hir::Neg(Box::new(cast(ex.e, &to))), to, loc)
    }

    fn address_of(&mut self, operand: &ast::Expr, loc: Loc) -> Ex {
        match &operand.kind {
            ExprKind::Var(name) => {
                let Some(visible) = self.scopes.find(name).cloned() else {
                    let message = format!("Undefined or undeclared variable: ${name}");
                    return self.error(Stage::Calls, operand.loc, message);
                };
                // Whoever has the address may write.
                self.vars.entry(visible.key).or_default().assigned = true;
                match self.var_type(visible.key) {
                    Some(ty) => Ex::typed(Hir::LocalAddr(visible.local), ty.pointer(AddrSpace::Kernel), loc),
                    None => {
                        let message = format!("No type available for variable ${name}");
                        self.error(Stage::Check, operand.loc, message)
                    }
                }
            }
            ExprKind::Map { name, key, .. } => {
                let Some((map, key)) = self.map_access(name, key.as_deref(), operand.loc) else {
                    return Ex::unknown(loc);
                };
                match self.maps.get(name.as_str()).and_then(|m| m.value.clone()) {
                    Some(ty) => {
                        Ex::typed(Hir::MapAddr(map, key.map(Box::new)), ty.pointer(AddrSpace::Kernel), loc)
                    }
                    None => self.undefined_map(name, operand.loc),
                }
            }
            _ => {
                let message = "address-of operator (&) can only be used on a map or variable";
                self.error(Stage::Calls, operand.loc, message)
            }
        }
    }

    /// What a pointer points to. A number is taken for the address of an unsigned 64-bit one.
    pub(crate) fn deref(&mut self, pointer: Ex, loc: Loc) -> Ex {
        let pointer = self.value(pointer);
        if pointer.unknown {
            return Ex::unknown(loc);
        }
        let space = pointer.ty().space();
        let (target, address) = match &pointer.e.ty {
            Type::Ptr(to, _) if **to == Type::None => {
                let message =
                    "Can not dereference a pointer to void; cast it to a pointer to something first.";
                return self.error(Stage::Check, loc, message);
            }
            Type::Ptr(..) => match pointer.ty().pointee() {
                Some(to) => (to, pointer.e),
                None => return Ex::unknown(loc),
            },
            Type::Int(_) => {
                let to = Ty::from(Type::U64);
                let ty = to.clone().pointer(space).ty;
                (to, cast(cast(pointer.e, &Type::U64), &ty))
            }
            _ => {
                let what = self.show(&pointer);
                let message = match &pointer.e.ty {
                    Type::Struct(_) => {
                        format!("Can not dereference struct/union of type '{what}'. It is not a pointer.")
                    }
                    _ => format!("Can not dereference type '{what}'. It is not a pointer."),
                };
                return self.error(Stage::Types, loc, message);
            }
        };
        self.load(target, address, space, loc)
    }

    /// What lies at an address, as a value that remembers whose memory it came from.
    pub(crate) fn load(&mut self, target: Ty, address: hir::Expr, space: AddrSpace, loc: Loc) -> Ex {
        if space == AddrSpace::None {
            self.unknown_space();
        }
        let ty = in_space(target, space);
        Ex::typed(Hir::Deref(Box::new(address)), ty, loc)
    }
}

/// A value that was read from memory of an address space: pointers and numbers in it are taken for addresses of
/// the same memory, unless the type says otherwise.
pub(crate) fn in_space(ty: Ty, space: AddrSpace) -> Ty {
    match ty.ty {
        Type::Ptr(to, AddrSpace::None) => Ty { ty: Type::Ptr(to, space), traits: ty.traits },
        Type::Int(_) | Type::Struct(_) | Type::Array(..) => {
            let flexible = ty.traits.is_flexible();
            Ty { ty: ty.ty, traits: Traits::leaf(flexible, space) }
        }
        _ => ty,
    }
}

fn wide(int: IntTy) -> IntTy {
    IntTy { bytes: 8, signed: int.signed }
}
