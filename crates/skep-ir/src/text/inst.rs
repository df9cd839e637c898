//! Instructions as text: printing. The parser is `parse_inst`; both list the variants in the same order.

use super::names::{
    agg_words, atomic_word, bin_word, cmp_word, core_word, is_word, ledger_word, quoted, symbol, unique,
};
use super::symbols::Names;
use super::types::TypePrinter;
use crate::func::{Block, Func, Slot, Value};
use crate::inst::{Fact, InstKind, Scalar, Space, Step, Target};
use cranelift_entity::{EntityRef, SecondaryMap};
use std::fmt::Write as _;

/// Numbers of values and blocks in the order of the layout, and symbols of slots.
pub(super) struct Numbering {
    values: SecondaryMap<Value, u32>,
    blocks: SecondaryMap<Block, u32>,
    slots: Vec<String>,
}

const NONE: u32 = u32::MAX;

impl Numbering {
    pub(super) fn of(func: &Func) -> Self {
        let mut values = SecondaryMap::with_default(NONE);
        let mut blocks = SecondaryMap::with_default(NONE);
        let mut next = 0;
        for (number, &block) in func.layout.iter().enumerate() {
            blocks[block] = number as u32;
            let data = &func.blocks[block];
            let results = data.insts.iter().filter_map(|&i| func.insts[i].result.expand());
            for value in data.params.iter().copied().chain(results) {
                values[value] = next;
                next += 1;
            }
        }
        let slots = unique(func.slots.values().map(|s| s.name.as_str()));
        Numbering { values, blocks, slots }
    }

    pub(super) fn value(&self, value: Value) -> String {
        match self.values[value] {
            // Only what the checker refuses uses values from nowhere.
            NONE => format!("v?{}", value.index()),
            n => format!("v{n}"),
        }
    }

    pub(super) fn block(&self, block: Block) -> String {
        match self.blocks[block] {
            NONE => format!("b?{}", block.index()),
            n => format!("b{n}"),
        }
    }

    pub(super) fn slot(&self, slot: Slot) -> String {
        self.slots.get(slot.index()).map_or_else(|| format!("$?{}", slot.index()), |name| symbol('$', name))
    }
}

/// Prints instructions of one function.
pub(super) struct InstPrinter<'p, 'm> {
    pub(super) names: &'p Names,
    pub(super) types: &'p mut TypePrinter<'m>,
    pub(super) numbers: &'p Numbering,
}

impl InstPrinter<'_, '_> {
    fn v(&self, value: Value) -> String {
        self.numbers.value(value)
    }

    fn values(&self, values: &[Value]) -> String {
        values.iter().map(|&v| self.v(v)).collect::<Vec<_>>().join(", ")
    }

    fn target(&self, target: &Target) -> String {
        let block = self.numbers.block(target.block);
        if target.args.is_empty() { block } else { format!("{block}({})", self.values(&target.args)) }
    }

    /// A pointer and a displacement.
    fn place(&self, ptr: Value, off: i32) -> String {
        match off {
            0 => self.v(ptr),
            _ if off < 0 => format!("{} - {}", self.v(ptr), off.unsigned_abs()),
            _ => format!("{} + {off}", self.v(ptr)),
        }
    }

    fn path(&self, path: &[Step]) -> String {
        path.iter().fold(String::new(), |mut out, step| {
            let _ = match step {
                Step::Field(name) if is_word(name) => write!(out, " .{name}"),
                Step::Field(name) => write!(out, " .{}", quoted(name.as_bytes())),
                Step::Index(n) => write!(out, " [{n}]"),
                Step::IndexBy(v, size) => write!(out, " [{} * {size}]", self.v(*v)),
                Step::Offset(n) if *n < 0 => write!(out, " - {}", n.unsigned_abs()),
                Step::Offset(n) => write!(out, " + {n}"),
            };
            out
        })
    }

    fn scalar(scalar: Option<Scalar>) -> String {
        let Some(s) = scalar else { return String::new() };
        let sign = if s.signed { "signed" } else { "unsigned" };
        let bits = s.bits.map_or_else(String::new, |(from, n)| format!(" bits {from}, {n}"));
        format!(" as {sign} {}{bits}", s.bytes)
    }

    fn fact(fact: Fact) -> String {
        match fact {
            Fact::Unsigned(lo, hi) => format!("unsigned {lo}..{hi}"),
            Fact::Signed(lo, hi) => format!("signed {lo}..{hi}"),
            Fact::NonNull => "nonnull".to_owned(),
            Fact::PacketRange(n) => format!("packet {n}"),
        }
    }

    /// An instruction without its result.
    pub(super) fn kind(&mut self, kind: &InstKind) -> String {
        use InstKind as I;
        match kind {
            I::Const(n) => format!("const {n}"),
            I::Null => "null".to_owned(),
            I::Bin(op, a, b) => format!("{} {}, {}", bin_word(*op), self.v(*a), self.v(*b)),
            I::Neg(a) => format!("neg {}", self.v(*a)),
            I::Bswap(a) => format!("bswap {}", self.v(*a)),
            I::Cmp(op, a, b) => format!("cmp {} {}, {}", cmp_word(*op), self.v(*a), self.v(*b)),
            I::IsNull(a) => format!("is_null {}", self.v(*a)),
            I::Zext(a) => format!("zext {}", self.v(*a)),
            I::Sext(a) => format!("sext {}", self.v(*a)),
            I::Trunc(a) => format!("trunc {}", self.v(*a)),
            I::Select(a, b, c) => format!("select {}", self.values(&[*a, *b, *c])),
            I::Refine(a, fact) => format!("refine {}, {}", self.v(*a), Self::fact(*fact)),
            I::SlotAddr(slot) => format!("slot_addr {}", self.numbers.slot(*slot)),
            I::Capture(n) => format!("capture {n}"),
            I::GlobalAddr(id) => format!("global_addr {}", self.names.global(*id)),
            I::MapRef(id) => format!("map_ref {}", self.names.map(*id)),
            I::FuncRef(id) => format!("func_ref {}", self.names.func(*id)),
            I::PtrAdd(p, off, None) => format!("ptr_add {}, {off}", self.v(*p)),
            I::PtrAdd(p, off, Some(by)) => format!("ptr_add {}, {off}, {}", self.v(*p), self.v(*by)),
            I::PtrToInt(a) => format!("ptr_to_int {}", self.v(*a)),
            I::IntToPtr(a) => format!("int_to_ptr {}", self.v(*a)),
            I::Load { ptr, off, volatile } => {
                format!("load {}{}", if *volatile { "volatile " } else { "" }, self.place(*ptr, *off))
            }
            I::Store { ptr, off, val } => format!("store {}, {}", self.place(*ptr, *off), self.v(*val)),
            I::MemCopy { dst, src, len } => format!("mem_copy {}, {len}", self.values(&[*dst, *src])),
            I::MemSet { dst, byte, len } => format!("mem_set {}, {byte}, {len}", self.v(*dst)),
            I::MemEq { a, b, len } => format!("mem_eq {}, {len}", self.values(&[*a, *b])),
            I::CtxLoad { ctx, off } => format!("ctx_load {}", self.place(*ctx, *off)),
            I::CtxStore { ctx, off, val } => {
                format!("ctx_store {}, {}", self.place(*ctx, *off), self.v(*val))
            }
            I::FieldLoad { base, path, scalar } => {
                format!("field_load {}{}{}", self.v(*base), self.path(path), Self::scalar(*scalar))
            }
            I::FieldAddr { base, path } => format!("field_addr {}{}", self.v(*base), self.path(path)),
            I::ProbeRead { dst, len, max, src, space } => {
                let (dst, len, src) = (self.v(*dst), self.v(*len), self.v(*src));
                format!("probe_read {} {dst}, {len}, {max}, {src}", space_word(*space))
            }
            I::ProbeReadStr { dst, cap, len, src, space } => {
                let len = len.map_or_else(|| "all".to_owned(), |v| self.v(v));
                let (dst, src) = (self.v(*dst), self.v(*src));
                format!("probe_read_str {} {dst}, {cap}, {len}, {src}", space_word(*space))
            }
            I::Core { what, ty, path } => {
                format!("core {} {}{}", core_word(*what), self.types.memory(*ty), self.path(path))
            }
            I::MapLookup { .. }
            | I::MapLookupPercpu { .. }
            | I::MapUpsert { .. }
            | I::MapUpdate { .. }
            | I::MapDelete { .. }
            | I::ForEach { .. }
            | I::ForRange { .. }
            | I::Helper(..)
            | I::Kfunc(..)
            | I::Call(..)
            | I::TailCall { .. }
            | I::Atomic { .. }
            | I::CmpXchg { .. } => self.outside(kind),
            I::Br(_) | I::CondBr { .. } | I::Switch { .. } | I::Ret(_) | I::Unreachable => self.end(kind),
            _ => self.composed(kind),
        }
    }

    /// Maps and calls.
    fn outside(&mut self, kind: &InstKind) -> String {
        use InstKind as I;
        match kind {
            I::MapLookup { map, key } => format!("map_lookup {}, {}", self.names.map(*map), self.v(*key)),
            I::MapLookupPercpu { map, key, cpu } => {
                format!("map_lookup_percpu {}, {}", self.names.map(*map), self.values(&[*key, *cpu]))
            }
            I::MapUpsert { map, key } => format!("map_upsert {}, {}", self.names.map(*map), self.v(*key)),
            I::MapUpdate { map, key, val, flags } => {
                format!("map_update {}, {}, {flags}", self.names.map(*map), self.values(&[*key, *val]))
            }
            I::MapDelete { map, key } => format!("map_delete {}, {}", self.names.map(*map), self.v(*key)),
            I::ForEach { map, body, captures } => {
                let (map, body) = (self.names.map(*map), self.names.func(*body));
                format!("for_each {map}, {body}({})", self.values(captures))
            }
            I::ForRange { start, end, body, captures } => {
                let ends = self.values(&[*start, *end]);
                format!("for_range {ends}, {}({})", self.names.func(*body), self.values(captures))
            }
            I::Helper(number, args) => {
                let name = skep_asm::helpers::name(*number).map_or_else(|| number.to_string(), str::to_owned);
                format!("helper {name}({})", self.values(args))
            }
            I::Kfunc(name, args) => format!("kfunc {}({})", quoted(name.as_bytes()), self.values(args)),
            I::Call(func, args) => format!("call {}({})", self.names.func(*func), self.values(args)),
            I::TailCall { ctx, map, index } => {
                format!("tail_call {}, {}, {}", self.v(*ctx), self.names.map(*map), self.v(*index))
            }
            I::Atomic { op, ptr, off, val } => {
                format!("atomic {} {}, {}", atomic_word(*op), self.place(*ptr, *off), self.v(*val))
            }
            I::CmpXchg { ptr, off, expected, new } => {
                format!("cmp_xchg {}, {}", self.place(*ptr, *off), self.values(&[*expected, *new]))
            }
            _ => String::new(),
        }
    }

    /// Strings, script, rule and packet operations.
    fn composed(&mut self, kind: &InstKind) -> String {
        use InstKind as I;
        match kind {
            I::StrConst { dst, text, cap } => format!("str_const {}, {}, {cap}", self.v(*dst), quoted(text)),
            I::StrCopy { dst, dst_cap, src, src_cap } => {
                format!("str_copy {}, {dst_cap}, {}, {src_cap}", self.v(*dst), self.v(*src))
            }
            I::StrEq { a, a_cap, b, b_cap } => {
                format!("str_eq {}, {a_cap}, {}, {b_cap}", self.v(*a), self.v(*b))
            }
            I::StrEqConst { a, cap, text } => format!("str_eq_const {}, {cap}, {}", self.v(*a), quoted(text)),
            I::StrEqN { a, a_cap, b, b_cap, n } => {
                format!("str_eq_n {}, {a_cap}, {}, {b_cap}, {n}", self.v(*a), self.v(*b))
            }
            I::StrLen { ptr, cap } => format!("str_len {}, {cap}", self.v(*ptr)),
            I::StrFind { hay, hay_cap, needle, needle_cap } => {
                format!("str_find {}, {hay_cap}, {}, {needle_cap}", self.v(*hay), self.v(*needle))
            }
            I::Agg { agg, cell, val } => {
                let (word, signed) = agg_words(*agg);
                let sign = signed.map_or("", |s| if s { " signed" } else { " unsigned" });
                let val = val.map_or_else(String::new, |v| format!(", {}", self.v(v)));
                format!("agg {word}{sign} {}{val}", self.v(*cell))
            }
            I::HistBucket { val, bits } => format!("hist_bucket {}, {bits}", self.v(*val)),
            I::LinearBucket { val, min, max, step } => {
                format!("linear_bucket {}, {min}, {max}, {step}", self.v(*val))
            }
            I::EventReserve { ring, size } => format!("event_reserve {}, {size}", self.names.map(*ring)),
            I::EventSubmit { rec, wake } => {
                format!("event_submit {}{}", self.v(*rec), if *wake { ", wake" } else { "" })
            }
            I::EventDiscard { rec } => format!("event_discard {}", self.v(*rec)),
            I::EventOutput { ring, data, len, max } => {
                format!("event_output {}, {}, {max}", self.names.map(*ring), self.values(&[*data, *len]))
            }
            I::Count(counter) => format!("count {}", ledger_word(*counter)),
            I::StackId { ctx, map, user, depth, build_id } => {
                let space = if *user { "user" } else { "kernel" };
                let frames = if *build_id { ", build_id" } else { "" };
                format!("stack_id {}, {}, {space}, {depth}{frames}", self.v(*ctx), self.names.map(*map))
            }
            I::SetMember { val, set } => format!("set_member {}, {}", self.v(*val), self.names.set(*set)),
            I::StrMember { ptr, cap, set } => {
                format!("str_member {}, {cap}, {}", self.v(*ptr), self.names.set(*set))
            }
            I::PrefixMatch { ptr, set } => format!("prefix_match {}, {}", self.v(*ptr), self.names.set(*set)),
            I::PacketCheck { ptr, end, len } => format!("packet_check {}, {len}", self.values(&[*ptr, *end])),
            _ => String::new(),
        }
    }

    fn end(&self, kind: &InstKind) -> String {
        use InstKind as I;
        match kind {
            I::Br(to) => format!("br {}", self.target(to)),
            I::CondBr { cond, then, other } => {
                format!("br_if {}, {}, {}", self.v(*cond), self.target(then), self.target(other))
            }
            I::Switch { val, cases, default } => {
                let cases: Vec<String> =
                    cases.iter().map(|(n, to)| format!("{n}: {}", self.target(to))).collect();
                format!("switch {} [{}], {}", self.v(*val), cases.join(", "), self.target(default))
            }
            I::Ret(None) => "ret".to_owned(),
            I::Ret(Some(v)) => format!("ret {}", self.v(*v)),
            _ => "unreachable".to_owned(),
        }
    }
}

pub(super) fn space_word(space: Space) -> &'static str {
    match space {
        Space::Kernel => "kernel",
        Space::User => "user",
        Space::Any => "any",
    }
}
