//! Integer constants: of `#if`, of array lengths, of enumerators.

use super::lex::{Kind, Token};
use skep_ir::{Diagnostic, Loc, SourceMap};

const MAX_DEPTH: u32 = 100;

/// Value of the expression that `tokens` are. `name` gives values to identifiers.
pub(super) fn evaluate(
    sources: &SourceMap,
    tokens: &[Token],
    end: Loc,
    name: &dyn Fn(&str) -> Option<i64>,
) -> Result<i64, Diagnostic> {
    let mut eval = Eval { sources, tokens, at: 0, end, name, depth: 0 };
    let value = eval.ternary(true)?;
    match eval.next() {
        None => Ok(value),
        Some(extra) => Err(eval.error(extra.loc, "unexpected token in a constant expression")),
    }
}

/// Value of a character as C writes it.
pub(super) fn character(text: &str) -> Option<i64> {
    let body = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let bytes = super::super::literal::string(&format!("\"{}\"", body.replace("\\'", "'"))).ok()?;
    let &[byte] = bytes.as_slice() else { return None };
    // Plain char is signed.
    Some(i64::from(byte as i8))
}

/// Value of a number or character as C writes it.
pub(super) fn literal(token: Token, text: &str) -> Option<i64> {
    match token.kind {
        Kind::Value(value) => Some(value),
        Kind::Char => character(text),
        Kind::Number => {
            let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
            let parsed = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
                u64::from_str_radix(hex, 16)
            } else if let Some(bits) = digits.strip_prefix("0b").or_else(|| digits.strip_prefix("0B")) {
                u64::from_str_radix(bits, 2)
            } else if digits.len() > 1 && digits.starts_with('0') {
                u64::from_str_radix(digits, 8)
            } else {
                digits.parse()
            };
            parsed.ok().map(|value| value as i64)
        }
        _ => None,
    }
}

struct Eval<'a> {
    sources: &'a SourceMap,
    tokens: &'a [Token],
    at: usize,
    end: Loc,
    name: &'a dyn Fn(&str) -> Option<i64>,
    depth: u32,
}

impl<'a> Eval<'a> {
    fn next(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn text(&self) -> &'a str {
        self.next().filter(|t| t.kind == Kind::Punct).map_or("", |t| t.text(self.sources))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.text() == sign;
        self.at += usize::from(found);
        found
    }

    fn here(&self) -> Loc {
        self.next().map_or(self.end, |t| t.loc)
    }

    fn error(&self, loc: Loc, message: &str) -> Diagnostic {
        Diagnostic::error(loc, format!("syntax: {message}"))
    }

    fn expect(&mut self, sign: &str) -> Result<(), Diagnostic> {
        if self.eat(sign) { Ok(()) } else { Err(self.error(self.here(), &format!("expected '{sign}'"))) }
    }

    /// `live` is false where the value does not count: a division by zero is no error there.
    fn ternary(&mut self, live: bool) -> Result<i64, Diagnostic> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(self.here(), "constant expression is nested too deeply"));
        }
        let cond = self.binary(0, live)?;
        let value = if self.eat("?") {
            let then = self.ternary(live && cond != 0)?;
            self.expect(":")?;
            let other = self.ternary(live && cond == 0)?;
            if cond != 0 { then } else { other }
        } else {
            cond
        };
        self.depth -= 1;
        Ok(value)
    }

    fn binary(&mut self, weakest: u8, live: bool) -> Result<i64, Diagnostic> {
        let mut left = self.unary(live)?;
        loop {
            let sign = self.text();
            let strength = match sign {
                "||" => 1,
                "&&" => 2,
                "|" => 3,
                "^" => 4,
                "&" => 5,
                "==" | "!=" => 6,
                "<" | ">" | "<=" | ">=" => 7,
                "<<" | ">>" => 8,
                "+" | "-" => 9,
                "*" | "/" | "%" => 10,
                _ => return Ok(left),
            };
            if strength < weakest {
                return Ok(left);
            }
            let loc = self.here();
            self.at += 1;
            let counts = match sign {
                "||" => live && left == 0,
                "&&" => live && left != 0,
                _ => live,
            };
            let right = self.binary(strength + 1, counts)?;
            left = match sign {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "|" => left | right,
                "^" => left ^ right,
                "&" => left & right,
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<<" => left.wrapping_shl(right as u32),
                ">>" => left.wrapping_shr(right as u32),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                _ if right == 0 && live => {
                    return Err(self.error(loc, "division by zero in a constant expression"));
                }
                _ if right == 0 => 0,
                "/" => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
    }

    fn unary(&mut self, live: bool) -> Result<i64, Diagnostic> {
        // Signs in front are kept in a list: their number is not bounded by any nesting.
        let first = self.at;
        while matches!(self.text(), "!" | "-" | "+" | "~") {
            self.at += 1;
        }
        let signs = first..self.at;
        let mut value = self.primary(live)?;
        for sign in self.tokens[signs].iter().rev() {
            value = match sign.text(self.sources) {
                "!" => i64::from(value == 0),
                "-" => value.wrapping_neg(),
                "~" => !value,
                _ => value,
            };
        }
        Ok(value)
    }

    fn primary(&mut self, live: bool) -> Result<i64, Diagnostic> {
        if self.eat("(") {
            let value = self.ternary(live)?;
            self.expect(")")?;
            return Ok(value);
        }
        let Some(token) = self.next() else {
            return Err(self.error(self.end, "expected a constant expression"));
        };
        let text = if matches!(token.kind, Kind::Value(_)) { "" } else { token.text(self.sources) };
        let value = match token.kind {
            Kind::Ident => (self.name)(text),
            _ => literal(token, text),
        };
        self.at += 1;
        value.ok_or_else(|| {
            let message = match token.kind {
                Kind::Ident => format!("'{text}' is not known as an integer constant"),
                Kind::Number => format!("invalid number '{text}'"),
                Kind::Char => format!("invalid character {text}"),
                _ => format!("unexpected '{text}' in a constant expression"),
            };
            self.error(token.loc, &message)
        })
    }
}
