//! Expressions: precedence climbing over operators, postfix chains and what stands in parentheses.

use super::super::ast::{BinaryOp, Expr, ExprKind, Ident, TypeBase, TypeExpr, UnaryOp};
use super::super::lexer::Tok;
use super::super::literal;
use super::Parser;
use super::types::{begins_operand, typeof_expr};
use skep_ir::Loc;

const NEEDS_PLACE: &str = "increment/decrement requires a variable or map";
const NEEDS_ADDRESS: &str = "address-of operator (&) can only be used on a map or variable";

/// Operator and strength of binding; a higher number binds stronger.
fn binary_op(tok: Tok) -> Option<(BinaryOp, u8)> {
    Some(match tok {
        Tok::OrOr => (BinaryOp::LogicalOr, 1),
        Tok::AndAnd => (BinaryOp::LogicalAnd, 2),
        Tok::Pipe => (BinaryOp::BitOr, 3),
        Tok::Caret => (BinaryOp::BitXor, 4),
        Tok::Amp => (BinaryOp::BitAnd, 5),
        Tok::EqEq => (BinaryOp::Eq, 6),
        Tok::NotEq => (BinaryOp::Ne, 6),
        Tok::Lt => (BinaryOp::Lt, 7),
        Tok::Le => (BinaryOp::Le, 7),
        Tok::Gt => (BinaryOp::Gt, 7),
        Tok::Ge => (BinaryOp::Ge, 7),
        Tok::Shl => (BinaryOp::Shl, 8),
        Tok::Shr => (BinaryOp::Shr, 8),
        Tok::Plus => (BinaryOp::Add, 9),
        Tok::Minus => (BinaryOp::Sub, 9),
        Tok::Star => (BinaryOp::Mul, 10),
        Tok::Slash => (BinaryOp::Div, 10),
        Tok::Percent => (BinaryOp::Mod, 10),
        _ => return None,
    })
}

fn is_place(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Var(_) | ExprKind::Map { .. })
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Expr {
        let expr = self.nested(|p| {
            let cond = p.binary(0);
            p.ternary_from(cond)
        });
        expr.unwrap_or_else(|| self.missing())
    }

    /// An expression whose first operand was read already.
    pub(super) fn expression_from(&mut self, operand: Expr) -> Expr {
        let operand = self.postfix(operand, true);
        let cond = self.binary_from(operand, 0);
        self.ternary_from(cond)
    }

    /// An expression in brackets, where `/` is always a division.
    fn bracketed<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.in_predicate, false);
        let result = parse(self);
        self.in_predicate = outer;
        result
    }

    fn ternary_from(&mut self, cond: Expr) -> Expr {
        if !self.eat(Tok::Question) {
            return cond;
        }
        let (lo, mut height) = (cond.loc.span.lo, self.height);
        let then = if self.eat(Tok::Colon) {
            None
        } else {
            let then = self.expression();
            height = height.max(self.height);
            self.expect(Tok::Colon, ":");
            Some(Box::new(then))
        };
        let other = self.expression();
        self.above(height.max(self.height));
        Expr { kind: ExprKind::Ternary(Box::new(cond), then, Box::new(other)), loc: self.loc_from(lo) }
    }

    fn binary(&mut self, weakest: u8) -> Expr {
        let operand = self.unary();
        self.binary_from(operand, weakest)
    }

    fn binary_from(&mut self, mut left: Expr, weakest: u8) -> Expr {
        while let Some((op, strength)) = binary_op(self.tok.kind) {
            if strength < weakest || (op == BinaryOp::Div && self.at_predicate_end()) {
                break;
            }
            let (lo, height) = (left.loc.span.lo, self.height);
            self.advance();
            let Some(right) = self.nested(|p| p.binary(strength + 1)) else { return left };
            self.above(height.max(self.height));
            left =
                Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(right)), loc: self.loc_from(lo) };
        }
        left
    }

    /// Whether the `/` that comes next closes a predicate.
    fn at_predicate_end(&self) -> bool {
        self.in_predicate && self.peek().kind == Tok::LBrace
    }

    /// Operators before an operand, and casts.
    pub(super) fn unary(&mut self) -> Expr {
        let lo = self.tok.lo;
        let op = match self.tok.kind {
            Tok::Minus => UnaryOp::Neg,
            Tok::Not => UnaryOp::Not,
            Tok::Tilde => UnaryOp::BitNot,
            Tok::Star => UnaryOp::Deref,
            Tok::Amp | Tok::AndAnd => return self.address_of(),
            Tok::PlusPlus | Tok::MinusMinus => return self.prefix_step(),
            Tok::Ident if self.at_word("comptime") => {
                self.advance();
                let inner = self.operand();
                return Expr { kind: ExprKind::Comptime(Box::new(inner)), loc: self.loc_from(lo) };
            }
            Tok::LParen => {
                let inner = self.parenthesis();
                return self.postfix(inner, true);
            }
            _ => {
                let primary = self.primary();
                return self.postfix(primary, true);
            }
        };
        self.advance();
        let inner = self.operand();
        Expr { kind: ExprKind::Unary(op, Box::new(inner)), loc: self.loc_from(lo) }
    }

    /// The operand of a prefix operator, one level down.
    fn operand(&mut self) -> Expr {
        let inner = self.nested(Self::unary).unwrap_or_else(|| self.missing());
        let height = self.height;
        self.above(height);
        inner
    }

    fn address_of(&mut self) -> Expr {
        let sign = self.advance();
        if sign.kind == Tok::AndAnd {
            // `&&x` is an address of an address.
            self.error(self.loc(sign.lo + 1, sign.hi), NEEDS_ADDRESS);
        }
        let inner = if matches!(self.tok.kind, Tok::Var | Tok::Map) {
            let inner = self.primary();
            let height = self.height;
            self.above(height);
            inner
        } else {
            self.error_here(NEEDS_ADDRESS);
            self.operand()
        };
        Expr { kind: ExprKind::Unary(UnaryOp::AddrOf, Box::new(inner)), loc: self.loc_from(sign.lo) }
    }

    fn prefix_step(&mut self) -> Expr {
        let sign = self.advance();
        if !matches!(self.tok.kind, Tok::Var | Tok::Map) {
            self.error_here(NEEDS_PLACE);
            return self.operand();
        }
        let target = Box::new(self.primary());
        let height = self.height;
        self.above(height);
        let kind = ExprKind::IncDec { target, decrement: sign.kind == Tok::MinusMinus, prefix: true };
        Expr { kind, loc: self.loc_from(sign.lo) }
    }

    /// `.f`, `->f`, `[i]`, `++` and `--` behind an operand. Behind a statement's block `++` begins the next
    /// statement, so `steps` is false there.
    pub(super) fn postfix(&mut self, mut base: Expr, steps: bool) -> Expr {
        let lo = base.loc.span.lo;
        loop {
            let mut height = self.height;
            let kind = match self.tok.kind {
                Tok::Dot | Tok::Arrow => {
                    let arrow = self.advance().kind == Tok::Arrow;
                    if self.at(Tok::Ident) {
                        ExprKind::Field { name: self.take_name(), base: Box::new(base), arrow }
                    } else if self.at(Tok::Int) && !arrow {
                        ExprKind::TupleIndex(Box::new(base), self.integer())
                    } else {
                        let sign = if arrow { "->" } else { "." };
                        self.error_here(&format!("expected field name after '{sign}'"));
                        self.eat(Tok::Int);
                        return base;
                    }
                }
                Tok::LBracket => {
                    self.advance();
                    let index = self.bracketed(Self::expression);
                    height = height.max(self.height);
                    self.expect(Tok::RBracket, "]");
                    ExprKind::Index(Box::new(base), Box::new(index))
                }
                Tok::PlusPlus | Tok::MinusMinus if steps => {
                    let sign = self.advance();
                    if !is_place(&base) {
                        self.error(self.loc(sign.lo, sign.hi), NEEDS_PLACE);
                        return base;
                    }
                    self.above(height);
                    let decrement = sign.kind == Tok::MinusMinus;
                    let kind = ExprKind::IncDec { target: Box::new(base), decrement, prefix: false };
                    return Expr { kind, loc: self.loc_from(lo) };
                }
                _ => return base,
            };
            self.above(height);
            base = Expr { kind, loc: self.loc_from(lo) };
        }
    }

    /// What begins with `(`: an empty tuple, a record, a cast, a tuple, or an expression. An expression in
    /// parentheses keeps its own place.
    fn parenthesis(&mut self) -> Expr {
        let lo = self.advance().lo;
        if self.eat(Tok::RParen) {
            self.height = 1;
            return Expr { kind: ExprKind::Tuple(Vec::new()), loc: self.loc_from(lo) };
        }
        if self.at(Tok::Ident) && self.peek().kind == Tok::Assign {
            return self.bracketed(|p| p.record(lo));
        }
        if self.at_cast() {
            let ty = self.type_expr();
            self.expect(Tok::RParen, ")");
            return self.cast(ty, lo);
        }
        let first = if self.at_typeof() {
            let ty = self.bracketed(|p| p.nested(Self::typeof_type));
            let Some(ty) = ty else { return self.missing() };
            if self.at(Tok::RParen) && (!ty.suffixes.is_empty() || begins_operand(self.peek().kind)) {
                self.advance();
                return self.cast(ty, lo);
            }
            let height = self.height;
            self.above(height);
            self.bracketed(|p| p.expression_from(typeof_expr(ty)))
        } else {
            self.bracketed(Self::expression)
        };
        if !self.at(Tok::Comma) {
            self.expect(Tok::RParen, ")");
            return first;
        }
        let mut elements = vec![first];
        let mut height = self.height;
        while self.eat(Tok::Comma) && !self.at(Tok::RParen) {
            elements.push(self.bracketed(Self::expression));
            height = height.max(self.height);
        }
        self.expect(Tok::RParen, ")");
        self.above(height);
        Expr { kind: ExprKind::Tuple(elements), loc: self.loc_from(lo) }
    }

    /// The place of a cast is that of its parentheses.
    fn cast(&mut self, ty: TypeExpr, lo: u32) -> Expr {
        let loc = self.loc_from(lo);
        let height = self.height;
        let operand = self.operand();
        self.height = self.height.max(height + 1);
        Expr { kind: ExprKind::Cast(ty, Box::new(operand)), loc }
    }

    fn record(&mut self, lo: u32) -> Expr {
        let mut fields = Vec::new();
        let mut height = 0;
        loop {
            if !self.at(Tok::Ident) {
                self.error_here("expected identifier");
                if !self.at(Tok::RParen) {
                    self.expression();
                }
                break;
            }
            let name = self.take_name();
            self.expect(Tok::Assign, "=");
            let value = self.expression();
            height = height.max(self.height);
            fields.push((name, value));
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.expect(Tok::RParen, ")");
        self.above(height);
        Expr { kind: ExprKind::Record(fields), loc: self.loc_from(lo) }
    }

    /// An operand without prefix, postfix and parentheses.
    pub(super) fn primary(&mut self) -> Expr {
        let lo = self.tok.lo;
        self.height = 1;
        let kind = match self.tok.kind {
            Tok::Int => ExprKind::Int(self.integer()),
            Tok::Str | Tok::OpenStr => ExprKind::Str(self.string()),
            Tok::Var => ExprKind::Var(self.take_name().name),
            Tok::Map => return self.map(),
            Tok::Param => ExprKind::Param(self.param()),
            Tok::ParamCount => {
                self.advance();
                ExprKind::ParamCount
            }
            Tok::LBrace => ExprKind::Block(self.value_block()),
            Tok::Ident => return self.word(),
            Tok::Dollar => {
                self.error_here("expected identifier after '$'");
                return self.missing();
            }
            _ => {
                self.error_here("expected expression");
                return self.missing();
            }
        };
        Expr { kind, loc: self.loc_from(lo) }
    }

    fn map(&mut self) -> Expr {
        let Ident { name, loc: name_loc } = self.take_name();
        let key = self.eat(Tok::LBracket).then(|| self.list(Tok::RBracket, "]"));
        let kind = ExprKind::Map { name, name_loc, key };
        Expr { kind, loc: self.loc_from(name_loc.span.lo) }
    }

    /// One or more expressions with commas between them, up to a bracket.
    fn list(&mut self, close: Tok, sign: &str) -> Vec<Expr> {
        let mut elements = Vec::new();
        let mut height = 0;
        self.bracketed(|p| {
            loop {
                elements.push(p.expression());
                height = height.max(p.height);
                if !p.eat(Tok::Comma) {
                    break;
                }
            }
        });
        self.expect(close, sign);
        self.above(height);
        elements
    }

    fn word(&mut self) -> Expr {
        let lo = self.tok.lo;
        let kind = match self.str_of(self.tok) {
            "true" | "false" => ExprKind::Bool(self.take_name().name == "true"),
            "if" => {
                let (cond, then, other) = self.if_parts();
                ExprKind::If { cond: Box::new(cond), then, other }
            }
            "sizeof" => {
                self.advance();
                ExprKind::Sizeof(self.parenthesized_type_or_expr())
            }
            "typeinfo" => {
                self.advance();
                ExprKind::Typeinfo(self.parenthesized_type_or_expr())
            }
            "offsetof" => return self.offset_of(),
            "typeof" if self.peek().kind == Tok::LParen => {
                let base = self.nested(Self::type_expr_without_suffixes);
                let Some(ty) = base else { return self.missing() };
                let height = self.height;
                self.above(height);
                return typeof_expr(ty);
            }
            _ => {
                let name = self.take_name();
                if !self.at(Tok::LParen) {
                    return Expr { kind: ExprKind::Ident(name.name), loc: name.loc };
                }
                self.advance();
                let args = if self.eat(Tok::RParen) { Vec::new() } else { self.list(Tok::RParen, ")") };
                ExprKind::Call { name, args }
            }
        };
        Expr { kind, loc: self.loc_from(lo) }
    }

    fn type_expr_without_suffixes(&mut self) -> TypeExpr {
        let lo = self.tok.lo;
        self.advance();
        let inner = self.parenthesized_type_or_expr();
        TypeExpr { base: TypeBase::Typeof(Box::new(inner)), suffixes: Vec::new(), loc: self.loc_from(lo) }
    }

    fn offset_of(&mut self) -> Expr {
        let lo = self.advance().lo;
        self.expect(Tok::LParen, "(");
        let base = self.type_or_expr();
        let height = self.height;
        let mut fields = Vec::new();
        if self.expect(Tok::Comma, ",") && self.at(Tok::RParen) {
            self.error_here("expected field name");
        }
        if self.at(Tok::Ident) {
            fields.push(self.take_name());
            while self.eat(Tok::Dot) {
                if !self.at(Tok::Ident) {
                    self.error_here("expected field name after '.'");
                    break;
                }
                fields.push(self.take_name());
            }
        }
        self.expect(Tok::RParen, ")");
        self.above(height);
        Expr { kind: ExprKind::Offsetof(base, fields), loc: self.loc_from(lo) }
    }

    // Literals

    /// Value of the integer token that comes next.
    pub(super) fn integer(&mut self) -> u64 {
        let token = self.advance();
        match literal::integer(self.str_of(token)) {
            Ok(value) => value,
            Err(flaws) => {
                for flaw in flaws {
                    self.error(self.flaw_loc(token.lo, &flaw), &flaw.message);
                }
                0
            }
        }
    }

    /// Bytes of the string token that comes next.
    pub(super) fn string(&mut self) -> Vec<u8> {
        let token = self.advance();
        if token.kind == Tok::OpenStr {
            self.error(self.loc(token.hi, token.hi), "unterminated string");
            return Vec::new();
        }
        literal::string(self.str_of(token)).unwrap_or_else(|flaw| {
            self.error(self.flaw_loc(token.lo, &flaw), &flaw.message);
            Vec::new()
        })
    }

    fn flaw_loc(&self, lo: u32, flaw: &literal::Flaw) -> Loc {
        self.loc(lo + flaw.at.start as u32, lo + flaw.at.end as u32)
    }

    fn param(&mut self) -> u32 {
        let token = self.advance();
        let digits = &self.str_of(token)[1..];
        match digits.parse::<i64>() {
            Ok(number) if number > 0 => u32::try_from(number).unwrap_or(u32::MAX),
            _ => {
                let message = format!("param ${digits} is out of integer range [1, {}]", i64::MAX);
                self.error(self.loc(token.lo, token.hi), &message);
                1
            }
        }
    }
}
