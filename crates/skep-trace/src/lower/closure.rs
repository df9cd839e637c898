//! Bodies of loops as functions.

use super::function::{Captured, Fx, Role};
use super::locals::LoopKey;
use skep_ir::func::{Func, Linkage};
use skep_ir::inst::InstKind;
use skep_ir::types::PtrClass;
use skep_ir::{FuncBuilder, FuncId, MapId, Ty, Value};

/// A closure that was made.
pub(super) struct Closure {
    /// The function.
    pub(super) body: FuncId,
    /// What it captures, as its creator sees it.
    pub(super) captures: Vec<Value>,
    /// Whether it can end the whole program.
    pub(super) leaves: bool,
}

impl<'p> Fx<'_, 'p> {
    /// Makes a closure. `given` are pointers that it uses, which it gets in the same order.
    pub(super) fn closure(
        &mut self,
        name: &str,
        params: &[(&str, Ty)],
        given: &[Value],
        home: Option<LoopKey>,
        build: impl FnOnce(&mut Fx<'_, 'p>, &[Value], &[Value]),
    ) -> Closure {
        let name = format!("{}_{name}{}", self.site.name, self.unit.module.funcs.len());
        let mut func = Func::new(name, Linkage::Closure, params, Some(Ty::I64));
        func.captures = given.iter().map(|v| self.b.func.ty(*v)).collect();
        let loc = self.b.set_loc(None);
        self.b.set_loc(loc);
        func.loc = loc;
        let params = func.params().to_vec();
        let (captured, leaves) = {
            let b = FuncBuilder::new(&mut func);
            let mut f = Fx::new(&mut *self.unit, b, self.site, Role::Closure, self.info.clone(), home);
            f.b.set_loc(loc);
            f.captured = (0..given.len() as u32).map(Captured::Given).collect();
            let given: Vec<_> = (0..given.len() as u32).map(|n| f.resolve(Captured::Given(n))).collect();
            build(&mut f, &params, &given);
            if !f.b.is_closed() {
                f.next_round();
            }
            (f.captured, f.leaves)
        };
        super::program::arrange(&mut func);
        let captures = captured
            .into_iter()
            .map(|what| match what {
                Captured::Given(n) => given[n as usize],
                what => self.resolve(what),
            })
            .collect();
        Closure { body: self.unit.module.funcs.push(func), captures, leaves }
    }

    /// In a closure: goes on with the next element or number.
    pub(super) fn next_round(&mut self) {
        let zero = self.b.i64(0);
        self.b.ret(Some(zero));
    }

    /// Runs code of the compiler's own for every number of a range.
    pub(super) fn for_numbers(
        &mut self,
        name: &str,
        start: Value,
        end: Value,
        given: &[Value],
        build: impl FnOnce(&mut Fx<'_, 'p>, Value, &[Value]),
    ) {
        let closure = self.closure(name, &[("number", Ty::I64)], given, None, |f, params, given| {
            build(f, params[0], given);
        });
        let kind = InstKind::ForRange { start, end, body: closure.body, captures: closure.captures };
        self.b.inst(kind, None);
    }

    /// A closure of the compiler's own for the elements of a map.
    pub(super) fn element_closure(
        &mut self,
        name: &str,
        map: MapId,
        given: &[Value],
        build: impl FnOnce(&mut Fx<'_, 'p>, Value, Value, &[Value]),
    ) -> (FuncId, Vec<Value>) {
        let params = [("key", Ty::ptr(PtrClass::MapKey(map))), ("value", Ty::ptr(PtrClass::MapValue(map)))];
        let closure = self.closure(name, &params, given, None, |f, params, given| {
            build(f, params[0], params[1], given);
        });
        (closure.body, closure.captures)
    }
}
