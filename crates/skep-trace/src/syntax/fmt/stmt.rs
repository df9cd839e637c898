//! Statements and blocks.

use super::super::ast::{BinaryOp, Block, Expr, ExprKind, ForOver, Stmt, StmtKind, UnaryOp};
use super::super::dump::quoted;
use super::Printer;
use super::expr::Place;
use super::layout::Text;

/// What a block is for.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The last expression of the source is its value.
    Value,
    /// The last expression is a statement like the others: probes, loops.
    Body,
    /// A branch of an `if` that is a statement.
    Branch,
}

impl Printer<'_> {
    /// The body of something at the top level, its braces on lines of their own.
    pub(super) fn body(&mut self, block: &Block, role: Role) {
        let (lo, hi) = (block.loc.span.lo, block.loc.span.hi);
        let early = self.comments.before(lo);
        if early.is_empty() && is_empty(block) && !self.comments.any_in(lo, hi) {
            self.out.push_str("{}");
            return self.end(hi);
        }
        self.out.push('{');
        if early.is_empty() {
            self.end(lo + 1);
        } else {
            self.newline();
        }
        for comment in early {
            self.line(2, comment.text);
        }
        self.statements(block, 2, role);
        self.out.push('}');
        self.end(hi);
    }

    /// `{ ... }` behind something on the same line; what follows it can stand on the same line too.
    fn braces(&mut self, block: &Block, indent: usize, role: Role) {
        let (lo, hi) = (block.loc.span.lo, block.loc.span.hi);
        if is_empty(block) && !self.comments.any_in(lo, hi) {
            self.out.push_str("{}");
            return;
        }
        self.out.push('{');
        self.end(lo + 1);
        self.statements(block, indent + 2, role);
        self.start(indent);
        self.out.push('}');
    }

    /// Statements, value and comments of a block, each on its line.
    fn statements(&mut self, block: &Block, indent: usize, role: Role) {
        for (index, stmt) in block.stmts.iter().enumerate() {
            let last = index + 1 == block.stmts.len() && block.value.is_none();
            self.lead(stmt.loc.span.lo, indent);
            self.start(indent);
            self.stmt(stmt, indent, last && role == Role::Body);
            let is_block = matches!(stmt.kind, StmtKind::If { .. } | StmtKind::Block(_));
            let continued = block.stmts.get(index + 1).is_some_and(begins_like_operator)
                || block
                    .value
                    .as_ref()
                    .is_some_and(|v| last_before_value(block, index) && is_operator_first(v));
            if is_block && (continued || last && role == Role::Value) {
                self.out.push(';');
            }
            let hi = self.comments.behind_semicolon(stmt.loc.span.hi);
            self.end(hi);
        }
        if let Some(value) = &block.value {
            self.lead(value.loc.span.lo, indent);
            self.start(indent);
            let text = self.expr(value, indent, indent);
            self.put(&text);
            self.end(super::expr::end_of(value));
        }
        self.close(block.loc.span.hi, indent);
    }

    /// A block that is an operand.
    pub(super) fn block_text(&mut self, block: &Block, indent: usize) -> Text {
        self.buffered(|p| p.braces(block, indent, Role::Value))
    }

    /// What `print` adds to the output, as text of its own.
    fn buffered(&mut self, print: impl FnOnce(&mut Self)) -> Text {
        let outer = std::mem::take(&mut self.out);
        print(self);
        let text = std::mem::replace(&mut self.out, outer);
        text.split('\n').map(str::to_owned).collect::<Vec<_>>().into()
    }

    fn stmt(&mut self, stmt: &Stmt, indent: usize, ends_body: bool) {
        if !self.comments.any_in(stmt.loc.span.lo, stmt.loc.span.hi)
            && let StmtKind::If { cond, then, other: Some(other) } = &stmt.kind
            && !ends_body
            && !self.has_semicolon(then)
            && let Some(flat) = self.flat_if(cond, then, other)
            && indent + flat.chars().count() <= super::WIDTH
        {
            self.out.push_str(&flat);
            return;
        }
        match &stmt.kind {
            StmtKind::If { cond, then, other } => {
                self.if_chain(cond, then, other.as_ref(), indent, Role::Branch);
            }
            StmtKind::For { var, over, body } => {
                self.out.push_str(&format!("for ${} : ", var.name));
                match over {
                    ForOver::Map(map) => self.inline(map, None, indent),
                    ForOver::Range(first, end) => {
                        self.range_end(first, indent);
                        self.out.push_str("..");
                        self.range_end(end, indent);
                    }
                }
                self.out.push(' ');
                self.braces(body, indent, Role::Body);
            }
            StmtKind::While { cond, body } => {
                self.out.push_str("while ");
                self.inline(cond, Some(Place::Operand), indent);
                self.out.push(' ');
                self.braces(body, indent, Role::Body);
            }
            StmtKind::Unroll { count, body } => {
                self.out.push_str("unroll (");
                self.inline(count, None, indent);
                self.out.push_str(") ");
                self.braces(body, indent, Role::Body);
            }
            StmtKind::Block(block) => match self.flat_stmt(stmt) {
                Some(flat) if !self.comments.any_in(stmt.loc.span.lo, stmt.loc.span.hi) => {
                    self.out.push_str(&flat);
                }
                _ => self.braces(block, indent, Role::Branch),
            },
            StmtKind::Return(Some(value)) => {
                self.out.push_str("return ");
                self.inline(value, Some(Place::Operand), indent);
                self.out.push(';');
            }
            StmtKind::Assign { target, op, value } => {
                self.inline(target, None, indent);
                self.out.push_str(&format!(" {}= ", op.map_or("", BinaryOp::symbol)));
                self.inline(value, None, indent);
                self.out.push(';');
            }
            StmtKind::Let { var, ty, value } => {
                self.out.push_str(&format!("let ${}", var.name));
                if let Some(ty) = ty {
                    self.out.push_str(" : ");
                    let text = self.ty(ty, self.column());
                    self.put(&text);
                }
                if let Some(value) = value {
                    self.out.push_str(" = ");
                    self.inline(value, None, indent);
                }
                self.out.push(';');
            }
            StmtKind::Discard(value) => {
                self.out.push_str("_ = ");
                self.inline(value, None, indent);
                self.out.push(';');
            }
            StmtKind::Expr(value) => {
                self.inline(value, statement_place(value), indent);
                self.out.push(';');
            }
            StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) | StmtKind::Import(_) => {
                let flat = self.flat_stmt(stmt).unwrap_or_default();
                self.out.push_str(&flat);
            }
        }
    }

    /// A statement on one line with its `;`; `None` if it is one that never stands on one.
    pub(super) fn flat_stmt(&self, stmt: &Stmt) -> Option<String> {
        Some(match &stmt.kind {
            StmtKind::Block(block) => match (block.stmts.as_slice(), &block.value) {
                ([], None) => "{}".into(),
                ([inner], None) => format!("{{ {} }}", self.flat_stmt(inner)?),
                _ => return None,
            },
            StmtKind::Expr(expr) => {
                let mut flat = self.flat(expr)?;
                if statement_place(expr).is_some() {
                    flat = format!("({flat})");
                }
                let ended = self.source(stmt.loc.span).ends_with(';');
                flat + if ended { ";" } else { "" }
            }
            StmtKind::Discard(value) => format!("_ = {};", self.flat(value)?),
            StmtKind::Assign { target, op, value } => {
                let sign = op.map_or("", BinaryOp::symbol);
                format!("{} {sign}= {};", self.flat(target)?, self.flat(value)?)
            }
            StmtKind::Break => "break;".into(),
            StmtKind::Continue => "continue;".into(),
            StmtKind::Return(None) => "return;".into(),
            StmtKind::Import(import) => format!("import {};", quoted(import.path.as_bytes())),
            _ => return None,
        })
    }

    /// Whether a block ends with an expression and its semicolon.
    fn has_semicolon(&self, block: &Block) -> bool {
        block.stmts.last().is_some_and(|stmt| self.source(stmt.loc.span).ends_with(';'))
    }

    /// An expression that goes on in the current line.
    fn inline(&mut self, expr: &Expr, place: Option<Place>, indent: usize) {
        let column = self.column();
        let text = match place {
            Some(place) => self.operand(expr, place, column, indent),
            None => self.expr(expr, column, indent),
        };
        self.put(&text);
    }

    /// Where the current line ends.
    fn column(&self) -> usize {
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        self.out[line..].chars().count()
    }

    fn range_end(&mut self, expr: &Expr, indent: usize) {
        let plain = matches!(expr.kind, ExprKind::Int(_));
        self.out.push_str(if plain { "" } else { "(" });
        self.inline(expr, None, indent);
        self.out.push_str(if plain { "" } else { ")" });
    }

    // Conditions

    /// The `if` that an `else` block stands for.
    pub(super) fn else_if<'b>(&self, block: &'b Block) -> Option<(&'b Expr, &'b Block, Option<&'b Block>)> {
        match (block.stmts.as_slice(), &block.value) {
            ([stmt], None) if stmt.loc.span == block.loc.span => match &stmt.kind {
                StmtKind::If { cond, then, other } => Some((cond, then, other.as_ref())),
                _ => None,
            },
            ([], Some(value)) if value.loc.span == block.loc.span => match &value.kind {
                ExprKind::If { cond, then, other } => Some((cond, then, other.as_ref())),
                _ => None,
            },
            _ => None,
        }
    }

    fn if_chain(&mut self, cond: &Expr, then: &Block, other: Option<&Block>, indent: usize, role: Role) {
        let (mut cond, mut then, mut other) = (cond, then, other);
        loop {
            self.out.push_str("if ");
            let place = (!matches!(cond.kind, ExprKind::Comptime(_))).then_some(Place::Operand);
            self.inline(cond, place, indent);
            self.out.push(' ');
            self.braces(then, indent, role);
            let Some(block) = other else { return };
            self.out.push_str(" else ");
            match self.else_if(block) {
                Some(next) => (cond, then, other) = next,
                None => return self.braces(block, indent, role),
            }
        }
    }

    /// An `if` that is an operand.
    pub(super) fn if_text(
        &mut self,
        cond: &Expr,
        then: &Block,
        other: Option<&Block>,
        column: usize,
        indent: usize,
    ) -> Text {
        let mut text = self.buffered(|p| {
            // The condition is laid out for where it will stand.
            p.start(column);
            p.if_chain(cond, then, other, indent, Role::Value);
        });
        text.cut_first(column);
        text
    }
}

fn is_empty(block: &Block) -> bool {
    block.stmts.is_empty() && block.value.is_none()
}

fn last_before_value(block: &Block, index: usize) -> bool {
    index + 1 == block.stmts.len()
}

/// Whether a statement, printed behind a `}`, would go on with what ends there.
fn begins_like_operator(stmt: &Stmt) -> bool {
    matches!(&stmt.kind, StmtKind::Expr(expr) if is_operator_first(expr))
}

fn is_operator_first(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Unary(UnaryOp::Neg | UnaryOp::Deref | UnaryOp::AddrOf, _))
}

/// An operand at the start of a statement that would be a statement itself needs parentheses.
fn statement_place(value: &Expr) -> Option<Place> {
    matches!(value.kind, ExprKind::If { .. } | ExprKind::Block(_)).then_some(Place::Operand)
}
