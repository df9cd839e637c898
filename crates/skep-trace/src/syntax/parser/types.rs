//! Types, and the places where a type or an expression may stand.

use super::super::ast::{Expr, ExprKind, TypeBase, TypeExpr, TypeOrExpr, TypeSuffix};
use super::super::lexer::Tok;
use super::Parser;

/// Names that are values although they look like a type in parentheses: `(pid) - 1` is a difference, while
/// `(other) - 1` is a cast.
const VALUES: &[&str] = &[
    "args",
    "cgroup",
    "comm",
    "cpid",
    "cpu",
    "ctx",
    "curtask",
    "dw_ustack",
    "elapsed",
    "false",
    "func",
    "gid",
    "has_cpid",
    "jiffies",
    "kstack",
    "leader_comm",
    "leader_tid",
    "ncpus",
    "nsecs",
    "numaid",
    "pcomm",
    "pid",
    "ppid",
    "probe",
    "probetype",
    "rand",
    "retval",
    "tid",
    "true",
    "uid",
    "usermode",
    "username",
    "ustack",
];

pub(crate) fn is_value(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    VALUES.binary_search(&name).is_ok()
        || numbered("arg")
        || numbered("sarg")
        || name.starts_with("__builtin_")
}

impl Parser<'_> {
    /// `base suffixes`
    pub(super) fn type_expr(&mut self) -> TypeExpr {
        let lo = self.tok.lo;
        self.height = 0;
        let base = self.type_base();
        let base_height = self.height;
        let suffixes = self.type_suffixes();
        self.height = self.height.max(base_height);
        TypeExpr { base, suffixes, loc: self.loc_from(lo) }
    }

    fn type_base(&mut self) -> TypeBase {
        if self.at(Tok::LParen) {
            self.advance();
            let elements = self.nested(|p| {
                let mut elements = Vec::new();
                let mut height = 0;
                loop {
                    elements.push(p.type_expr());
                    height = height.max(p.height);
                    if !p.eat(Tok::Comma) {
                        break;
                    }
                }
                p.expect(Tok::RParen, ")");
                p.height = height;
                elements
            });
            let height = self.height;
            self.above(height);
            return TypeBase::Tuple(elements.unwrap_or_default());
        }
        if !self.at(Tok::Ident) {
            self.error_here("expected type name");
            return TypeBase::Name(String::new());
        }
        match self.str_of(self.tok) {
            "typeof" if self.peek().kind == Tok::LParen => {
                self.advance();
                TypeBase::Typeof(Box::new(self.parenthesized_type_or_expr()))
            }
            tag @ ("struct" | "union" | "enum") if self.peek().kind == Tok::Ident => {
                self.advance();
                let name = self.take_name().name;
                match tag {
                    "struct" => TypeBase::Struct(name),
                    "union" => TypeBase::Union(name),
                    _ => TypeBase::Enum(name),
                }
            }
            _ => TypeBase::Name(self.take_name().name),
        }
    }

    fn type_suffixes(&mut self) -> Vec<TypeSuffix> {
        let mut suffixes = Vec::new();
        self.height = 0;
        loop {
            if self.eat(Tok::Star) {
                suffixes.push(TypeSuffix::Ptr);
            } else if self.eat(Tok::LBracket) {
                let length = match self.tok.kind {
                    Tok::RBracket => None,
                    Tok::Int | Tok::Param | Tok::Ident => Some(Box::new(self.primary())),
                    _ => None,
                };
                self.expect(Tok::RBracket, "]");
                suffixes.push(TypeSuffix::Array(length));
            } else {
                return suffixes;
            }
        }
    }

    /// `(T)` or `(e)` behind `typeof` and its like.
    pub(super) fn parenthesized_type_or_expr(&mut self) -> TypeOrExpr {
        self.expect(Tok::LParen, "(");
        let inner = self.type_or_expr();
        self.expect(Tok::RParen, ")");
        inner
    }

    /// A type if one stands there in full before `)` or `,`, else an expression.
    pub(super) fn type_or_expr(&mut self) -> TypeOrExpr {
        let outer = std::mem::replace(&mut self.in_predicate, false);
        let result = self.nested(|p| {
            if p.at_typeof() {
                return p.typeof_first();
            }
            if matches!(p.type_end(), Some(Tok::RParen | Tok::Comma)) {
                let ty = p.type_expr();
                let height = p.height;
                p.above(height);
                return TypeOrExpr::Type(ty);
            }
            TypeOrExpr::Expr(Box::new(p.expression()))
        });
        self.in_predicate = outer;
        result.unwrap_or_else(|| TypeOrExpr::Expr(Box::new(self.missing())))
    }

    pub(super) fn at_typeof(&self) -> bool {
        self.at_word("typeof") && self.peek().kind == Tok::LParen
    }

    /// Text that begins with `typeof(...)` is read once: it may be long, and what it is shows only behind it.
    fn typeof_first(&mut self) -> TypeOrExpr {
        let ty = self.typeof_type();
        let height = self.height;
        self.above(height);
        if matches!(self.tok.kind, Tok::RParen | Tok::Comma) || !ty.suffixes.is_empty() {
            return TypeOrExpr::Type(ty);
        }
        let operand = typeof_expr(ty);
        TypeOrExpr::Expr(Box::new(self.expression_from(operand)))
    }

    /// `typeof(...)` and the suffixes that cannot belong to an expression.
    pub(super) fn typeof_type(&mut self) -> TypeExpr {
        let lo = self.tok.lo;
        let base = self.type_base();
        let height = self.height;
        let in_type = self.type_suffix_ends_type();
        let suffixes = if in_type { self.type_suffixes() } else { Vec::new() };
        self.height = self.height.max(height);
        TypeExpr { base, suffixes, loc: self.loc_from(lo) }
    }

    /// Whether `*` and `[n]` that come next are followed by `)` or `,`.
    fn type_suffix_ends_type(&self) -> bool {
        let mut scan = Scan { parser: self, tok: self.tok.kind, lexer: self.lexer.clone() };
        let any = matches!(scan.tok, Tok::Star | Tok::LBracket);
        any && scan.suffixes() && matches!(scan.tok, Tok::RParen | Tok::Comma)
    }

    /// The token behind the type that comes next, if there is one without `typeof` and parentheses.
    fn type_end(&self) -> Option<Tok> {
        let mut scan = Scan { parser: self, tok: self.tok.kind, lexer: self.lexer.clone() };
        scan.base(self.tok.lo, self.tok.hi)?;
        scan.suffixes().then_some(scan.tok)
    }

    /// With `(` taken: whether a type, `)` and something that begins an operand follow.
    pub(super) fn at_cast(&self) -> bool {
        let mut scan = Scan { parser: self, tok: self.tok.kind, lexer: self.lexer.clone() };
        let Some(bare) = scan.base(self.tok.lo, self.tok.hi) else { return false };
        let suffixed = matches!(scan.tok, Tok::Star | Tok::LBracket);
        if !scan.suffixes() || scan.tok != Tok::RParen {
            return false;
        }
        if bare && !suffixed && is_value(self.str_of(self.tok)) {
            return false;
        }
        scan.step();
        begins_operand(scan.tok)
    }
}

/// Whether a cast can stand before it. `++` and `--` are not here: `(x)++` changes x.
pub(super) fn begins_operand(tok: Tok) -> bool {
    use Tok::{Amp, Ident, Int, LParen, Map, Minus, Not, OpenStr, Param, ParamCount, Star, Str, Tilde, Var};
    matches!(
        tok,
        Ident
            | Int
            | Str
            | OpenStr
            | Var
            | Map
            | Param
            | ParamCount
            | LParen
            | Star
            | Minus
            | Amp
            | Not
            | Tilde
    )
}

/// `typeof(...)` as an operand.
pub(super) fn typeof_expr(ty: TypeExpr) -> Expr {
    let loc = ty.loc;
    match ty.base {
        TypeBase::Typeof(inner) if ty.suffixes.is_empty() => Expr { kind: ExprKind::Typeof(*inner), loc },
        base => {
            let ty = TypeExpr { base, suffixes: ty.suffixes, loc };
            Expr { kind: ExprKind::Typeof(TypeOrExpr::Type(ty)), loc }
        }
    }
}

/// Looks ahead without making anything. It passes over names, `*`, `[` and numbers only, so that a text
/// that is no type is left soon and never looked through level by level.
struct Scan<'p, 'a> {
    parser: &'p Parser<'a>,
    tok: Tok,
    lexer: super::Lexer<'a>,
}

impl Scan<'_, '_> {
    fn step(&mut self) -> super::Token {
        let token = self.lexer.next(|_| ());
        self.tok = token.kind;
        token
    }

    /// Passes a base; whether it is one bare name.
    fn base(&mut self, lo: u32, hi: u32) -> Option<bool> {
        if self.tok != Tok::Ident {
            return None;
        }
        let word = self.parser.text.get(lo as usize..hi as usize)?;
        self.step();
        if !matches!(word, "struct" | "union" | "enum") {
            return Some(true);
        }
        let named = self.tok == Tok::Ident;
        self.step();
        named.then_some(false)
    }

    /// Passes suffixes; false if a bracket is not that of a type.
    fn suffixes(&mut self) -> bool {
        loop {
            match self.tok {
                Tok::Star => {
                    self.step();
                }
                Tok::LBracket => {
                    self.step();
                    if self.tok == Tok::Int {
                        self.step();
                    }
                    if self.tok != Tok::RBracket {
                        return false;
                    }
                    self.step();
                }
                _ => return true,
            }
        }
    }
}
