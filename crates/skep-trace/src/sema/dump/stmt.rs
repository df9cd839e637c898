//! Statements of an analysed script as text.

use super::expr::{Exprs, operator};
use super::line;
use crate::hir::{Stmt, StmtKind};

impl Exprs<'_> {
    pub(super) fn stmts(&self, out: &mut String, stmts: &[Stmt], depth: usize) {
        // Deeper code than anybody reads would only be blanks.
        if depth > 200 {
            line(out, depth, "...");
            return;
        }
        for stmt in stmts {
            self.stmt(out, stmt, depth);
        }
    }

    fn stmt(&self, out: &mut String, stmt: &Stmt, depth: usize) {
        let text = match &stmt.kind {
            StmtKind::Expr(e) => self.expr(e),
            StmtKind::SetLocal(id, e) => format!("{} = {}", self.local(*id), self.expr(e)),
            StmtKind::SetMap { map, key, value } => {
                format!("{} = {}", self.map(*map, key.as_ref()), self.expr(value))
            }
            StmtKind::UpdateMap { map, key, op, value } => {
                format!("{} {}= {}", self.map(*map, key.as_ref()), operator(*op), self.expr(value))
            }
            StmtKind::Collect { map, key, value } => {
                let value = value.as_ref().map_or_else(String::new, |v| self.expr(v));
                format!("{} <- {value}", self.map(*map, key.as_ref())).trim_end().to_owned()
            }
            StmtKind::Emit(event, args) => {
                let args: Vec<String> = args.iter().map(|a| self.expr(a)).collect();
                format!("emit {}({})", event.as_u32(), args.join(", "))
            }
            StmtKind::If(cond, then, other) => {
                line(out, depth, &format!("if {}", self.expr(cond)));
                self.stmts(out, then, depth + 1);
                if !other.is_empty() {
                    line(out, depth, "else");
                    self.stmts(out, other, depth + 1);
                }
                return;
            }
            StmtKind::ForMap { map, var, body } => {
                line(out, depth, &format!("for {} in {}", self.local(*var), self.map(*map, None)));
                return self.stmts(out, body, depth + 1);
            }
            StmtKind::ForRange { var, start, end, body } => {
                let (start, end) = (self.expr(start), self.expr(end));
                line(out, depth, &format!("for {} in {start}..{end}", self.local(*var)));
                return self.stmts(out, body, depth + 1);
            }
            StmtKind::While(cond, body) => {
                line(out, depth, &format!("while {}", self.expr(cond)));
                return self.stmts(out, body, depth + 1);
            }
            StmtKind::Block(stmts) => {
                line(out, depth, "block");
                return self.stmts(out, stmts, depth + 1);
            }
            StmtKind::Break => "break".to_owned(),
            StmtKind::Continue => "continue".to_owned(),
            StmtKind::Return(None) => "return".to_owned(),
            StmtKind::Return(Some(e)) => format!("return {}", self.expr(e)),
        };
        line(out, depth, &text);
    }
}
