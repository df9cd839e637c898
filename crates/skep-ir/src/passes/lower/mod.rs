//! Chooses how the kernel does every operation that code generation does not know.
//!
//! | operation | ways, the first that the kernel has |
//! |---|---|
//! | memory | aligned moves of 8, 4, 2, 1 bytes; long ones in a loop |
//! | strings | eight bytes at a time, NULs found by bit tricks; long ones in a loop |
//! | fields of typed objects | a load, the offset from the kernel's type information |
//! | reads of kernel memory | `probe_read_kernel`, `probe_read` |
//! | reads of user memory | `copy_from_user` in programs that may sleep, `probe_read_user`, `probe_read` |
//! | aggregations | plain where no program of the map can interrupt another, else atomic |
//! | histograms | branch-free |
//! | sets of few members | comparisons |
//! | signed division | the instruction (cpu v4), unsigned division of the magnitudes |
//!
//! A way that is missing is a message at the instruction.

mod memory;
mod nesting;
mod numbers;
mod objects;
mod script;
mod sets;
mod strings;

use super::Context;
use super::expand::lacks;
use super::rewrite::{Fate, Rewriter, rewrite};
use crate::diag::Diagnostic;
use crate::func::{Func, Inst};
use crate::helpers as h;
use crate::inst::{AtomicOp, BinOp, CmpOp, InstKind};
use crate::kernel::{Feature, KernelInfo};
use crate::module::Module;
use crate::types::Ty;
use crate::verify::may_sleep;
use nesting::Nesting;

/// Runs the pass.
pub fn run(module: &mut Module, context: &mut Context<'_>) {
    // A closure may have lost its loop since.
    super::inline::prune(module);
    let nesting = Nesting::new(module);
    let sleeps = may_sleep(module);
    let kept = memory::kept_alignment(module);
    for id in module.funcs.keys() {
        let mut func = std::mem::replace(&mut module.funcs[id], Func::placeholder());
        let mut lowering = Lowering {
            module,
            kernel: context.kernel,
            diagnostics: &mut context.diagnostics,
            nesting: &nesting,
            sleeps: sleeps[id],
            kept,
        };
        rewrite(&mut func, |rw, inst, _| lowering.inst(rw, inst));
        func.drop_unreachable();
        module.funcs[id] = func;
    }
}

struct Lowering<'a> {
    module: &'a Module,
    kernel: &'a dyn KernelInfo,
    diagnostics: &'a mut Vec<Diagnostic>,
    nesting: &'a Nesting,
    /// Whether the function may sleep.
    sleeps: bool,
    /// See [`memory::kept_alignment`].
    kept: u32,
}

impl Lowering<'_> {
    fn inst(&mut self, rw: &mut Rewriter<'_>, inst: Inst) -> Fate {
        use InstKind as I;
        if rw.func.insts[inst].kind.is_low_level() {
            return self.low_level(rw, inst);
        }
        match rw.func.insts[inst].kind.clone() {
            I::MemCopy { dst, src, len } => self.mem_copy(rw, dst, src, len),
            I::MemSet { dst, byte, len } => self.mem_set(rw, dst, byte, len),
            I::MemEq { a, b, len } => self.mem_eq(rw, inst, a, b, len),
            I::StrConst { dst, text, cap } => self.str_const(rw, dst, &text, cap),
            I::StrCopy { dst, dst_cap, src, src_cap } => self.str_copy(rw, dst, dst_cap, src, src_cap),
            I::StrEq { a, a_cap, b, b_cap } => self.str_eq(rw, inst, a, b, a_cap.min(b_cap)),
            I::StrEqN { a, a_cap, b, b_cap, n } => self.str_eq(rw, inst, a, b, a_cap.min(b_cap).min(n)),
            I::StrEqConst { a, cap, text } => {
                let equal = self.equals(rw, a, cap, &text);
                rw.define(inst, equal)
            }
            I::StrLen { ptr, cap } => self.str_len(rw, inst, ptr, cap),
            I::StrFind { hay, hay_cap, needle, needle_cap } => {
                self.str_find(rw, inst, (hay, hay_cap), (needle, needle_cap))
            }
            I::FieldLoad { base, path, scalar } => self.field_load(rw, inst, base, &path, scalar),
            I::FieldAddr { base, path } => self.field_addr(rw, inst, base, &path),
            I::ProbeRead { dst, len, max, src, space } => {
                self.probe_read(rw, inst, (dst, max), Some(len), src, space, false)
            }
            I::ProbeReadStr { dst, cap, len, src, space } => {
                self.probe_read(rw, inst, (dst, cap), len, src, space, true)
            }
            I::Core { what, ty, path } => self.core(rw, inst, what, ty, &path),
            I::MapLookup { map, key } => {
                let map = rw.map_ref(map);
                rw.become_kind(inst, I::Helper(h::MAP_LOOKUP_ELEM, vec![map, key]))
            }
            I::MapLookupPercpu { map, key, cpu } => {
                self.require(rw, Feature::LookupPercpuElem, "reading another CPU's value");
                let map = rw.map_ref(map);
                rw.become_kind(inst, I::Helper(h::MAP_LOOKUP_PERCPU_ELEM, vec![map, key, cpu]))
            }
            I::MapUpdate { map, key, val, flags } => {
                let map = rw.map_ref(map);
                let flags = rw.i64(flags.cast_signed());
                rw.become_kind(inst, I::Helper(h::MAP_UPDATE_ELEM, vec![map, key, val, flags]))
            }
            I::MapDelete { map, key } => {
                let map = rw.map_ref(map);
                rw.become_kind(inst, I::Helper(h::MAP_DELETE_ELEM, vec![map, key]))
            }
            I::Agg { agg, cell, val } => self.aggregate(rw, agg, cell, val),
            I::HistBucket { val, bits } => {
                let bucket = numbers::hist_bucket(rw, val, bits);
                rw.define(inst, bucket)
            }
            I::LinearBucket { val, min, max, step } => numbers::linear_bucket(rw, inst, val, min, max, step),
            I::SetMember { val, set } => self.set_member(rw, inst, val, set),
            I::StrMember { ptr, cap, set } => self.str_member(rw, inst, ptr, cap, set),
            I::PacketCheck { ptr, end, len } => {
                let beyond = rw.ptr_add(ptr, len.cast_signed());
                let fits = rw.cmp(CmpOp::ULe, beyond, end);
                rw.define(inst, fits)
            }
            // What needs memory or closures was the business of other passes.
            _ => Fate::Kept,
        }
    }

    /// What code generation knows but not every kernel does.
    fn low_level(&mut self, rw: &mut Rewriter<'_>, inst: Inst) -> Fate {
        match &rw.func.insts[inst].kind {
            InstKind::Bin(op @ (BinOp::SDiv | BinOp::SRem), a, b) if !self.kernel.has(Feature::CpuV4) => {
                let (op, a, b) = (*op, *a, *b);
                let result = numbers::signed_division(rw, op, a, b);
                return rw.define(inst, result);
            }
            InstKind::Atomic { op, .. } if rw.result(inst).is_some() || *op != AtomicOp::Add => {
                self.require(rw, Feature::AtomicFetch, "the atomic operation");
            }
            InstKind::CmpXchg { .. } => {
                self.require(rw, Feature::AtomicFetch, "compare and exchange");
            }
            InstKind::Helper(id, _) => {
                let id = *id;
                if let Some(feature) = h::helper(id).and_then(|h| h.feature)
                    && !self.kernel.has(feature)
                {
                    let what = format!("the helper {}", skep_asm::helpers::name(id).unwrap_or("?"));
                    self.require(rw, feature, &what);
                }
            }
            InstKind::Kfunc(name, _) if !self.kernel.has(Feature::Kfuncs) => {
                let what = format!("the kernel function {name}");
                self.require(rw, Feature::Kfuncs, &what);
            }
            InstKind::Call(..) => self.require(rw, Feature::Subprograms, "a call"),
            _ => {}
        }
        Fate::Kept
    }

    /// Reports a feature that the kernel lacks.
    fn require(&mut self, rw: &Rewriter<'_>, feature: Feature, what: &str) {
        if !self.kernel.has(feature) {
            self.diagnostics.push(lacks(rw.loc, feature, what));
        }
    }
}

/// The integer type of a piece of memory.
fn int(bytes: u32) -> Ty {
    Ty::int(bytes).unwrap_or(Ty::I8)
}
