//! Types: a parameter may stand for one.

use super::{Argument, Expander, Frame};
use crate::syntax::ast::{Expr, ExprKind, ParamKind, TypeBase, TypeExpr, TypeOrExpr};
use crate::syntax::visit;
use skep_ir::Diagnostic;

impl Expander<'_> {
    /// A type or an expression whose type is meant. The parser takes a bare name for a type; here it shows
    /// whether it is a parameter, a macro or a named constant.
    pub(super) fn type_or_expr(&mut self, operand: &mut TypeOrExpr, frame: Option<&Frame>) {
        let ty = match operand {
            TypeOrExpr::Expr(expr) => {
                self.expr(expr, frame);
                // The type of a type is that type.
                if let ExprKind::Typeof(inner) = &mut expr.kind {
                    *operand = std::mem::replace(inner, TypeOrExpr::Type(TypeExpr::unknown(expr.loc)));
                }
                return;
            }
            TypeOrExpr::Type(ty) => ty,
        };
        if let TypeBase::Name(name) = &ty.base
            && ty.suffixes.is_empty()
        {
            let loc = frame.map_or(ty.loc, |f| f.place(ty.loc));
            if let Some(Argument::Expr { expr, nodes, height }) =
                frame.and_then(|f| f.argument(ParamKind::Expr, name))
            {
                if self.is_spent(*nodes, *height, loc) {
                    return;
                }
                let given = self.argument_at(expr, loc);
                *operand = as_type_or_expr(given);
                return;
            }
            let name = name.clone();
            if let Some(meaning) = self.named(&name, loc, frame) {
                *operand = TypeOrExpr::Expr(Box::new(meaning));
                return;
            }
        }
        self.ty(ty, frame);
    }

    pub(super) fn ty(&mut self, ty: &mut TypeExpr, frame: Option<&Frame>) {
        if self.is_spent(1, 0, ty.loc) {
            return;
        }
        self.depth += 1;
        if let Some(frame) = frame {
            ty.loc = frame.place(ty.loc);
        }
        if let TypeBase::Typeof(operand) = &mut ty.base {
            self.type_or_expr(operand, frame);
        } else {
            self.type_name(ty, frame);
            visit::ty_mut(ty, &mut |part| self.part(part, frame));
        }
        self.depth -= 1;
    }

    /// A parameter as the base of a type.
    fn type_name(&mut self, ty: &mut TypeExpr, frame: Option<&Frame>) {
        let TypeBase::Name(name) = &ty.base else { return };
        let Some(frame) = frame else { return };
        let Some(Argument::Expr { expr, .. }) = frame.argument(ParamKind::Expr, name) else { return };
        match &expr.kind {
            ExprKind::Typeof(operand) => ty.base = TypeBase::Typeof(Box::new(operand.clone())),
            // A bare name may be that of a type.
            ExprKind::Ident(name) => ty.base = TypeBase::Name(name.clone()),
            _ => {
                let text = self.sources.text(ty.loc.span);
                let message = format!(
                    "Invalid replacement for macro '{}' type parameter '{name}' which makes up the type '{text}'",
                    frame.definition.source.name.name
                );
                let error = Diagnostic::error(expr.loc, message)
                    .context(ty.loc, "This is where it is used as a type.");
                self.error(error);
            }
        }
    }
}

impl TypeExpr {
    /// Stands for a type that was moved away.
    fn unknown(loc: skep_ir::Loc) -> TypeExpr {
        TypeExpr { base: TypeBase::Name(String::new()), suffixes: Vec::new(), loc }
    }
}

fn as_type_or_expr(given: Expr) -> TypeOrExpr {
    match given.kind {
        ExprKind::Typeof(operand) => operand,
        ExprKind::Ident(name) => {
            TypeOrExpr::Type(TypeExpr { base: TypeBase::Name(name), suffixes: Vec::new(), loc: given.loc })
        }
        kind => TypeOrExpr::Expr(Box::new(Expr { kind, loc: given.loc })),
    }
}
