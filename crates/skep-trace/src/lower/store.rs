//! Writing values to where they belong.

use super::function::{Element, Fx, Variable};
use super::maps::is_loose;
use super::place::Src;
use crate::hir::{Builtin, Expr, ExprKind, MapRef};
use crate::types::{AggTy, Type};
use skep_ir::inst::InstKind;
use skep_ir::types::PtrClass;
use skep_ir::{Loc, Ty, Value};

/// What is written besides the value itself: padding, and bytes behind the end of a string.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// All bytes are written; what is not value is zero.
    Exact,
    /// All bytes are zero already.
    Zeroed,
    /// All bytes are written so that they may be read, whatever they are: a variable that holds a long string.
    Written,
    /// Whatever is there may stay: a record, whose reader knows where values end.
    Loose,
}

impl Fill {
    /// Whether what is not value must be zero.
    pub(super) fn is_clean(self) -> bool {
        matches!(self, Fill::Exact | Fill::Zeroed)
    }
}

/// A destination.
#[derive(Copy, Clone, Debug)]
pub(super) struct Dest {
    /// A pointer of a memory class, aligned to 8 bytes.
    pub(super) ptr: Value,
    /// Bytes behind it.
    pub(super) off: i32,
    /// What to do about the rest.
    pub(super) fill: Fill,
}

impl Dest {
    /// The destination of a part.
    pub(super) fn at(self, off: u32) -> Dest {
        Dest { off: self.off + off as i32, ..self }
    }
}

impl<'p> Fx<'_, 'p> {
    /// Address of a destination.
    pub(super) fn dest_ptr(&mut self, to: Dest) -> Value {
        self.b.ptr_add(to.ptr, to.off)
    }

    /// What a variable or map value of a type is to be filled with.
    pub(super) fn fill_of(ty: &Type) -> Fill {
        if is_loose(ty) { Fill::Written } else { Fill::Exact }
    }

    /// Writes zeros over a destination that may have anything in it.
    pub(super) fn clear(&mut self, to: Dest, size: u32) {
        if to.fill != Fill::Zeroed {
            let ptr = self.dest_ptr(to);
            self.fill_bytes(ptr, 0, size);
        }
    }

    /// Makes sure that what is not value in a destination of so many bytes is zero, if it must be.
    pub(super) fn prepare(&mut self, to: Dest, size: u32) {
        if to.fill == Fill::Exact {
            let ptr = self.dest_ptr(to);
            self.fill_bytes(ptr, 0, size);
        }
    }

    /// Evaluates an expression and writes its value.
    pub(super) fn put(&mut self, e: &'p Expr, to: Dest) {
        self.at(e.loc, |f| f.put_here(e, to));
    }

    fn put_here(&mut self, e: &'p Expr, to: Dest) {
        if e.ty.is_scalar() {
            let value = self.scalar(e);
            self.put_scalar(value, &e.ty, to);
            return;
        }
        let size = self.unit.size(&e.ty);
        match &e.kind {
            ExprKind::Str(text) => self.put_text(text, size, to),
            ExprKind::Int(_) => self.clear(to, size),
            ExprKind::Tuple(elems) => {
                let offsets = (0..).map(|n| self.element_offset(&e.ty, n));
                let parts: Vec<_> = elems.iter().zip(offsets).collect();
                self.put_parts(&parts, size, to);
            }
            ExprKind::Record(elems) => {
                let parts: Vec<_> =
                    elems.iter().map(|(n, part)| (part, self.element_offset(&e.ty, *n))).collect();
                self.put_parts(&parts, size, to);
            }
            ExprKind::Ternary(cond, a, b) => {
                let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
                self.branch(cond, yes, no);
                for (block, arm) in [(yes, a), (no, b)] {
                    self.b.switch_to(block);
                    self.scoped(|f| f.put(arm, to));
                    self.jump(join, None);
                }
                self.b.switch_to(join);
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.put(value, to);
            }
            ExprKind::Cast(inner) => self.put_cast(inner, e, to),
            ExprKind::Call(func, args) => self.call_into(e, func, args, to),
            ExprKind::Builtin(builtin) => self.put_builtin(builtin, e, to),
            ExprKind::Subprog(id, args) => self.call_subprog_into(*id, args, to, e),
            ExprKind::Map(map, key) if e.ty.is_agg() => {
                self.put_collected(*map, key.as_deref(), &e.ty, to, e.loc);
            }
            ExprKind::Local(id) => match self.variables.get(id).cloned() {
                Some(Variable::Pair { key, value }) => self.put_pair(&key, &value, &e.ty, to, e.loc),
                _ => self.put_located(e, to, size),
            },
            _ => self.put_located(e, to, size),
        }
    }

    /// Copies what lies somewhere; zeros where a pointer on the way is null.
    fn put_located(&mut self, e: &'p Expr, to: Dest, size: u32) {
        self.or_else(
            |f| {
                let place = f.locate(e);
                f.copy(&place, &e.ty, to, e.loc);
            },
            |f| match (to.fill, &e.ty) {
                // A reader of a record stops at the NUL.
                (Fill::Loose, Type::Str(_)) => f.put_text(b"", size, to),
                _ => f.clear(to, size),
            },
        );
    }

    /// Writes a scalar in the width of its type.
    pub(super) fn put_scalar(&mut self, value: Value, ty: &Type, to: Dest) {
        if self.b.func.ty(value) == Ty::I1 {
            let value = self.b.resize(value, Ty::I8, false);
            self.b.store(to.ptr, to.off, value);
            return;
        }
        let value = self.number(value);
        self.store_bytes(to.ptr, to.off, value, self.unit.size(ty).clamp(1, 8));
    }

    /// A scalar as an `i64`, whatever it is to the IR.
    pub(super) fn number(&mut self, value: Value) -> Value {
        let Ty::Ptr(ptr) = self.b.func.ty(value) else {
            return self.b.resize(value, Ty::I64, false);
        };
        let plain =
            matches!(ptr.class, PtrClass::KernelUntrusted(_) | PtrClass::KernelRaw(_) | PtrClass::User(_));
        if plain || !ptr.nullable {
            return self.b.value(InstKind::PtrToInt(value), Ty::I64);
        }
        // Only a pointer that is known not to be null is a number to the verifier.
        let null = self.b.value(InstKind::IsNull(value), Ty::I1);
        self.choose(
            null,
            Ty::I64,
            |f| f.b.i64(0),
            |f| {
                let value = f.b.non_null(value);
                f.b.value(InstKind::PtrToInt(value), Ty::I64)
            },
        )
    }

    /// Writes a constant string.
    pub(super) fn put_text(&mut self, text: &[u8], size: u32, to: Dest) {
        let text = text[..text.len().min(size as usize)].to_vec();
        let with_nul = (text.len() as u32 + 1).min(size);
        let cap = match to.fill {
            Fill::Exact | Fill::Written => size,
            Fill::Loose => with_nul,
            Fill::Zeroed => text.len() as u32,
        };
        if cap > 0 {
            let dst = self.dest_ptr(to);
            self.b.inst(InstKind::StrConst { dst, text, cap }, None);
        }
    }

    fn put_parts(&mut self, parts: &[(&'p Expr, u32)], size: u32, to: Dest) {
        let bytes: u32 = parts.iter().map(|(part, _)| self.unit.size(&part.ty)).sum();
        let to = if bytes < size && to.fill == Fill::Exact {
            self.prepare(to, size);
            Dest { fill: Fill::Zeroed, ..to }
        } else {
            to
        };
        for (part, offset) in parts {
            self.put(part, to.at(*offset));
        }
    }

    fn put_cast(&mut self, inner: &'p Expr, e: &'p Expr, to: Dest) {
        let size = self.unit.size(&e.ty);
        let inner_size = self.unit.size(&inner.ty);
        match (&inner.ty, &e.ty) {
            (Type::Str(_), Type::Str(_)) if inner_size < size => {
                self.put(inner, to);
                let tail = self.b.ptr_add(to.ptr, to.off + inner_size as i32);
                match to.fill {
                    Fill::Zeroed => {}
                    Fill::Exact | Fill::Written => self.fill_bytes(tail, 0, size - inner_size),
                    // The shorter string may fill its own capacity.
                    Fill::Loose => self.fill_bytes(tail, 0, 1),
                }
            }
            (Type::Tuple(from), Type::Tuple(into)) if from != into => {
                let pairs: Vec<_> = from.iter().cloned().zip(into.iter().cloned()).collect();
                self.put_converted(inner, &pairs, e, to);
            }
            (Type::Record(from), Type::Record(into)) if from != into => {
                let named = |name: &str| from.iter().find(|(n, _)| &**n == name).map(|(_, t)| t.clone());
                let pairs: Vec<_> = into
                    .iter()
                    .map(|(name, ty)| (named(name).unwrap_or_else(|| ty.clone()), ty.clone()))
                    .collect();
                self.put_converted(inner, &pairs, e, to);
            }
            (from, _) if from.is_scalar() => {
                // The bytes of a number as an array.
                let value = self.scalar(inner);
                let value = self.number(value);
                self.store_bytes(to.ptr, to.off, value, size.min(8));
                if size > 8 {
                    let tail = self.b.ptr_add(to.ptr, to.off + 8);
                    self.fill_bytes(tail, 0, size - 8);
                }
            }
            (Type::Str(_) | Type::Array(..), Type::Buf(cap)) => {
                self.prepare(to, size);
                let len = self.b.iconst(Ty::I32, i64::from(inner_size.min(*cap)));
                self.b.store(to.ptr, to.off, len);
                self.put_bytes_of(inner, inner_size.min(*cap), to.at(4));
            }
            _ if inner_size >= size => {
                // Same bytes under another name, or fewer of them.
                self.put_bytes_of(inner, size, to);
            }
            _ => {
                self.prepare(to, size);
                self.put(inner, to);
            }
        }
    }

    /// Copies the first bytes of a value.
    pub(super) fn put_bytes_of(&mut self, inner: &'p Expr, len: u32, to: Dest) {
        if len == self.unit.size(&inner.ty) && !is_loose(&inner.ty) {
            self.put(inner, to);
            return;
        }
        let src = self.memory_ptr(inner);
        let dst = self.dest_ptr(to);
        self.b.inst(InstKind::MemCopy { dst, src, len }, None);
    }

    /// Writes a tuple or record whose elements have other types than those of the destination.
    fn put_converted(&mut self, inner: &'p Expr, pairs: &[(Type, Type)], e: &'p Expr, to: Dest) {
        let size = self.unit.size(&e.ty);
        let (ptr, off) = self.in_memory(inner);
        let to = if to.fill == Fill::Exact {
            self.prepare(to, size);
            Dest { fill: Fill::Zeroed, ..to }
        } else {
            to
        };
        for (n, (from, into)) in (0..).zip(pairs) {
            let n_from = match (&inner.ty, &e.ty) {
                (Type::Record(a), Type::Record(b)) => {
                    let name = &b[n as usize].0;
                    a.iter().position(|(other, _)| other == name).unwrap_or(n as usize) as u32
                }
                _ => n,
            };
            let at = Src::Memory { ptr, off: off + self.element_offset(&inner.ty, n_from) as i32 };
            let to = to.at(self.element_offset(&e.ty, n));
            self.put_element(&at, from, into, to, e);
        }
    }

    fn put_element(&mut self, at: &Src, from: &Type, into: &Type, to: Dest, e: &'p Expr) {
        if into.is_scalar() {
            let value = self.load(at, from, None, e.loc);
            let value = self.convert(value, from, into);
            self.put_scalar(value, into, to);
            return;
        }
        let nested: Option<Vec<(Type, Type)>> = match (from, into) {
            (Type::Tuple(a), Type::Tuple(b)) if a != b => {
                Some(a.iter().cloned().zip(b.iter().cloned()).collect())
            }
            (Type::Record(a), Type::Record(b)) if a != b => {
                Some(a.iter().zip(b.iter()).map(|((_, x), (_, y))| (x.clone(), y.clone())).collect())
            }
            _ => None,
        };
        if let (Some(pairs), Src::Memory { ptr, off }) = (nested, at) {
            for (n, (x, y)) in (0..).zip(&pairs) {
                let part = Src::Memory { ptr: *ptr, off: off + self.element_offset(from, n) as i32 };
                let to = to.at(self.element_offset(into, n));
                self.put_element(&part, x, y, to, e);
            }
            return;
        }
        let (had, size) = (self.unit.size(from), self.unit.size(into));
        self.copy(at, if had <= size { from } else { into }, to, e.loc);
        if had < size && to.fill != Fill::Zeroed {
            let tail = self.b.ptr_add(to.ptr, to.off + had as i32);
            self.fill_bytes(tail, 0, size - had);
        }
    }

    /// Writes the tuple of a map's element.
    pub(super) fn put_pair(&mut self, key: &Element, value: &Element, ty: &Type, to: Dest, loc: Loc) {
        let Type::Tuple(types) = ty else { return };
        let size = self.unit.size(ty);
        let to = if to.fill == Fill::Exact {
            self.prepare(to, size);
            Dest { fill: Fill::Zeroed, ..to }
        } else {
            to
        };
        for (n, (half, part)) in (0..).zip([key, value].into_iter().zip(types.iter())) {
            let to = to.at(self.element_offset(ty, n));
            match half {
                Element::Value(value) => self.put_scalar(*value, part, to),
                Element::Place(place) if part.is_scalar() => {
                    let value = self.load(place, part, None, loc);
                    self.put_scalar(value, part, to);
                }
                Element::Place(place) => self.copy(place, part, to, loc),
            }
        }
    }

    /// Writes a builtin that does not fit a register.
    fn put_builtin(&mut self, builtin: &Builtin, e: &'p Expr, to: Dest) {
        match builtin {
            Builtin::Comm => self.put_comm(self.unit.size(&e.ty), to),
            Builtin::UStack(stack) => {
                let id = self.stack_id(true, *stack, e.loc);
                self.put_with_pid(id, to);
            }
            Builtin::FuncAddr => {
                let address = self.function_address(e.loc);
                self.put_with_pid(address, to);
            }
            // The others are scalars; sema types them so.
            _ => self.clear(to, self.unit.size(&e.ty)),
        }
    }

    /// Writes a user address or stack with the process that it belongs to.
    pub(super) fn put_with_pid(&mut self, value: Value, to: Dest) {
        self.b.store(to.ptr, to.off, value);
        let pid = self.own_pid();
        if to.fill == Fill::Exact || to.fill == Fill::Written {
            // The upper half of the word is padding.
            self.b.store(to.ptr, to.off + 8, pid);
        } else {
            let pid = self.b.resize(pid, Ty::I32, false);
            self.b.store(to.ptr, to.off + 8, pid);
        }
    }

    /// Writes collected numbers by value.
    fn put_collected(&mut self, map: MapRef, key: Option<&'p Expr>, ty: &Type, to: Dest, loc: Loc) {
        match ty {
            Type::Agg(AggTy::Stats(signed)) => {
                let (total, count) = self.read_stats(map, key, loc);
                let average = self.average(total, count, *signed);
                self.b.store(to.ptr, to.off, count);
                self.b.store(to.ptr, to.off + 8, average);
                self.b.store(to.ptr, to.off + 16, total);
            }
            _ => {
                let value = self.read_collected(map, key, loc);
                self.b.store(to.ptr, to.off, value);
            }
        }
    }
}
