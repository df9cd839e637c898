//! One instruction of the text.

use super::cursor::{Result, Tokens};
use super::{Parser, Problem, SymbolKind};
use crate::asm::SymKind;
use crate::helpers;
use crate::insn::Insn;
use crate::kind::Callee;
use crate::op::{AluOp, AtomicOp, Cond, Size, Width, code};
use crate::reg::Reg;
use crate::text::lexer::{Spanned, Token};

/// An instruction and what it still lacks.
pub(super) struct Statement {
    pub(super) insn: Insn,
    pub(super) second: Option<Insn>,
    /// The label that the instruction refers to, and its column.
    pub(super) label: Option<(String, usize)>,
    pub(super) reference: Option<SymKind>,
}

impl From<Insn> for Statement {
    fn from(insn: Insn) -> Self {
        Statement { insn, second: None, label: None, reference: None }
    }
}

impl From<[Insn; 2]> for Statement {
    fn from([insn, second]: [Insn; 2]) -> Self {
        Statement { insn, second: Some(second), label: None, reference: None }
    }
}

/// Where a jump or call leads.
enum Target {
    Distance(i64, usize),
    Label(String, usize),
}

impl Statement {
    pub(super) fn read(parser: &mut Parser, tokens: &[Spanned], line: &str) -> Result<Statement> {
        let mut tokens = Tokens { rest: tokens, end: line.chars().count() + 1, parser };
        let statement = tokens.statement()?;
        match tokens.rest.first() {
            None => Ok(statement),
            Some(_) => tokens.unexpected("the end of the line"),
        }
    }
}

impl Tokens<'_, '_> {
    /// `pc+3` or a label.
    fn target(&mut self) -> Result<Target> {
        let column = self.column();
        if let [Spanned { token: Token::Word(pc), .. }, sign, ..] = self.rest
            && pc == "pc"
            && matches!(sign.token, Token::Sign("+" | "-"))
        {
            self.rest = &self.rest[1..];
            let number = self.number()?;
            return Ok(Target::Distance(Self::fit(number, "a distance")?, column));
        }
        Ok(Target::Label(self.name()?, column))
    }

    /// A jump that is complete but for its distance.
    fn jump(&mut self, insn: Insn) -> Result<Statement> {
        let target = self.target()?;
        match target {
            Target::Label(name, column) => Ok(Statement { label: Some((name, column)), ..insn.into() }),
            Target::Distance(distance, column) => {
                let number = (i128::from(distance), false, column);
                Ok(Statement::from(if insn.op == code::GOTOL {
                    Insn { imm: Self::fit(number, "a distance of 32 bits")?, ..insn }
                } else {
                    Insn { off: Self::fit(number, "a distance of 16 bits")?, ..insn }
                }))
            }
        }
    }

    fn statement(&mut self) -> Result<Statement> {
        if self.sign("*") {
            return self.store();
        }
        match self.peek_word() {
            Some("exit") => self.keyword(Insn::exit()),
            Some("nospec") => self.keyword(Insn { op: code::NOSPEC, ..Insn::default() }),
            Some("goto") => {
                self.word("goto");
                self.jump(Insn::goto(0))
            }
            Some("gotol") => {
                self.word("gotol");
                self.jump(Insn::gotol(0))
            }
            Some("may_goto") => {
                self.word("may_goto");
                self.jump(Insn::may_goto(0))
            }
            Some("gotox") => {
                self.word("gotox");
                Ok(Insn::gotox(self.reg()?).into())
            }
            Some("if") => self.branch(),
            Some("call") => self.call(),
            Some("lock") => self.locked(),
            Some("store_release") => self.store_release(),
            _ => self.assignment(),
        }
    }

    fn keyword(&mut self, insn: Insn) -> Result<Statement> {
        self.rest = &self.rest[1..];
        Ok(insn.into())
    }

    fn branch(&mut self) -> Result<Statement> {
        self.word("if");
        let (width, lhs) = self.any_reg()?;
        let signed = self.word("s");
        let found = Cond::ALL.into_iter().find(|cond| match cond.symbol().strip_prefix('s') {
            Some(sign) => signed && self.sign(sign),
            None => !signed && self.sign(cond.symbol()),
        });
        let Some(cond) = found else { return self.unexpected("a comparison") };
        let rhs = self.operand(width, true)?;
        if !self.word("goto") {
            return self.unexpected("goto");
        }
        self.jump(Insn::branch(width, cond, lhs, rhs, 0))
    }

    fn call(&mut self) -> Result<Statement> {
        self.word("call");
        if let [Spanned { token: Token::Word(first), column, .. }, second, ..] = self.rest {
            let column = *column;
            match (first.as_str(), &second.token) {
                ("pc", Token::Sign("+" | "-")) => {
                    self.rest = &self.rest[1..];
                    let distance = Self::fit(self.number()?, "a distance of 32 bits")?;
                    return Ok(Insn::call(Callee::Subprog(distance)).into());
                }
                ("kfunc", Token::Sign(":")) => {
                    self.rest = &self.rest[2..];
                    let name = self.name()?;
                    let kind = SymKind::Kfunc(self.parser.intern(SymbolKind::Kfunc, &name));
                    let insn = Insn::call(Callee::Kfunc { btf_id: 0, fd_index: 0 });
                    return Ok(Statement { reference: Some(kind), ..insn.into() });
                }
                ("kernel", Token::Sign("-")) => {
                    self.rest = &self.rest[2..];
                    return self.kfunc_by_number();
                }
                (name, Token::Sign("#")) => {
                    let name = name.to_owned();
                    self.rest = &self.rest[2..];
                    return self.helper_by_number(&name, column);
                }
                _ => {}
            }
        }
        let column = self.column();
        let helper = self.peek_word().filter(|w| w.starts_with("bpf_")).and_then(helpers::id);
        if let Some(id) = helper {
            return self.keyword(Insn::call_helper(id));
        }
        let name = self.name()?;
        Ok(Statement { label: Some((name, column)), ..Insn::call(Callee::Subprog(0)).into() })
    }

    fn kfunc_by_number(&mut self) -> Result<Statement> {
        if !self.word("function") {
            return self.unexpected("function");
        }
        self.expect("#")?;
        let btf_id = Self::imm32(self.number()?, true)?;
        let fd_index = if self.sign("@") { Self::fit(self.number()?, "16 bits with a sign")? } else { 0 };
        Ok(Insn::call(Callee::Kfunc { btf_id, fd_index }).into())
    }

    /// The number decides: dumps of loaded programs have addresses in its place. But a name of one helper
    /// with the number of another is a mistake.
    fn helper_by_number(&mut self, name: &str, column: usize) -> Result<Statement> {
        let id = Self::imm32(self.number()?, true)?;
        let found = u32::try_from(id).ok().filter(|&id| helpers::name(id).is_some());
        if let (Some(number), Some(found)) = (helpers::id(name), found)
            && number != found
        {
            let name = name.strip_prefix("bpf_").unwrap_or(name).to_owned();
            return Err((column, Problem::HelperNumber { name, number, found: u64::from(found) }));
        }
        Ok(Insn::call(Callee::Helper(id)).into())
    }

    /// `(u32 *)(r1 +4)`: size, whether signed, base, offset.
    pub(super) fn place(&mut self) -> Result<(Size, bool, Reg, i16)> {
        let (size, signed) = self.pointer_type()?;
        self.expect("(")?;
        let base = self.reg()?;
        let off = if self.sign(")") {
            return Ok((size, signed, base, 0));
        } else {
            Self::fit(self.number()?, "an offset of 16 bits")?
        };
        self.expect(")")?;
        Ok((size, signed, base, off))
    }

    /// `(u32 *)`
    pub(super) fn pointer_type(&mut self) -> Result<(Size, bool)> {
        self.expect("(")?;
        let (size, signed) = self.type_name()?;
        self.expect("*")?;
        self.expect(")")?;
        Ok((size, signed))
    }

    pub(super) fn type_name(&mut self) -> Result<(Size, bool)> {
        let known = match self.peek_word() {
            Some("u8") => (Size::B, false),
            Some("u16") => (Size::H, false),
            Some("u32") => (Size::W, false),
            Some("u64") => (Size::Dw, false),
            Some("s8") => (Size::B, true),
            Some("s16") => (Size::H, true),
            Some("s32") => (Size::W, true),
            _ => return self.unexpected("a type: u8, u16, u32, u64, s8, s16, s32"),
        };
        self.rest = &self.rest[1..];
        Ok(known)
    }

    /// A place of a store or atomic operation.
    pub(super) fn unsigned_place(&mut self) -> Result<(Size, Reg, i16)> {
        let before = self.rest;
        match self.place()? {
            (size, false, base, off) => Ok((size, base, off)),
            _ => {
                self.rest = &before[1..];
                self.unexpected("an unsigned type")
            }
        }
    }

    /// A place of an atomic operation, which are 32 or 64 bits wide.
    pub(super) fn wide_place(&mut self) -> Result<(Width, Reg, i16)> {
        let before = self.rest;
        match self.unsigned_place()? {
            (Size::W, base, off) => Ok((Width::W32, base, off)),
            (Size::Dw, base, off) => Ok((Width::W64, base, off)),
            _ => {
                self.rest = &before[1..];
                self.unexpected("u32 or u64")
            }
        }
    }

    fn store(&mut self) -> Result<Statement> {
        let (size, base, off) = self.unsigned_place()?;
        self.expect("=")?;
        let value = self.operand(Width::W64, size != Size::Dw)?;
        Ok(Insn::store(size, base, off, value).into())
    }

    fn locked(&mut self) -> Result<Statement> {
        self.word("lock");
        self.expect("*")?;
        let (width, base, off) = self.wide_place()?;
        let plain = [AtomicOp::Add, AtomicOp::Or, AtomicOp::And, AtomicOp::Xor];
        let signs = ["+=", "|=", "&=", "^="];
        let found = plain.into_iter().zip(signs).find(|(_, sign)| self.sign(sign));
        let Some((op, _)) = found else { return self.unexpected("+=, |=, &= or ^=") };
        Ok(Insn::atomic(width, op, base, off, self.reg()?).into())
    }

    fn store_release(&mut self) -> Result<Statement> {
        self.word("store_release");
        self.expect("(")?;
        let (size, base, off) = self.unsigned_place()?;
        self.expect(",")?;
        let src = self.reg()?;
        self.expect(")")?;
        Ok(Insn::store_release(size, base, off, src).into())
    }

    /// Everything that begins with the register that is set.
    fn assignment(&mut self) -> Result<Statement> {
        let Ok((width, dst)) = self.any_reg() else { return self.unexpected("an instruction") };
        if self.sign("=") {
            return match width {
                Width::W64 => self.value64(dst),
                Width::W32 => self.value32(dst),
            };
        }
        let signed = self.word("s");
        let found = AluOp::ALL.into_iter().filter(|&op| op != AluOp::Mov).find(|op| {
            match op.symbol().strip_prefix('s') {
                Some(sign) => signed && self.sign(sign),
                None => !signed && self.sign(op.symbol()),
            }
        });
        let Some(op) = found else { return self.unexpected("an assignment") };
        let rhs = self.operand(width, width == Width::W32)?;
        Ok(Insn::alu(width, op, dst, rhs).into())
    }
}
