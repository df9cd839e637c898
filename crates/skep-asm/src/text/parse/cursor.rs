//! Tokens of a statement, one after the other.

use super::{Parser, Problem};
use crate::kind::Operand;
use crate::op::Width;
use crate::reg::Reg;
use crate::text::lexer::{Spanned, Token};

/// A value, or a column and what is wrong there.
pub(super) type Result<T> = std::result::Result<T, (usize, Problem)>;

/// The rest of a line's tokens.
pub(super) struct Tokens<'t, 'p> {
    pub(super) rest: &'t [Spanned],
    /// Column behind the line.
    pub(super) end: usize,
    pub(super) parser: &'p mut Parser,
}

impl Tokens<'_, '_> {
    pub(super) fn column(&self) -> usize {
        self.rest.first().map_or(self.end, |t| t.column)
    }

    pub(super) fn unexpected<T>(&self, expected: &'static str) -> Result<T> {
        let problem = match self.rest.first() {
            Some(t) => Problem::Unexpected { expected, found: t.token.describe() },
            None => Problem::End { expected },
        };
        Err((self.column(), problem))
    }

    pub(super) fn next_is(&mut self, matches: impl Fn(&Token) -> bool) -> bool {
        match self.rest {
            [first, rest @ ..] if matches(&first.token) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(super) fn sign(&mut self, sign: &str) -> bool {
        self.next_is(|t| matches!(t, Token::Sign(s) if *s == sign))
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        self.next_is(|t| matches!(t, Token::Word(w) if w == word))
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { self.unexpected(sign) }
    }

    pub(super) fn peek_word(&self) -> Option<&str> {
        match self.rest {
            [Spanned { token: Token::Word(word), .. }, ..] => Some(word),
            _ => None,
        }
    }

    /// A name in a place where names stand.
    pub(super) fn name(&mut self) -> Result<String> {
        match self.rest {
            [Spanned { token: Token::Word(name) | Token::Quoted(name), .. }, rest @ ..] => {
                self.rest = rest;
                Ok(name.clone())
            }
            _ => self.unexpected("a name"),
        }
    }

    /// A register of either width.
    pub(super) fn any_reg(&mut self) -> Result<(Width, Reg)> {
        let reg = self.peek_word().and_then(|word| {
            let (width, number) = match word.split_at_checked(1)? {
                ("r", number) => (Width::W64, number),
                ("w", number) => (Width::W32, number),
                _ => return None,
            };
            let canonical = number == "0" || !number.starts_with(['0', '+']);
            let number = number.parse().ok().filter(|_| canonical)?;
            Some((width, Reg::new(number)?))
        });
        match reg {
            Some(reg) => {
                self.rest = &self.rest[1..];
                Ok(reg)
            }
            None => self.unexpected("a register"),
        }
    }

    pub(super) fn reg_of(&mut self, width: Width) -> Result<Reg> {
        let before = self.rest;
        match self.any_reg()? {
            (w, reg) if w == width => Ok(reg),
            _ => {
                self.rest = before;
                self.unexpected(match width {
                    Width::W32 => "a 32-bit register",
                    Width::W64 => "a 64-bit register",
                })
            }
        }
    }

    pub(super) fn reg(&mut self) -> Result<Reg> {
        self.reg_of(Width::W64)
    }

    /// A register that must be `reg`.
    pub(super) fn same(&mut self, width: Width, reg: Reg) -> Result<()> {
        let before = self.rest;
        if self.reg_of(width)? == reg {
            return Ok(());
        }
        self.rest = before;
        self.unexpected("the same register again")
    }

    /// A number with an optional sign, its spelling and column.
    pub(super) fn number(&mut self) -> Result<(i128, bool, usize)> {
        let column = self.column();
        let negative = if self.sign("-") {
            true
        } else {
            self.sign("+");
            false
        };
        match self.rest {
            [Spanned { token: Token::Number { value, hex }, .. }, rest @ ..] => {
                self.rest = rest;
                let value = i128::from(*value);
                Ok((if negative { -value } else { value }, *hex, column))
            }
            _ => self.unexpected("a number"),
        }
    }

    pub(super) fn fit<T: TryFrom<i128>>(
        (value, _, column): (i128, bool, usize),
        range: &'static str,
    ) -> Result<T> {
        T::try_from(value).map_err(|_| (column, Problem::Range { found: value.to_string(), range }))
    }

    /// The 32 bits of a constant. Where `bits` is set, a hexadecimal number may use all of them.
    pub(super) fn imm32(number: (i128, bool, usize), bits: bool) -> Result<i32> {
        if bits && number.1 {
            return Self::fit::<u32>(number, "32 bits").map(|value| value as i32);
        }
        Self::fit(number, "32 bits with a sign")
    }

    pub(super) fn operand(&mut self, width: Width, bits: bool) -> Result<Operand> {
        match self.rest.first().map(|t| &t.token) {
            Some(Token::Word(_)) => self.reg_of(width).map(Operand::Reg),
            _ => Self::imm32(self.number()?, bits).map(Operand::Imm),
        }
    }
}
