//! Loops over maps and ranges.

use super::closure::Closure;
use super::function::{Element, Fx, Loop, Variable};
use super::place::Src;
use super::store::{Dest, Fill};
use super::visit::{Node, mentions_map};
use crate::hir::{Expr, LocalId, MapRef, Stmt};
use crate::types::Type;
use skep_ir::inst::InstKind;
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, Ty, Value};

impl<'p> Fx<'_, 'p> {
    /// `for ($i : start..end) { ... }`
    pub(super) fn for_range(
        &mut self,
        stmt: &'p Stmt,
        var: LocalId,
        start: &'p Expr,
        end: &'p Expr,
        body: &'p [Stmt],
    ) {
        let start = self.scalar(start);
        let end = self.scalar(end);
        let (start, end) = (self.number(start), self.number(end));
        let home = Some(std::ptr::from_ref(stmt));
        let params = [("number", Ty::I64)];
        let closure = self.closure("for", &params, &[], home, |f, params, _| {
            let by_value = f.info.local(var).is_value || !f.info.local(var).used;
            if by_value {
                f.variables.insert(var, Variable::Value(params[0]));
            }
            f.make_variables();
            if !by_value {
                f.set_scalar_variable(var, params[0]);
            }
            f.loops.push(Loop::Closure);
            f.stmts(body);
        });
        self.run(closure, |body, captures| InstKind::ForRange { start, end, body, captures });
    }

    /// `for ($kv : @m) { ... }`
    pub(super) fn for_map(&mut self, stmt: &'p Stmt, map: MapRef, var: LocalId, body: &'p [Stmt]) {
        if !self.unit.require(Feature::ForEachMapElem, stmt.loc) {
            return;
        }
        let id = self.unit.maps[map].id;
        let home = Some(std::ptr::from_ref(stmt));
        let params = [("key", Ty::ptr(PtrClass::MapKey(id))), ("value", Ty::ptr(PtrClass::MapValue(id)))];
        let closure = self.closure("for", &params, &[], home, |f, params, _| {
            f.bind_element(stmt, map, var, body, (params[0], params[1]));
            f.loops.push(Loop::Closure);
            f.stmts(body);
        });
        self.run(closure, |body, captures| InstKind::ForEach { map: id, body, captures });
    }

    fn run(&mut self, closure: Closure, kind: impl FnOnce(skep_ir::FuncId, Vec<Value>) -> InstKind) {
        if closure.leaves {
            self.before_leaving_loop();
        }
        self.b.inst(kind(closure.body, closure.captures), None);
        if closure.leaves {
            self.after_leaving_loop();
        }
    }

    /// Gives the loop's variable the current element.
    fn bind_element(
        &mut self,
        stmt: &'p Stmt,
        map: MapRef,
        var: LocalId,
        body: &'p [Stmt],
        (key, value): (Value, Value),
    ) {
        let ty = &self.site.body.locals[var].ty;
        let Type::Tuple(types) = ty else { return };
        let [key_type, value_type] = &**types else { return };
        let info = self.info.local(var).clone();
        let apart = info.is_value && !info.whole;
        // Whatever the body does to the map, the variable keeps what it was given.
        let snapshot = apart && mentions_map(Node::Block(body), map);
        let used = |n: u32| info.used && (!apart || info.elements & 1 << n != 0);
        let unused = Element::Value(self.b.i64(0));
        let first = if used(0) { self.half(key, key_type, snapshot, stmt.loc) } else { unused.clone() };
        let second = if !used(1) {
            unused
        } else if self.unit.program.maps[map].agg().is_some() {
            Element::Value(self.collected(map, key, stmt.loc))
        } else {
            self.half(value, value_type, snapshot, stmt.loc)
        };
        if apart {
            self.variables.insert(var, Variable::Pair { key: first, value: second });
            self.make_variables();
        } else {
            self.make_variables();
            if info.used {
                let to = Dest { ptr: self.variable_ptr(var), off: 0, fill: Fill::Exact };
                self.put_pair(&first, &second, ty, to, stmt.loc);
            }
        }
    }

    /// Key or value of an element: a scalar is read, the rest is used where it lies or copied.
    fn half(&mut self, ptr: Value, ty: &Type, snapshot: bool, loc: Loc) -> Element {
        let place = Src::Memory { ptr, off: 0 };
        if ty.is_scalar() {
            return Element::Value(self.load_memory(ptr, 0, ty, None));
        }
        if !snapshot {
            return Element::Place(place);
        }
        let copy = self.buffer("element", self.unit.size(ty));
        self.copy(&place, ty, Dest { ptr: copy, off: 0, fill: Fill::Exact }, loc);
        Element::Place(Src::Memory { ptr: copy, off: 0 })
    }
}
