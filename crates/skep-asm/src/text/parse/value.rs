//! What a register can be set to.

use super::SymbolKind;
use super::cursor::{Result, Tokens};
use super::statement::Statement;
use crate::asm::SymKind;
use crate::insn::Insn;
use crate::kind::WideImm;
use crate::op::{AtomicOp, Size, SwapBits, SwapOp, Width};
use crate::reg::Reg;
use crate::text::lexer::{Spanned, Token};

impl Tokens<'_, '_> {
    /// What both widths can be set to: `-r1`, `(s8)r2`.
    fn value_of_width(&mut self, width: Width, dst: Reg) -> Result<Option<Statement>> {
        if let [Spanned { token: Token::Sign("-"), .. }, Spanned { token: Token::Word(_), .. }, ..] =
            self.rest
        {
            self.rest = &self.rest[1..];
            self.same(width, dst)?;
            return Ok(Some(Insn::neg(width, dst).into()));
        }
        if self.sign("(") {
            let before = self.rest;
            let size = match self.type_name()? {
                (Size::W, true) if width == Width::W32 => None,
                (size, true) => Some(size),
                _ => None,
            };
            let Some(size) = size else {
                self.rest = before;
                return self.unexpected("a signed type narrower than the register");
            };
            self.expect(")")?;
            let src = self.reg_of(width)?;
            return Ok(Some(Insn::movsx(width, size, dst, src).into()));
        }
        Ok(None)
    }

    pub(super) fn value32(&mut self, dst: Reg) -> Result<Statement> {
        if let Some(statement) = self.value_of_width(Width::W32, dst)? {
            return Ok(statement);
        }
        let rhs = self.operand(Width::W32, true)?;
        Ok(Insn::mov32(dst, rhs).into())
    }

    pub(super) fn value64(&mut self, dst: Reg) -> Result<Statement> {
        if let Some(statement) = self.value_of_width(Width::W64, dst)? {
            return Ok(statement);
        }
        if self.sign("*") {
            return self.load(dst);
        }
        match self.peek_word() {
            None => self.constant(dst),
            Some(word) => {
                if let Some((op, bits)) = swap_of(word) {
                    self.rest = &self.rest[1..];
                    self.same(Width::W64, dst)?;
                    return Ok(Insn::swap(op, bits, dst).into());
                }
                if let Some((width, op)) = fetch_of(word) {
                    self.rest = &self.rest[1..];
                    return self.fetch(dst, width, op);
                }
                match word {
                    "load_acquire" => {
                        self.rest = &self.rest[1..];
                        self.expect("(")?;
                        let (size, base, off) = self.unsigned_place()?;
                        self.expect(")")?;
                        Ok(Insn::load_acquire(size, dst, base, off).into())
                    }
                    "addr_space_cast" => self.addr_space_cast(dst),
                    "map" => self.map(dst),
                    "btf_id" => self.btf_id(dst),
                    "ksym" => {
                        self.rest = &self.rest[1..];
                        self.expect("[")?;
                        let name = self.name()?;
                        self.expect("]")?;
                        let kind = SymKind::Ksym(self.parser.intern(SymbolKind::Ksym, &name));
                        let insns = Insn::load_wide(dst, WideImm::BtfId { id: 0, fd: 0 });
                        Ok(Statement { reference: Some(kind), ..insns.into() })
                    }
                    "subprog" => self.function_address(dst),
                    _ => Ok(Insn::mov64(dst, self.reg()?).into()),
                }
            }
        }
    }

    /// A move of a decimal number, a two-slot constant of a hexadecimal one, or of one with `ll` behind it.
    fn constant(&mut self, dst: Reg) -> Result<Statement> {
        let number = self.number()?;
        let long = self.word("ll");
        if !number.1 && !long {
            return Ok(Insn::mov64(dst, Self::imm32(number, false)?).into());
        }
        let value = match number.0 {
            n if n < 0 => Self::fit::<i64>(number, "64 bits")? as u64,
            _ => Self::fit(number, "64 bits")?,
        };
        Ok(Insn::load_imm64(dst, value).into())
    }

    fn load(&mut self, dst: Reg) -> Result<Statement> {
        let before = self.rest;
        let (size, signed) = self.pointer_type()?;
        if self.word("skb") {
            if signed || size == Size::Dw || dst != Reg::R0 {
                self.rest = before;
                return self.unexpected("r0 = *(u8 *)skb, u16 or u32");
            }
            return self.packet(size);
        }
        self.rest = before;
        let (size, signed, base, off) = self.place()?;
        Ok(if signed { Insn::load_sx(size, dst, base, off) } else { Insn::load(size, dst, base, off) }.into())
    }

    fn packet(&mut self, size: Size) -> Result<Statement> {
        self.expect("[")?;
        let index = if self.peek_word().is_some() {
            let reg = self.reg()?;
            self.expect("+")?;
            Some(reg)
        } else {
            None
        };
        let imm = Self::imm32(self.number()?, true)?;
        self.expect("]")?;
        Ok(Insn::load_packet(size, index, imm).into())
    }

    fn fetch(&mut self, dst: Reg, width: Width, op: AtomicOp) -> Result<Statement> {
        self.expect("(")?;
        let before = self.rest;
        let (found, base, off) = self.wide_place()?;
        if found != width {
            self.rest = before;
            return self.unexpected("a type as wide as the operation");
        }
        self.expect(",")?;
        let src = if op == AtomicOp::Cmpxchg {
            self.same(Width::W64, Reg::R0)?;
            self.expect(",")?;
            self.reg()?
        } else {
            self.same(Width::W64, dst)?;
            dst
        };
        if op == AtomicOp::Cmpxchg && dst != Reg::R0 {
            return self.unexpected("r0 as the result");
        }
        self.expect(")")?;
        Ok(Insn::atomic(width, op, base, off, src).into())
    }

    fn addr_space_cast(&mut self, dst: Reg) -> Result<Statement> {
        self.rest = &self.rest[1..];
        self.expect("(")?;
        let src = self.reg()?;
        self.expect(",")?;
        let to = Self::fit(self.number()?, "an address space: 0 or 1")?;
        self.expect(",")?;
        let from = Self::fit(self.number()?, "an address space: 0 or 1")?;
        self.expect(")")?;
        Ok(Insn::addr_space_cast(dst, src, to, from).into())
    }

    /// `map[name]`, `map[fd:3]`, either with `[0]+8` for the value.
    fn map(&mut self, dst: Reg) -> Result<Statement> {
        self.rest = &self.rest[1..];
        self.expect("[")?;
        let by_number = match self.rest {
            [Spanned { token: Token::Word(space), .. }, colon, ..] if colon.token == Token::Sign(":") => {
                match space.as_str() {
                    "fd" | "id" => Some(false),
                    "idx" => Some(true),
                    _ => return self.unexpected("fd, id, idx or a name"),
                }
            }
            _ => None,
        };
        if let Some(indexed) = by_number {
            self.rest = &self.rest[2..];
            let number = Self::imm32(self.number()?, false)?;
            self.expect("]")?;
            let imm = match (indexed, self.value_offset()?) {
                (false, None) => WideImm::MapFd(number),
                (false, Some(offset)) => WideImm::MapValue { fd: number, offset },
                (true, None) => WideImm::MapIdx(number),
                (true, Some(offset)) => WideImm::MapIdxValue { index: number, offset },
            };
            return Ok(Insn::load_wide(dst, imm).into());
        }
        let name = self.name()?;
        self.expect("]")?;
        let map = self.parser.intern(SymbolKind::Map, &name);
        let (kind, imm) = match self.value_offset()? {
            None => (SymKind::Map(map), WideImm::MapFd(0)),
            Some(offset) => (SymKind::MapValue { map, offset }, WideImm::MapValue { fd: 0, offset }),
        };
        Ok(Statement { reference: Some(kind), ..Insn::load_wide(dst, imm).into() })
    }

    /// `[0]`, `[0]+8` or, after an index as bpftool prints it, `+8`.
    fn value_offset(&mut self) -> Result<Option<u32>> {
        let element = self.sign("[");
        if element {
            let zero: u8 = Self::fit(self.number()?, "element 0")?;
            if zero != 0 {
                return self.unexpected("element 0");
            }
            self.expect("]")?;
        }
        if self.sign("+") {
            return Self::fit(self.number()?, "an offset of 32 bits").map(Some);
        }
        Ok(element.then_some(0))
    }

    fn btf_id(&mut self, dst: Reg) -> Result<Statement> {
        self.rest = &self.rest[1..];
        self.expect("[")?;
        let id = Self::imm32(self.number()?, false)?;
        let mut fd = 0;
        if self.sign(",") {
            if !self.word("fd") {
                return self.unexpected("fd");
            }
            self.expect(":")?;
            fd = Self::imm32(self.number()?, false)?;
        }
        self.expect("]")?;
        Ok(Insn::load_wide(dst, WideImm::BtfId { id, fd }).into())
    }

    fn function_address(&mut self, dst: Reg) -> Result<Statement> {
        self.rest = &self.rest[1..];
        self.expect("[")?;
        if matches!(self.rest.first().map(|t| &t.token), Some(Token::Sign("+" | "-"))) {
            let offset = Self::imm32(self.number()?, false)?;
            self.expect("]")?;
            return Ok(Insn::load_wide(dst, WideImm::Func(offset)).into());
        }
        let column = self.column();
        let name = self.name()?;
        self.expect("]")?;
        Ok(Statement { label: Some((name, column)), ..Insn::load_wide(dst, WideImm::Func(0)).into() })
    }
}

fn swap_of(word: &str) -> Option<(SwapOp, SwapBits)> {
    let ops = [("le", SwapOp::Le), ("be", SwapOp::Be), ("bswap", SwapOp::Bswap)];
    ops.into_iter().find_map(|(name, op)| {
        let bits = match word.strip_prefix(name)? {
            "16" => SwapBits::B16,
            "32" => SwapBits::B32,
            "64" => SwapBits::B64,
            _ => return None,
        };
        Some((op, bits))
    })
}

fn fetch_of(word: &str) -> Option<(Width, AtomicOp)> {
    let rest = word.strip_prefix("atomic")?;
    let (width, name) = match rest.strip_prefix("64_") {
        Some(name) => (Width::W64, name),
        None => (Width::W32, rest.strip_prefix('_')?),
    };
    let op = match name {
        "fetch_add" => AtomicOp::FetchAdd,
        "fetch_or" => AtomicOp::FetchOr,
        "fetch_and" => AtomicOp::FetchAnd,
        "fetch_xor" => AtomicOp::FetchXor,
        "xchg" => AtomicOp::Xchg,
        "cmpxchg" => AtomicOp::Cmpxchg,
        _ => return None,
    };
    Some((width, op))
}
