//! Instructions from text. The printer is `inst`; both list the variants in the same order.

use super::lex::{Cursor, Fault, Parsed, Token};
use super::names::{atomic_of, bin_of, cmp_of, core_of, ledger_of};
use super::parse_func::FuncParser;
use crate::func::Value;
use crate::inst::{Agg, Fact, InstKind, Scalar, Space, Step, Target};

/// An instruction without its result.
pub(super) fn instruction(p: &mut FuncParser<'_>, c: &mut Cursor<'_>) -> Parsed<InstKind> {
    let Token::Word(word) = *c.peek() else { return c.expected("an instruction") };
    let at = c.offset();
    c.next();
    let kind = Reader { p, c }.kind(word)?;
    kind.ok_or_else(|| Fault { at, message: format!("there is no instruction `{word}`") })
}

/// Reads operands.
struct Reader<'r, 'p, 't> {
    p: &'r mut FuncParser<'p>,
    c: &'r mut Cursor<'t>,
}

impl Reader<'_, '_, '_> {
    fn v(&mut self) -> Parsed<Value> {
        self.p.value(self.c)
    }

    fn comma(&mut self) -> Parsed<()> {
        self.c.sign(",")
    }

    /// `, value`
    fn next_v(&mut self) -> Parsed<Value> {
        self.comma()?;
        self.v()
    }

    /// `, number`
    fn next_uint<T: TryFrom<u64>>(&mut self) -> Parsed<T> {
        self.comma()?;
        self.c.uint()
    }

    fn next_i64(&mut self) -> Parsed<i64> {
        self.comma()?;
        self.c.i64()
    }

    fn next_text(&mut self) -> Parsed<Vec<u8>> {
        self.comma()?;
        self.c.bytes()
    }

    fn values(&mut self) -> Parsed<Vec<Value>> {
        let p = &mut *self.p;
        self.c.list("(", ")", |c| p.value(c))
    }

    /// A pointer and a displacement.
    fn place(&mut self) -> Parsed<(Value, i32)> {
        Ok((self.v()?, self.c.displacement()?))
    }

    fn target(&mut self) -> Parsed<Target> {
        let block = self.p.block_use(self.c)?;
        let args = if matches!(self.c.peek(), Token::Sign("(")) { self.values()? } else { Vec::new() };
        Ok(Target { block, args })
    }

    fn space(&mut self) -> Parsed<Space> {
        let of = |w: &str| match w {
            "kernel" => Some(Space::Kernel),
            "user" => Some(Space::User),
            "any" => Some(Space::Any),
            _ => None,
        };
        self.c.one_of("`kernel`, `user` or `any`", of)
    }

    fn signed(&mut self) -> Parsed<bool> {
        let of = |w: &str| match w {
            "signed" => Some(true),
            "unsigned" => Some(false),
            _ => None,
        };
        self.c.one_of("`signed` or `unsigned`", of)
    }

    fn path(&mut self) -> Parsed<Vec<Step>> {
        let mut path = Vec::new();
        loop {
            if self.c.eat(".") {
                path.push(Step::Field(match self.c.peek() {
                    Token::Str(_) => self.c.string()?,
                    _ => self.c.any_word("a field")?.to_owned(),
                }));
            } else if self.c.eat("[") {
                path.push(if matches!(self.c.peek(), Token::Int(_)) {
                    Step::Index(self.c.uint()?)
                } else {
                    let index = self.v()?;
                    self.c.sign("*")?;
                    Step::IndexBy(index, self.c.uint()?)
                });
                self.c.sign("]")?;
            } else if matches!(self.c.peek(), Token::Sign("+" | "-")) {
                path.push(Step::Offset(self.c.displacement()?));
            } else {
                return Ok(path);
            }
        }
    }

    fn scalar(&mut self) -> Parsed<Option<Scalar>> {
        if !self.c.eat_word("as") {
            return Ok(None);
        }
        let signed = self.signed()?;
        let bytes = self.c.uint()?;
        let bits = if self.c.eat_word("bits") { Some((self.c.uint()?, self.next_uint()?)) } else { None };
        Ok(Some(Scalar { bytes, signed, bits }))
    }

    fn fact(&mut self) -> Parsed<Fact> {
        self.comma()?;
        match self.c.any_word("a fact")? {
            "unsigned" => {
                let lo = self.c.u64()?;
                self.c.sign("..")?;
                Ok(Fact::Unsigned(lo, self.c.u64()?))
            }
            "signed" => {
                let lo = self.c.i64()?;
                self.c.sign("..")?;
                Ok(Fact::Signed(lo, self.c.i64()?))
            }
            "nonnull" => Ok(Fact::NonNull),
            "packet" => Ok(Fact::PacketRange(self.c.uint()?)),
            other => self.c.fault(format!("`{other}` is no fact")),
        }
    }

    fn kind(&mut self, word: &str) -> Parsed<Option<InstKind>> {
        use InstKind as I;
        if let Some(op) = bin_of(word) {
            return Ok(Some(I::Bin(op, self.v()?, self.next_v()?)));
        }
        Ok(Some(match word {
            "const" => I::Const(self.c.i64()?),
            "null" => I::Null,
            "neg" => I::Neg(self.v()?),
            "bswap" => I::Bswap(self.v()?),
            "cmp" => I::Cmp(self.c.one_of("a comparison", cmp_of)?, self.v()?, self.next_v()?),
            "is_null" => I::IsNull(self.v()?),
            "zext" => I::Zext(self.v()?),
            "sext" => I::Sext(self.v()?),
            "trunc" => I::Trunc(self.v()?),
            "select" => I::Select(self.v()?, self.next_v()?, self.next_v()?),
            "refine" => I::Refine(self.v()?, self.fact()?),
            "slot_addr" => I::SlotAddr(self.p.slot(self.c)?),
            "capture" => I::Capture(self.c.uint()?),
            "global_addr" => I::GlobalAddr(self.p.names.parse_global(self.c)?),
            "map_ref" => I::MapRef(self.p.names.parse_map(self.c)?),
            "func_ref" => I::FuncRef(self.p.names.parse_func(self.c)?),
            "ptr_add" => {
                let ptr = self.v()?;
                self.comma()?;
                let off = self.c.i32()?;
                I::PtrAdd(ptr, off, if self.c.eat(",") { Some(self.v()?) } else { None })
            }
            "ptr_to_int" => I::PtrToInt(self.v()?),
            "int_to_ptr" => I::IntToPtr(self.v()?),
            "load" => {
                let volatile = self.c.eat_word("volatile");
                let (ptr, off) = self.place()?;
                I::Load { ptr, off, volatile }
            }
            "store" => {
                let (ptr, off) = self.place()?;
                I::Store { ptr, off, val: self.next_v()? }
            }
            "mem_copy" => I::MemCopy { dst: self.v()?, src: self.next_v()?, len: self.next_uint()? },
            "mem_set" => I::MemSet { dst: self.v()?, byte: self.next_uint()?, len: self.next_uint()? },
            "mem_eq" => I::MemEq { a: self.v()?, b: self.next_v()?, len: self.next_uint()? },
            "ctx_load" => {
                let (ctx, off) = self.place()?;
                I::CtxLoad { ctx, off }
            }
            "ctx_store" => {
                let (ctx, off) = self.place()?;
                I::CtxStore { ctx, off, val: self.next_v()? }
            }
            "field_load" => I::FieldLoad { base: self.v()?, path: self.path()?, scalar: self.scalar()? },
            "field_addr" => I::FieldAddr { base: self.v()?, path: self.path()? },
            "probe_read" => {
                let space = self.space()?;
                let (dst, len, max) = (self.v()?, self.next_v()?, self.next_uint()?);
                I::ProbeRead { dst, len, max, src: self.next_v()?, space }
            }
            "probe_read_str" => {
                let space = self.space()?;
                let (dst, cap) = (self.v()?, self.next_uint()?);
                self.comma()?;
                let len = if self.c.eat_word("all") { None } else { Some(self.v()?) };
                I::ProbeReadStr { dst, cap, len, src: self.next_v()?, space }
            }
            "core" => {
                let what = self.c.one_of("a question", core_of)?;
                I::Core { what, ty: self.p.types.memory(self.c)?, path: self.path()? }
            }
            "br" | "br_if" | "switch" | "ret" | "unreachable" => self.end(word)?,
            _ => {
                return Ok(match self.outside(word)? {
                    Some(kind) => Some(kind),
                    None => self.composed(word)?,
                });
            }
        }))
    }

    /// Maps and calls.
    fn outside(&mut self, word: &str) -> Parsed<Option<InstKind>> {
        use InstKind as I;
        let kind = match word {
            "map_lookup" => I::MapLookup { map: self.p.names.parse_map(self.c)?, key: self.next_v()? },
            "map_lookup_percpu" => {
                let map = self.p.names.parse_map(self.c)?;
                I::MapLookupPercpu { map, key: self.next_v()?, cpu: self.next_v()? }
            }
            "map_upsert" => I::MapUpsert { map: self.p.names.parse_map(self.c)?, key: self.next_v()? },
            "map_update" => {
                let map = self.p.names.parse_map(self.c)?;
                I::MapUpdate { map, key: self.next_v()?, val: self.next_v()?, flags: self.next_uint()? }
            }
            "map_delete" => I::MapDelete { map: self.p.names.parse_map(self.c)?, key: self.next_v()? },
            "for_each" => {
                let map = self.p.names.parse_map(self.c)?;
                self.comma()?;
                I::ForEach { map, body: self.p.names.parse_func(self.c)?, captures: self.values()? }
            }
            "for_range" => {
                let (start, end) = (self.v()?, self.next_v()?);
                self.comma()?;
                I::ForRange { start, end, body: self.p.names.parse_func(self.c)?, captures: self.values()? }
            }
            "helper" => {
                let number = if matches!(self.c.peek(), Token::Int(_)) {
                    self.c.uint()?
                } else {
                    self.c.one_of("a helper", skep_asm::helpers::id)?
                };
                I::Helper(number, self.values()?)
            }
            "kfunc" => I::Kfunc(self.c.string()?, self.values()?),
            "call" => I::Call(self.p.names.parse_func(self.c)?, self.values()?),
            "tail_call" => {
                let ctx = self.v()?;
                self.comma()?;
                let map = self.p.names.parse_map(self.c)?;
                I::TailCall { ctx, map, index: self.next_v()? }
            }
            "atomic" => {
                let op = self.c.one_of("an atomic operation", atomic_of)?;
                let (ptr, off) = self.place()?;
                I::Atomic { op, ptr, off, val: self.next_v()? }
            }
            "cmp_xchg" => {
                let (ptr, off) = self.place()?;
                I::CmpXchg { ptr, off, expected: self.next_v()?, new: self.next_v()? }
            }
            _ => return Ok(None),
        };
        Ok(Some(kind))
    }

    /// Strings, script, rule and packet operations.
    fn composed(&mut self, word: &str) -> Parsed<Option<InstKind>> {
        use InstKind as I;
        Ok(Some(match word {
            "str_const" => I::StrConst { dst: self.v()?, text: self.next_text()?, cap: self.next_uint()? },
            "str_copy" => {
                let (dst, dst_cap) = (self.v()?, self.next_uint()?);
                I::StrCopy { dst, dst_cap, src: self.next_v()?, src_cap: self.next_uint()? }
            }
            "str_eq" => {
                let (a, a_cap) = (self.v()?, self.next_uint()?);
                I::StrEq { a, a_cap, b: self.next_v()?, b_cap: self.next_uint()? }
            }
            "str_eq_const" => I::StrEqConst { a: self.v()?, cap: self.next_uint()?, text: self.next_text()? },
            "str_eq_n" => {
                let (a, a_cap) = (self.v()?, self.next_uint()?);
                I::StrEqN { a, a_cap, b: self.next_v()?, b_cap: self.next_uint()?, n: self.next_uint()? }
            }
            "str_len" => I::StrLen { ptr: self.v()?, cap: self.next_uint()? },
            "str_find" => {
                let (hay, hay_cap) = (self.v()?, self.next_uint()?);
                I::StrFind { hay, hay_cap, needle: self.next_v()?, needle_cap: self.next_uint()? }
            }
            "agg" => {
                let agg = match self.c.any_word("an aggregation")? {
                    "count" => Agg::Count,
                    "sum" => Agg::Sum,
                    "min" => Agg::Min { signed: self.signed()? },
                    "max" => Agg::Max { signed: self.signed()? },
                    "stats" => Agg::Stats,
                    other => return self.c.fault(format!("`{other}` is no aggregation")),
                };
                let cell = self.v()?;
                I::Agg { agg, cell, val: if self.c.eat(",") { Some(self.v()?) } else { None } }
            }
            "hist_bucket" => I::HistBucket { val: self.v()?, bits: self.next_uint()? },
            "linear_bucket" => I::LinearBucket {
                val: self.v()?,
                min: self.next_i64()?,
                max: self.next_i64()?,
                step: self.next_i64()?,
            },
            "event_reserve" => {
                I::EventReserve { ring: self.p.names.parse_map(self.c)?, size: self.next_uint()? }
            }
            "event_submit" => {
                let rec = self.v()?;
                let wake = self.c.eat(",");
                if wake {
                    self.c.word("wake")?;
                }
                I::EventSubmit { rec, wake }
            }
            "event_discard" => I::EventDiscard { rec: self.v()? },
            "event_output" => {
                let ring = self.p.names.parse_map(self.c)?;
                I::EventOutput { ring, data: self.next_v()?, len: self.next_v()?, max: self.next_uint()? }
            }
            "count" => I::Count(self.c.one_of("a counter of the ledger", ledger_of)?),
            "stack_id" => {
                let ctx = self.v()?;
                self.comma()?;
                let map = self.p.names.parse_map(self.c)?;
                self.comma()?;
                let user = self.space()? == Space::User;
                let depth = self.next_uint()?;
                let build_id = self.c.eat(",");
                if build_id {
                    self.c.word("build_id")?;
                }
                I::StackId { ctx, map, user, depth, build_id }
            }
            "set_member" => {
                let val = self.v()?;
                self.comma()?;
                I::SetMember { val, set: self.p.names.parse_set(self.c)? }
            }
            "str_member" => {
                let (ptr, cap) = (self.v()?, self.next_uint()?);
                self.comma()?;
                I::StrMember { ptr, cap, set: self.p.names.parse_set(self.c)? }
            }
            "prefix_match" => {
                let ptr = self.v()?;
                self.comma()?;
                I::PrefixMatch { ptr, set: self.p.names.parse_set(self.c)? }
            }
            "packet_check" => I::PacketCheck { ptr: self.v()?, end: self.next_v()?, len: self.next_uint()? },
            _ => return Ok(None),
        }))
    }

    fn end(&mut self, word: &str) -> Parsed<InstKind> {
        use InstKind as I;
        Ok(match word {
            "br" => I::Br(self.target()?),
            "br_if" => {
                let cond = self.v()?;
                self.comma()?;
                let then = self.target()?;
                self.comma()?;
                I::CondBr { cond, then, other: self.target()? }
            }
            "switch" => {
                let val = self.v()?;
                let mut cases = Vec::new();
                self.c.sign("[")?;
                while !self.c.eat("]") {
                    if !cases.is_empty() {
                        self.comma()?;
                    }
                    let n = self.c.i64()?;
                    self.c.sign(":")?;
                    cases.push((n, self.target()?));
                }
                self.comma()?;
                I::Switch { val, cases, default: self.target()? }
            }
            "ret" => {
                let has_value = matches!(self.c.peek(), Token::Word(w) if w.starts_with('v'))
                    && !matches!(self.c.ahead(1), Token::Sign(":"));
                I::Ret(if has_value { Some(self.v()?) } else { None })
            }
            _ => I::Unreachable,
        })
    }
}
