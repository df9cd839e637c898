//! Slots that must stay together: what one pointer may point to is all on the stack or all in scratch memory,
//! since the kernel's verifier wants one kind of memory at each access.

use crate::func::{Func, Linkage, Slot, Storage, Value};
use crate::helpers::{Arg, helper};
use crate::inst::InstKind;
use crate::module::{FuncId, Module};
use crate::types::{PtrClass, Ty};
use cranelift_entity::{EntityRef, SecondaryMap};

/// A union-find over the slots, captures and frame pointers of functions.
pub(super) struct Groups {
    /// First node of a function: slots, then captures, then values.
    first: SecondaryMap<FuncId, Option<First>>,
    parent: Vec<u32>,
    pinned: Vec<bool>,
    moved: Vec<bool>,
}

#[derive(Copy, Clone)]
struct First {
    slots: u32,
    captures: u32,
    values: u32,
}

impl Groups {
    pub(super) fn of(module: &Module, order: &[FuncId]) -> Groups {
        let mut first = SecondaryMap::new();
        let mut next = 0u32;
        for &id in order {
            let func = &module.funcs[id];
            let captures = next + func.slots.len() as u32;
            let values = captures + func.captures.len() as u32;
            first[id] = Some(First { slots: next, captures, values });
            next = values + func.values.len() as u32;
        }
        let parent = (0..next).collect();
        let mut groups =
            Groups { first, parent, pinned: vec![false; next as usize], moved: vec![false; next as usize] };
        for &id in order {
            groups.function(module, id);
        }
        groups
    }

    fn slot(&self, id: FuncId, slot: Slot) -> Option<u32> {
        self.first[id].map(|f| f.slots + slot.index() as u32)
    }

    fn capture(&self, id: FuncId, place: usize) -> Option<u32> {
        self.first[id].map(|f| f.captures + place as u32)
    }

    fn value(&self, id: FuncId, value: Value) -> Option<u32> {
        self.first[id].map(|f| f.values + value.index() as u32)
    }

    fn find(&mut self, mut node: u32) -> u32 {
        while self.parent[node as usize] != node {
            let above = self.parent[self.parent[node as usize] as usize];
            self.parent[node as usize] = above;
            node = above;
        }
        node
    }

    fn join(&mut self, a: Option<u32>, b: Option<u32>) {
        let (Some(a), Some(b)) = (a, b) else {
            // One of them is not looked at, so the other one has to stay as it is.
            for node in [a, b].into_iter().flatten() {
                self.pin(Some(node));
            }
            return;
        };
        let (a, b) = (self.find(a), self.find(b));
        self.parent[b as usize] = a;
        self.pinned[a as usize] |= self.pinned[b as usize];
    }

    fn pin(&mut self, node: Option<u32>) {
        if let Some(node) = node {
            let root = self.find(node);
            self.pinned[root as usize] = true;
        }
    }

    fn function(&mut self, module: &Module, id: FuncId) {
        let func = &module.funcs[id];
        for (slot, data) in &func.slots {
            if data.storage == Storage::Stack || !matches!(func.linkage, Linkage::Entry | Linkage::Closure) {
                self.pin(self.slot(id, slot));
            }
        }
        for &param in func.params() {
            self.pin(self.value(id, param));
        }
        for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
            let data = &func.insts[inst];
            let result = data.result.expand().filter(|&r| is_frame(func.ty(r)));
            self.instruction(func, id, &data.kind, result);
        }
    }

    fn instruction(&mut self, func: &Func, id: FuncId, kind: &InstKind, result: Option<Value>) {
        use InstKind as I;
        let of = |groups: &Groups, v: Value| groups.value(id, v);
        let frames = |list: &[Value]| -> Vec<Value> {
            list.iter().copied().filter(|&v| is_frame(func.ty(v))).collect()
        };
        match kind {
            I::SlotAddr(slot) => {
                if let Some(result) = result {
                    self.join(self.slot(id, *slot), of(self, result));
                }
            }
            I::Capture(n) => {
                if let Some(result) = result {
                    self.join(self.capture(id, *n as usize), of(self, result));
                }
            }
            I::PtrAdd(from, ..) | I::Refine(from, _) => {
                if let Some(result) = result {
                    self.join(of(self, *from), of(self, result));
                }
            }
            I::Null => {}
            I::Cmp(_, a, b) if is_frame(func.ty(*a)) => self.join(of(self, *a), of(self, *b)),
            I::ForEach { body, captures, .. } | I::ForRange { body, captures, .. } => {
                for (place, &v) in captures.iter().enumerate() {
                    if is_frame(func.ty(v)) {
                        self.join(of(self, v), self.capture(*body, place));
                    }
                }
            }
            // Kept where later uses cannot be followed, or given to code that wants the stack.
            I::Store { val, .. } if is_frame(func.ty(*val)) => self.pin(of(self, *val)),
            I::Call(_, args) => frames(args).into_iter().for_each(|v| self.pin(of(self, v))),
            I::Ret(Some(v)) if is_frame(func.ty(*v)) => self.pin(of(self, *v)),
            I::Helper(number, args) => {
                let wants = helper(*number).map_or(&[][..], |h| h.args);
                for (_, &v) in wants.iter().zip(args).filter(|(a, _)| **a == Arg::CallbackCtx) {
                    if is_frame(func.ty(v)) {
                        self.pin(of(self, v));
                    }
                }
                self.other(id, result);
            }
            kind if kind.is_terminator() => {
                for target in kind.targets() {
                    let params = &func.blocks[target.block].params;
                    for (&param, &arg) in params.iter().zip(&target.args) {
                        if is_frame(func.ty(param)) {
                            self.join(of(self, param), of(self, arg));
                        }
                    }
                }
            }
            _ => self.other(id, result),
        }
    }

    /// A frame pointer that comes from memory or from a call.
    fn other(&mut self, id: FuncId, result: Option<Value>) {
        if let Some(result) = result {
            self.pin(self.value(id, result));
        }
    }

    /// Whether a slot and all that goes with it may leave the stack and has not yet.
    pub(super) fn can_move(&mut self, id: FuncId, slot: Slot) -> bool {
        let Some(node) = self.slot(id, slot) else { return false };
        let root = self.find(node) as usize;
        !self.pinned[root] && !self.moved[root]
    }

    /// Moves a slot and all that goes with it to scratch memory if that is possible.
    pub(super) fn try_move(&mut self, id: FuncId, slot: Slot) {
        if self.can_move(id, slot)
            && let Some(node) = self.slot(id, slot)
        {
            let root = self.find(node) as usize;
            self.moved[root] = true;
        }
    }

    fn moved_node(&mut self, node: Option<u32>) -> bool {
        node.is_some_and(|node| {
            let root = self.find(node) as usize;
            self.moved[root]
        })
    }

    pub(super) fn is_moved(&mut self, id: FuncId, slot: Slot) -> bool {
        self.moved_node(self.slot(id, slot))
    }

    pub(super) fn is_moved_capture(&mut self, id: FuncId, place: usize) -> bool {
        self.moved_node(self.capture(id, place))
    }

    pub(super) fn is_moved_value(&mut self, id: FuncId, value: Value) -> bool {
        self.moved_node(self.value(id, value))
    }
}

pub(super) fn is_frame(ty: Ty) -> bool {
    matches!(ty, Ty::Ptr(p) if p.class == PtrClass::Frame)
}
