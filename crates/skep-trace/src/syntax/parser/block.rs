//! Blocks and statements.

use super::super::ast::{BinaryOp, Block, Expr, ExprKind, ForOver, Import, Stmt, StmtKind, TypeExpr};
use super::super::lexer::Tok;
use super::{MAX_HEIGHT, Parser};

const IMMUTABLE: &str =
    "Tuples and records are immutable once created. Consider creating a new value and assigning it instead.";

fn compound_op(tok: Tok) -> Option<BinaryOp> {
    Some(match tok {
        Tok::PlusAssign => BinaryOp::Add,
        Tok::MinusAssign => BinaryOp::Sub,
        Tok::StarAssign => BinaryOp::Mul,
        Tok::SlashAssign => BinaryOp::Div,
        Tok::PercentAssign => BinaryOp::Mod,
        Tok::AmpAssign => BinaryOp::BitAnd,
        Tok::PipeAssign => BinaryOp::BitOr,
        Tok::CaretAssign => BinaryOp::BitXor,
        Tok::ShlAssign => BinaryOp::Shl,
        Tok::ShrAssign => BinaryOp::Shr,
        _ => return None,
    })
}

/// What can be assigned to a target, or why nothing can.
enum Target {
    Place,
    Immutable,
    Element,
    None,
}

fn target(expr: &Expr) -> Target {
    match &expr.kind {
        ExprKind::Var(_) | ExprKind::Map { .. } => Target::Place,
        ExprKind::Field { base, .. } | ExprKind::TupleIndex(base, _) if rooted(base) => Target::Immutable,
        ExprKind::Index(base, _) if rooted(base) => Target::Element,
        _ => Target::None,
    }
}

/// Whether a chain of accesses begins at a variable or a map.
fn rooted(mut expr: &Expr) -> bool {
    loop {
        match &expr.kind {
            ExprKind::Var(_) | ExprKind::Map { .. } => return true,
            ExprKind::Field { base, .. } | ExprKind::TupleIndex(base, _) | ExprKind::Index(base, _) => {
                expr = base;
            }
            _ => return false,
        }
    }
}

/// Makes a statement of what could have been an operand: nobody wants the values of its blocks.
fn without_value(mut stmt: Stmt) -> Stmt {
    match &mut stmt.kind {
        StmtKind::If { then, other, .. } => {
            value_to_statement(then);
            if let Some(other) = other {
                value_to_statement(other);
            }
        }
        StmtKind::Block(block) => value_to_statement(block),
        _ => {}
    }
    stmt
}

fn value_to_statement(block: &mut Block) {
    let Some(value) = block.value.take() else { return };
    let Expr { kind, loc } = *value;
    let kind = match kind {
        ExprKind::If { cond, then, other } => StmtKind::If { cond: *cond, then, other },
        ExprKind::Block(inner) => StmtKind::Block(inner),
        kind => StmtKind::Expr(Expr { kind, loc }),
    };
    block.stmts.push(without_value(Stmt { kind, loc }));
}

/// Whether the last expression of a block is its value.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Last {
    Value,
    Statement,
}

/// `if c { }` of a chain.
struct IfArm {
    lo: u32,
    cond: Expr,
    then: Block,
    height: u32,
}

impl Parser<'_> {
    /// A block whose last expression is its value: of a macro, an `if`, an expression.
    pub(super) fn value_block(&mut self) -> Block {
        self.block(Last::Value)
    }

    /// A block that has no value: of a probe, a subprogram, a loop.
    pub(super) fn plain_block(&mut self) -> Block {
        self.block(Last::Statement)
    }

    fn block(&mut self, last: Last) -> Block {
        let lo = self.tok.lo;
        let outer = std::mem::replace(&mut self.in_predicate, false);
        let mut block = Block { stmts: Vec::new(), value: None, loc: self.loc(lo, lo) };
        if self.expect(Tok::LBrace, "{") {
            let height = self.nested(|p| p.statements(&mut block, last)).unwrap_or_default();
            self.above(height);
        }
        block.loc = self.loc_from(lo);
        self.in_predicate = outer;
        block
    }

    /// Statements up to `}`; their height.
    fn statements(&mut self, block: &mut Block, last: Last) -> u32 {
        let mut height = 0;
        loop {
            if self.eat(Tok::RBrace) {
                return height;
            }
            if self.at(Tok::Eof) {
                self.error_here("expected '}'");
                return height;
            }
            let (start, errors) = (self.tok.lo, self.errors.len());
            self.height = 1;
            let stmt = self.statement();
            height = height.max(self.height);
            if self.errors.len() > errors {
                if self.tok.lo == start {
                    self.error_here("unexpected input in block");
                }
                return height;
            }
            let Some(stmt) = stmt else { return height };
            if last == Last::Statement || !self.at(Tok::RBrace) || self.after_semicolon() {
                block.stmts.push(without_value(stmt));
                continue;
            }
            match stmt.kind {
                StmtKind::Expr(value) => block.value = Some(Box::new(value)),
                StmtKind::If { cond, then, other } => {
                    let kind = ExprKind::If { cond: Box::new(cond), then, other };
                    block.value = Some(Box::new(Expr { kind, loc: stmt.loc }));
                }
                StmtKind::Block(inner) => {
                    block.value = Some(Box::new(Expr { kind: ExprKind::Block(inner), loc: stmt.loc }));
                }
                _ => block.stmts.push(stmt),
            }
        }
    }

    /// Whether the last token was a `;`.
    fn after_semicolon(&self) -> bool {
        let last = (self.prev_end as usize).checked_sub(1);
        last.and_then(|at| self.text.as_bytes().get(at)) == Some(&b';')
    }

    fn statement(&mut self) -> Option<Stmt> {
        let lo = self.tok.lo;
        match self.tok.kind {
            Tok::Dollar => {
                self.error_here("expected identifier after '$'");
                None
            }
            Tok::Ident => match self.str_of(self.tok) {
                "let" => self.let_statement(),
                "for" => self.for_statement(),
                "while" => {
                    self.advance();
                    let (cond, body) = self.head_and_body()?;
                    Some(Stmt { kind: StmtKind::While { cond, body }, loc: self.loc_from(lo) })
                }
                "unroll" => {
                    self.advance();
                    let (count, body) = self.head_and_body()?;
                    Some(Stmt { kind: StmtKind::Unroll { count, body }, loc: self.loc_from(lo) })
                }
                "return" => {
                    self.advance();
                    let value =
                        (!matches!(self.tok.kind, Tok::Semi | Tok::RBrace)).then(|| self.expression());
                    Some(self.ended(lo, StmtKind::Return(value)))
                }
                "break" => {
                    self.advance();
                    Some(self.ended(lo, StmtKind::Break))
                }
                "continue" => {
                    self.advance();
                    Some(self.ended(lo, StmtKind::Continue))
                }
                "import" => self.import().map(|import| {
                    let loc = import.loc;
                    Stmt { kind: StmtKind::Import(import), loc }
                }),
                "if" => Some(self.if_statement()),
                "_" if self.peek().kind == Tok::Assign => {
                    self.advance();
                    self.advance();
                    let value = self.expression();
                    let loc = self.loc_from(lo);
                    self.semicolon();
                    Some(Stmt { kind: StmtKind::Discard(value), loc })
                }
                _ => Some(self.expression_statement()),
            },
            Tok::LBrace => Some(self.block_statement()),
            _ => Some(self.expression_statement()),
        }
    }

    /// `;`, which may be missing before `}`.
    fn semicolon(&mut self) {
        if !self.at(Tok::RBrace) {
            self.expect(Tok::Semi, ";");
        }
    }

    /// A statement whose place includes its `;`.
    fn ended(&mut self, lo: u32, kind: StmtKind) -> Stmt {
        self.semicolon();
        Stmt { kind, loc: self.loc_from(lo) }
    }

    fn let_statement(&mut self) -> Option<Stmt> {
        let lo = self.advance().lo;
        match self.tok.kind {
            Tok::Var => {}
            Tok::Dollar | Tok::Param | Tok::ParamCount => {
                self.error_here("expected identifier after '$'");
                self.semicolon();
                return None;
            }
            _ => {
                self.error_here("expected variable after 'let'");
                return None;
            }
        }
        let var = self.take_name();
        let ty: Option<TypeExpr> = self.eat(Tok::Colon).then(|| self.type_expr());
        let value = self.eat(Tok::Assign).then(|| self.expression());
        let loc = self.loc_from(lo);
        self.semicolon();
        Some(Stmt { kind: StmtKind::Let { var, ty, value }, loc })
    }

    /// Condition of a `while` or count of an `unroll`, and the body.
    fn head_and_body(&mut self) -> Option<(Expr, Block)> {
        let head = self.expression();
        let height = self.height;
        let body = self.plain_block();
        self.height = self.height.max(height + 1);
        Some((head, body))
    }

    fn for_statement(&mut self) -> Option<Stmt> {
        let lo = self.advance().lo;
        let parenthesis = self.eat(Tok::LParen);
        match self.tok.kind {
            Tok::Var => {}
            Tok::Dollar | Tok::Param | Tok::ParamCount => {
                self.error_here("expected identifier after '$'");
                self.expect(Tok::Colon, ":");
                return None;
            }
            _ => {
                self.error_here("expected variable in for loop");
                return None;
            }
        }
        let var = self.take_name();
        if !self.expect(Tok::Colon, ":") {
            return None;
        }
        let first = self.expression();
        let mut height = self.height;
        let end = self.eat(Tok::DotDot).then(|| self.expression());
        height = height.max(self.height);
        if parenthesis && !self.expect(Tok::RParen, ")") {
            return None;
        }
        let over = match end {
            Some(end) => ForOver::Range(first, end),
            None if matches!(first.kind, ExprKind::Map { key: None, .. }) => ForOver::Map(first),
            None => {
                self.error_here("expected map or range in for loop");
                return None;
            }
        };
        let body = self.plain_block();
        self.height = self.height.max(height + 1);
        Some(Stmt { kind: StmtKind::For { var, over, body }, loc: self.loc_from(lo) })
    }

    /// `if c { } else if c { } else { }`. A chain is read in a loop, so that its length costs no stack here;
    /// the tree is as high as the chain is long.
    pub(super) fn if_parts(&mut self) -> (Expr, Block, Option<Block>) {
        let first = self.if_arm();
        let mut chain = Vec::new();
        let mut rest = None;
        let mut height = 0;
        while self.at_word("else") {
            self.advance();
            if self.at_word("if") {
                chain.push(self.if_arm());
                // Each arm is two levels of the tree: an `if` and the block that holds the next one.
                if chain.len() as u32 * 2 > MAX_HEIGHT {
                    self.stop_too_long();
                    break;
                }
                continue;
            }
            if self.at(Tok::LBrace) {
                rest = Some(self.value_block());
                height = self.height;
            } else {
                self.error_here("expected '{' or 'if' after 'else'");
            }
            break;
        }
        let end = self.prev_end;
        while let Some(arm) = chain.pop() {
            self.above(height.max(arm.height));
            height = self.height + 1;
            let loc = self.loc(arm.lo, end);
            let kind = ExprKind::If { cond: Box::new(arm.cond), then: arm.then, other: rest };
            rest = Some(Block { stmts: Vec::new(), value: Some(Box::new(Expr { kind, loc })), loc });
        }
        self.above(height.max(first.height));
        (first.cond, first.then, rest)
    }

    fn if_arm(&mut self) -> IfArm {
        let lo = self.advance().lo;
        // `comptime` covers the whole condition, so nothing may follow its operand.
        let cond = if self.at_word("comptime") { self.unary() } else { self.expression() };
        let height = self.height;
        let then = self.value_block();
        IfArm { lo, cond, then, height: height.max(self.height) }
    }

    /// An `if` at the start of a statement is a statement unless an operator follows.
    fn if_statement(&mut self) -> Stmt {
        let lo = self.tok.lo;
        let (cond, then, other) = self.if_parts();
        let loc = self.loc_from(lo);
        if self.continues_expression() {
            let kind = ExprKind::If { cond: Box::new(cond), then, other };
            return self.continued_statement(Expr { kind, loc });
        }
        self.after_brace(Stmt { kind: StmtKind::If { cond, then, other }, loc })
    }

    fn block_statement(&mut self) -> Stmt {
        let lo = self.tok.lo;
        let errors = self.errors.len();
        let block = self.value_block();
        let loc = self.loc_from(lo);
        if self.errors.len() > errors {
            // An unfinished block: the text goes on inside of it.
            self.semicolon();
        } else if self.continues_expression() {
            return self.continued_statement(Expr { kind: ExprKind::Block(block), loc });
        }
        self.after_brace(Stmt { kind: StmtKind::Block(block), loc })
    }

    /// A `;` behind a brace is allowed; the place of the statement then says that it has no value.
    fn after_brace(&mut self, mut stmt: Stmt) -> Stmt {
        if self.eat(Tok::Semi) {
            stmt.loc = self.loc_from(stmt.loc.span.lo);
        }
        stmt
    }

    fn continues_expression(&self) -> bool {
        use Tok::{
            Amp, AndAnd, Arrow, Caret, Dot, EqEq, Ge, Gt, LBracket, Le, Lt, Minus, NotEq, OrOr, Percent,
            Pipe, Plus, Question, Shl, Shr, Slash, Star,
        };
        matches!(
            self.tok.kind,
            Amp | AndAnd
                | Arrow
                | Caret
                | Dot
                | EqEq
                | Ge
                | Gt
                | LBracket
                | Le
                | Lt
                | Minus
                | NotEq
                | OrOr
                | Percent
                | Pipe
                | Plus
                | Question
                | Shl
                | Shr
                | Slash
                | Star
        )
    }

    fn continued_statement(&mut self, operand: Expr) -> Stmt {
        let lo = operand.loc.span.lo;
        let operand = self.postfix(operand, false);
        let expr = self.expression_from(operand);
        self.ended(lo, StmtKind::Expr(expr))
    }

    fn expression_statement(&mut self) -> Stmt {
        let lo = self.tok.lo;
        let expr = self.expression();
        let op = compound_op(self.tok.kind);
        let target = target(&expr);
        let assigns = match target {
            Target::Place => op.is_some() || self.at(Tok::Assign),
            Target::Immutable | Target::Element => self.at(Tok::Assign),
            Target::None => false,
        };
        if !assigns {
            return self.ended(lo, StmtKind::Expr(expr));
        }
        let height = self.height;
        self.advance();
        let value = self.expression();
        self.height = self.height.max(height);
        let loc = self.loc_from(lo);
        match target {
            Target::Immutable => self.error(loc, IMMUTABLE),
            Target::Element => self.error(loc, "invalid assignment target"),
            Target::Place | Target::None => {}
        }
        self.semicolon();
        Stmt { kind: StmtKind::Assign { target: expr, op, value }, loc }
    }

    /// `import "path";`
    pub(super) fn import(&mut self) -> Option<Import> {
        let lo = self.advance().lo;
        if !matches!(self.tok.kind, Tok::Str | Tok::OpenStr) {
            self.error_here("expected string after 'import'");
            return None;
        }
        let path = String::from_utf8_lossy(&self.string()).into_owned();
        let loc = self.loc_from(lo);
        if !self.eat(Tok::Semi) {
            self.error_here("expected ';' after import");
        }
        Some(Import { path, files: Vec::new(), loc })
    }
}
