//! Types of operands.

use super::{Checker, Rule};
use crate::func::{Inst, Value};
use crate::inst::{Agg, BinOp, CmpOp, Fact, InstKind, Step};
use crate::module::{MapKind, Set};
use crate::types::{PtrClass, Ty};

pub(super) fn check(c: &mut Checker<'_>, inst: Inst) {
    let kind = &c.func.insts[inst].kind;
    let mut o = Operands { c, inst };
    o.values(kind);
    o.memory(kind);
    o.strings(kind);
    o.objects(kind);
    o.maps(kind);
    o.script(kind);
    o.ends(kind);
}

/// What one instruction asks of its operands.
struct Operands<'c, 'm> {
    c: &'c mut Checker<'m>,
    inst: Inst,
}

impl Operands<'_, '_> {
    fn fail(&mut self, rule: Rule, message: impl Into<String>) {
        self.c.at(rule, self.inst, message);
    }

    fn need(&mut self, holds: bool, message: &str) {
        if !holds {
            self.fail(Rule::Operand, message);
        }
    }

    fn ty(&self, v: Value) -> Ty {
        self.c.func.ty(v)
    }

    fn class(&self, v: Value) -> Option<PtrClass> {
        self.ty(v).as_ptr().map(|p| p.class)
    }

    fn int(&mut self, v: Value) {
        let ok = self.ty(v).is_int();
        self.need(ok, "an operand must be an integer");
    }

    fn i64(&mut self, v: Value) {
        let ok = self.ty(v) == Ty::I64;
        self.need(ok, "an operand must be an i64");
    }

    fn i1(&mut self, v: Value) {
        let ok = self.ty(v) == Ty::I1;
        self.need(ok, "a condition must be an i1");
    }

    fn ctx(&mut self, v: Value) {
        let ok = self.class(v) == Some(PtrClass::Ctx);
        self.need(ok, "an operand must be the context");
    }

    /// A pointer that bytes are read through or written through.
    fn bytes(&mut self, v: Value) {
        match self.class(v) {
            Some(class) if class.is_memory() => {}
            Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_)) => {
                self.fail(Rule::Operand, "memory of kernel objects is read by field or copied first");
            }
            Some(PtrClass::KernelRaw(_) | PtrClass::User(_)) => {
                self.fail(Rule::Operand, "the address is only read through a helper");
            }
            _ => self.fail(Rule::Operand, "an operand must be a pointer to memory"),
        }
    }

    fn written(&mut self, v: Value) {
        self.bytes(v);
        let module = self.c.module;
        let read_only = match self.class(v) {
            Some(PtrClass::MapKey(_)) => true,
            // BPF_F_RDONLY_PROG of linux/bpf.h.
            Some(PtrClass::MapValue(m)) => module.maps[m].flags & 1 << 7 != 0,
            Some(PtrClass::Global(g)) => {
                use crate::module::Section::{Kconfig, Ksym, Rodata};
                matches!(module.globals[g].section, Rodata | Kconfig | Ksym)
            }
            _ => false,
        };
        if read_only {
            self.fail(Rule::Access, "the memory is read-only");
        }
    }

    fn arithmetic(&mut self, v: Value) {
        match self.class(v) {
            Some(PtrClass::Ctx | PtrClass::MapRef(_) | PtrClass::PacketEnd | PtrClass::Func(_)) => {
                self.fail(Rule::Arithmetic, "the pointer allows no arithmetic");
            }
            Some(_) => {}
            None => self.fail(Rule::Operand, "an operand must be a pointer"),
        }
    }

    fn values(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::Bin(op, a, b) => {
                if self.ty(*a).as_ptr().or(self.ty(*b).as_ptr()).is_some() {
                    self.fail(Rule::Arithmetic, "arithmetic on pointers is ptr_add's");
                }
                let (a, b) = (self.ty(*a), self.ty(*b));
                self.need(a == b, "the operands have different types");
                let logical = matches!(op, BinOp::And | BinOp::Or | BinOp::Xor);
                self.need(a != Ty::I1 || logical, "an i1 has no arithmetic but and, or and xor");
            }
            I::Neg(a) => {
                self.int(*a);
                let ok = self.ty(*a) != Ty::I1;
                self.need(ok, "an i1 has no arithmetic but and, or and xor");
            }
            I::Bswap(a) => {
                let ok = matches!(self.ty(*a), Ty::I16 | Ty::I32 | Ty::I64);
                self.need(ok, "the operand must be an i16, i32 or i64");
            }
            I::Cmp(op, a, b) => {
                let (a, b) = (self.ty(*a), self.ty(*b));
                let ok = match (a.as_ptr(), b.as_ptr()) {
                    (None, None) => a == b,
                    (Some(a), Some(b)) => {
                        use PtrClass::{Packet, PacketEnd, PacketMeta};
                        let packets = [Packet, PacketEnd, PacketMeta];
                        let eq = matches!(op, CmpOp::Eq | CmpOp::Ne);
                        (a.class == b.class && (eq || packets.contains(&a.class)))
                            || (packets.contains(&a.class) && packets.contains(&b.class))
                    }
                    _ => false,
                };
                self.need(ok, "the operands cannot be compared with each other");
            }
            I::IsNull(a) => {
                let ok = self.ty(*a).as_ptr().is_some();
                self.need(ok, "the operand must be a pointer");
            }
            I::Zext(a) | I::Sext(a) | I::Trunc(a) => self.int(*a),
            I::Select(cond, a, b) => {
                self.i1(*cond);
                self.int(*a);
                let ok = self.ty(*a) == self.ty(*b);
                self.need(ok, "the operands have different types");
            }
            I::Refine(a, fact) => match (fact, self.ty(*a).as_ptr()) {
                (Fact::Unsigned(lo, hi), None) => self.need(lo <= hi, "the range is empty"),
                (Fact::Signed(lo, hi), None) => self.need(lo <= hi, "the range is empty"),
                (Fact::NonNull, Some(_)) => {}
                (Fact::PacketRange(_), Some(p)) => {
                    let ok = matches!(p.class, PtrClass::Packet | PtrClass::PacketMeta);
                    self.need(ok, "only packet pointers have a range");
                }
                _ => self.need(false, "the fact does not fit the operand"),
            },
            I::PtrAdd(p, _, by) => {
                self.arithmetic(*p);
                if let Some(by) = by {
                    self.i64(*by);
                    let fixed = matches!(
                        self.class(*p),
                        Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_))
                    );
                    if fixed {
                        self.fail(Rule::Arithmetic, "typed kernel pointers move by constants alone");
                    }
                }
            }
            // The address of a byte of the context is a number that helpers read from.
            I::PtrToInt(p) if self.class(*p) == Some(PtrClass::Ctx) => {}
            I::PtrToInt(p) => self.arithmetic(*p),
            I::IntToPtr(a) => self.i64(*a),
            I::Capture(n) => {
                let known = (*n as usize) < self.c.func.captures.len();
                if !known {
                    self.fail(Rule::Closure, "the function has no such capture");
                }
            }
            _ => {}
        }
    }

    fn memory(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::Load { ptr, .. } => {
                // After lowering, fields of typed kernel objects are plain loads.
                let typed = matches!(
                    self.class(*ptr),
                    Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_))
                );
                if !(typed && self.c.level == super::Level::Strict) {
                    self.bytes(*ptr);
                }
            }
            I::Store { ptr, val, .. } => {
                self.written(*ptr);
                let spill = self
                    .ty(*val)
                    .as_ptr()
                    .is_some_and(|p| !matches!(p.class, PtrClass::KernelRaw(_) | PtrClass::User(_)));
                if spill && self.class(*ptr) != Some(PtrClass::Frame) {
                    self.fail(Rule::Access, "the pointer can be kept on the stack alone");
                }
            }
            I::MemCopy { dst, src, .. } => {
                self.written(*dst);
                self.bytes(*src);
            }
            I::MemSet { dst, .. } => self.written(*dst),
            I::MemEq { a, b, .. } => {
                self.bytes(*a);
                self.bytes(*b);
            }
            I::Atomic { ptr, val, .. } => {
                self.written(*ptr);
                let ok = matches!(self.ty(*val), Ty::I32 | Ty::I64);
                self.need(ok, "the operand must be an i32 or i64");
            }
            I::CmpXchg { ptr, expected, new, .. } => {
                self.written(*ptr);
                let ok = matches!(self.ty(*new), Ty::I32 | Ty::I64) && self.ty(*expected) == self.ty(*new);
                self.need(ok, "the operands must both be i32 or i64");
            }
            I::CtxLoad { ctx, .. } => self.ctx(*ctx),
            I::CtxStore { ctx, val, .. } => {
                self.ctx(*ctx);
                self.int(*val);
            }
            I::PacketCheck { ptr, end, .. } => {
                let ok = matches!(self.class(*ptr), Some(PtrClass::Packet | PtrClass::PacketMeta));
                self.need(ok, "the operand must be a packet pointer");
                let ok = match self.class(*ptr) {
                    Some(PtrClass::PacketMeta) => self.class(*end) == Some(PtrClass::Packet),
                    _ => self.class(*end) == Some(PtrClass::PacketEnd),
                };
                self.need(ok, "packets end at packet_end, their metadata at the packet");
            }
            _ => {}
        }
    }

    fn strings(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::StrConst { dst, .. } => self.written(*dst),
            I::StrCopy { dst, src, .. } => {
                self.written(*dst);
                self.bytes(*src);
            }
            I::StrEq { a, b, .. } | I::StrEqN { a, b, .. } | I::StrFind { hay: a, needle: b, .. } => {
                self.bytes(*a);
                self.bytes(*b);
            }
            I::StrEqConst { a: ptr, .. } | I::StrLen { ptr, .. } => self.bytes(*ptr),
            I::StrMember { ptr, set, .. } => {
                self.bytes(*ptr);
                let ok = matches!(self.c.module.sets[*set], Set::Strings(_));
                self.need(ok, "the set must be one of strings");
            }
            I::PrefixMatch { ptr, set } => {
                self.bytes(*ptr);
                let ok = match &self.c.module.sets[*set] {
                    Set::Prefixes { bytes, list } => list
                        .iter()
                        .all(|(b, n)| b.len() == *bytes as usize && u64::from(*n) <= u64::from(*bytes) * 8),
                    _ => false,
                };
                self.need(ok, "the set must be one of prefixes of its size");
            }
            I::SetMember { val, set } => {
                self.i64(*val);
                let ok = matches!(self.c.module.sets[*set], Set::Ints(_));
                self.need(ok, "the set must be one of integers");
            }
            _ => {}
        }
    }

    fn objects(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::FieldLoad { base, path, .. } | I::FieldAddr { base, path } => {
                let ok = self.class(*base).is_some_and(|c| c.pointee().is_some());
                self.need(ok, "the base must point to a kernel or user object");
                for step in path {
                    if let Step::IndexBy(index, _) = step {
                        self.i64(*index);
                    }
                }
            }
            I::Core { path, .. } => {
                let fixed = !path.iter().any(|s| matches!(s, Step::IndexBy(..)));
                self.need(fixed, "the path must be constant");
            }
            I::ProbeRead { dst, len, src, space, .. } => {
                self.written(*dst);
                self.i64(*len);
                self.address(*src, *space);
            }
            I::ProbeReadStr { dst, len, src, space, .. } => {
                self.written(*dst);
                if let Some(len) = len {
                    self.i64(*len);
                }
                self.address(*src, *space);
            }
            _ => {}
        }
    }

    fn address(&mut self, v: Value, space: crate::inst::Space) {
        use crate::inst::Space;
        let ok = match (self.ty(v).as_ptr().map(|p| p.class), space) {
            (None, _) => self.ty(v) == Ty::I64,
            (Some(PtrClass::User(_)), Space::User) => true,
            (Some(class), Space::Kernel) => class.pointee().is_some() && !matches!(class, PtrClass::User(_)),
            _ => false,
        };
        self.need(ok, "the source must be an address of the memory that is read");
    }

    fn maps(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::MapLookup { key, .. } | I::MapDelete { key, .. } | I::MapUpsert { key, .. } => {
                self.bytes(*key);
            }
            I::MapLookupPercpu { map, key, cpu } => {
                self.bytes(*key);
                self.i64(*cpu);
                let ok = self.c.module.maps[*map].kind.is_per_cpu();
                self.need(ok, "the map must be a per-CPU map");
            }
            I::MapUpdate { key, val, .. } => {
                self.bytes(*key);
                self.bytes(*val);
            }
            I::ForRange { start, end, .. } => {
                self.i64(*start);
                self.i64(*end);
            }
            I::TailCall { ctx, map, index } => {
                self.ctx(*ctx);
                let ok = self.ty(*index) == Ty::I32;
                self.need(ok, "the place must be an i32");
                let ok = self.c.module.maps[*map].kind == MapKind::ProgArray;
                self.need(ok, "the map must be a program array");
            }
            I::StackId { ctx, .. } => self.ctx(*ctx),
            _ => {}
        }
    }

    fn script(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::Agg { agg, cell, val } => {
                self.written(*cell);
                let shared = match self.class(*cell) {
                    Some(PtrClass::MapValue(m)) => !self.c.module.maps[m].kind.is_per_cpu(),
                    Some(PtrClass::Global(_)) => true,
                    _ => {
                        self.need(false, "the cell must be in a map or global");
                        false
                    }
                };
                let one_word = matches!(agg, Agg::Count | Agg::Sum);
                self.need(one_word || !shared, "cells of two words must be in a per-CPU map");
                self.need(
                    val.is_some() != (*agg == Agg::Count),
                    "a count takes no number, the others take one",
                );
                if let Some(val) = val {
                    self.i64(*val);
                }
            }
            I::HistBucket { val, bits } => {
                self.i64(*val);
                self.need(*bits <= 5, "a power of two has at most 2^5 buckets");
            }
            I::LinearBucket { val, min, max, step } => {
                self.i64(*val);
                self.need(min < max && *step > 0, "the buckets must ascend");
            }
            I::EventReserve { ring, .. } | I::EventOutput { ring, .. } => {
                let ok = matches!(self.c.module.maps[*ring].kind, MapKind::RingBuf | MapKind::PerfEventArray);
                self.need(ok, "the map must be a ring");
                if let I::EventOutput { data, len, .. } = kind {
                    self.bytes(*data);
                    self.i64(*len);
                }
            }
            I::EventSubmit { rec, .. } | I::EventDiscard { rec } => {
                let ok = matches!(self.class(*rec), Some(PtrClass::Record(_)));
                self.need(ok, "the operand must be a record");
            }
            _ => {}
        }
    }

    fn ends(&mut self, kind: &InstKind) {
        use InstKind as I;
        match kind {
            I::CondBr { cond, .. } => self.i1(*cond),
            I::Switch { val, cases, .. } => {
                self.int(*val);
                let mut numbers: Vec<i64> = cases.iter().map(|(n, _)| *n).collect();
                numbers.sort_unstable();
                numbers.dedup();
                self.need(numbers.len() == cases.len(), "two cases have one number");
            }
            I::Ret(value) => {
                let ok = value.map(|v| self.ty(v)) == self.c.func.ret;
                self.need(ok, "the value has not the type of the function's result");
            }
            _ => {}
        }
    }
}
