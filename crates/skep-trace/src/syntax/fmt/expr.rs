//! Expressions: on one line where they fit, else broken where they are lists.

use super::super::ast::{
    BinaryOp, Block, Expr, ExprKind, StmtKind, TypeBase, TypeExpr, TypeOrExpr, TypeSuffix, UnaryOp,
};
use super::layout::{Text, fill, joined};
use super::{Printer, WIDTH};

/// Where an operand stands: whether it needs parentheses depends on it.
#[derive(Copy, Clone)]
pub(super) enum Place {
    /// Beside a binary operator; true on its right side.
    Binary(BinaryOp, bool),
    /// Behind a prefix operator.
    Prefix,
    /// Behind a cast.
    Cast,
    /// In front of `.`, `->` or `[`.
    Base,
    /// Condition or arm of `?:`, condition of `if`, value of `return`.
    Operand,
}

fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::LogicalOr => 1,
        BinaryOp::LogicalAnd => 2,
        BinaryOp::BitOr => 3,
        BinaryOp::BitXor => 4,
        BinaryOp::BitAnd => 5,
        BinaryOp::Eq | BinaryOp::Ne => 6,
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 7,
        BinaryOp::Shl | BinaryOp::Shr => 8,
        BinaryOp::Add | BinaryOp::Sub => 9,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 10,
    }
}

fn is_logical(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::LogicalAnd | BinaryOp::LogicalOr)
}

/// Parentheses are left out only where everybody knows the order: around comparisons, in chains of one logical
/// operator, and around operands of one piece.
pub(super) fn needs_parentheses(expr: &Expr, place: Place) -> bool {
    match &expr.kind {
        ExprKind::Binary(inner, ..) => match place {
            Place::Binary(outer, right) => {
                let compares = matches!(strength(*inner), 6 | 7);
                let chains = is_logical(*inner) && *inner == outer;
                let (inner, outer) = (strength(*inner), strength(outer));
                let binds = if right { inner > outer } else { inner >= outer };
                !(binds && (compares || chains))
            }
            _ => true,
        },
        ExprKind::Unary(..)
        | ExprKind::IncDec { .. }
        | ExprKind::Ternary(..)
        | ExprKind::If { .. }
        | ExprKind::Block(_) => true,
        ExprKind::Cast(..) => true,
        ExprKind::Comptime(_) => !matches!(place, Place::Cast | Place::Prefix),
        _ => false,
    }
}

fn op_sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "-",
        UnaryOp::Not => "!",
        UnaryOp::BitNot => "~",
        UnaryOp::Deref => "*",
        UnaryOp::AddrOf => "&",
    }
}

/// The end of an expression; the place of a cast is only its type.
pub(super) fn end_of(mut expr: &Expr) -> u32 {
    while let ExprKind::Cast(_, operand) = &expr.kind {
        expr = operand;
    }
    expr.loc.span.hi
}

impl Printer<'_> {
    /// An expression that begins at `column`; what it breaks into lines that are not aligned with it is
    /// indented by `indent`.
    pub(super) fn expr(&mut self, expr: &Expr, column: usize, indent: usize) -> Text {
        match self.comments_in_front(expr.loc.span.lo, column) {
            Some(mut out) => {
                out.append(self.bare_expr(expr, column, indent));
                out
            }
            None => self.bare_expr(expr, column, indent),
        }
    }

    fn bare_expr(&mut self, expr: &Expr, column: usize, indent: usize) -> Text {
        if !self.comments.any_in(expr.loc.span.lo, end_of(expr))
            && let Some(flat) = self.flat(expr)
            && column + flat.chars().count() <= WIDTH
        {
            return Text::from(flat);
        }
        match &expr.kind {
            ExprKind::Call { name, args } => self.list(&format!("{}(", name.name), args, ")", column, expr),
            ExprKind::Map { name, key: Some(key), .. } => {
                self.list(&format!("@{name}["), key, "]", column, expr)
            }
            ExprKind::Tuple(elements) => {
                let close = if elements.len() == 1 { ",)" } else { ")" };
                self.list("(", elements, close, column, expr)
            }
            ExprKind::Record(fields) => {
                let print = |p: &mut Self, index: usize, at: usize| {
                    let (name, value) = &fields[index];
                    let lead = p.comments_in_front(name.loc.span.lo, at);
                    let mut item = lead.unwrap_or_else(|| Text::from(""));
                    item.push(&format!("{}=", name.name));
                    let value_at = item.end(at);
                    item.append(p.expr(value, value_at, at));
                    item
                };
                if self.comments.any_in(expr.loc.span.lo, expr.loc.span.hi) {
                    let ends: Vec<_> = fields.iter().map(|(_, value)| end_of(value)).collect();
                    return self.commented_list("(", &ends, ")", column + 1, expr.loc.span.hi, print);
                }
                let mut out = Text::from("(");
                out.newline(column + 2);
                let items = (0..fields.len()).map(|index| print(self, index, column + 2)).collect();
                out.append(fill(items, column + 2, 0));
                out.newline(column);
                out.push(")");
                out
            }
            ExprKind::Binary(op, left, right) => self.broken_binary(*op, left, right, column, indent),
            ExprKind::Ternary(cond, then, other) => {
                let mut out = self.operand(cond, Place::Operand, column, indent);
                for (sign, arm) in [("? ", then.as_deref()), (": ", Some(&**other))] {
                    out.newline(indent);
                    match arm {
                        Some(arm) => {
                            out.push(sign);
                            out.append(self.operand(arm, Place::Operand, indent + 2, indent));
                        }
                        None => out.push("?"),
                    }
                }
                out
            }
            ExprKind::Unary(op, operand) => {
                let mut out = Text::from(op_sign(*op));
                out.append(self.operand(operand, Place::Prefix, column + 1, indent));
                out
            }
            ExprKind::Comptime(operand) => {
                let mut out = Text::from("comptime ");
                out.append(self.operand(operand, Place::Prefix, column + 9, indent));
                out
            }
            ExprKind::Cast(ty, operand) => {
                let mut out = Text::from("(");
                out.append(self.ty(ty, column + 1));
                out.push(")");
                let at = out.end(column);
                out.append(self.operand(operand, Place::Cast, at, indent));
                out
            }
            ExprKind::IncDec { target, decrement, prefix } => {
                let sign = if *decrement { "--" } else { "++" };
                let mut out = Text::from(if *prefix { sign } else { "" });
                let at = out.end(column);
                out.append(self.expr(target, at, indent));
                out.push(if *prefix { "" } else { sign });
                out
            }
            ExprKind::Field { base, name, arrow } => {
                let mut out = self.operand(base, Place::Base, column, indent);
                out.push(&format!("{}{}", if *arrow { "->" } else { "." }, name.name));
                out
            }
            ExprKind::TupleIndex(base, _) => {
                let mut out = self.operand(base, Place::Base, column, indent);
                out.push(&format!(".{}", self.last_word(expr.loc.span)));
                out
            }
            ExprKind::Index(base, index) => {
                let mut out = self.operand(base, Place::Base, column, indent);
                out.push("[");
                let at = out.end(column);
                out.append(self.expr(index, at, at));
                out.push("]");
                out
            }
            ExprKind::Block(block) => self.block_text(block, indent),
            ExprKind::If { cond, then, other } => self.if_text(cond, then, other.as_ref(), column, indent),
            ExprKind::Sizeof(operand) => self.question("sizeof(", operand, ")", column),
            ExprKind::Typeof(operand) => self.question("typeof(", operand, ")", column),
            ExprKind::Typeinfo(operand) => self.question("typeinfo(", operand, ")", column),
            ExprKind::Offsetof(base, fields) => {
                let fields: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
                self.question("offsetof(", base, &format!(", {})", fields.join(".")), column)
            }
            // What is left has no parts that could be broken.
            _ => Text::from(self.flat(expr).unwrap_or_default()),
        }
    }

    pub(super) fn operand(&mut self, expr: &Expr, place: Place, column: usize, indent: usize) -> Text {
        if !needs_parentheses(expr, place) {
            return self.expr(expr, column, indent);
        }
        let mut out = Text::from("(");
        out.append(self.expr(expr, column + 1, column + 1));
        out.push(")");
        out
    }

    fn broken_binary(
        &mut self,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        column: usize,
        indent: usize,
    ) -> Text {
        let sign = op.symbol();
        if is_logical(op) {
            let mut operands = vec![right];
            let mut rest = left;
            while let ExprKind::Binary(inner, left, right) = &rest.kind
                && *inner == op
            {
                operands.push(right);
                rest = left;
            }
            operands.push(rest);
            operands.reverse();
            let mut items = Vec::new();
            for (index, operand) in operands.iter().enumerate() {
                items.push(self.operand(operand, Place::Binary(op, index > 0), column, indent));
            }
            return joined(items, column, 0, &format!(" {sign} "), &format!(" {sign}"));
        }
        let mut out = self.operand(left, Place::Binary(op, false), column, indent);
        out.push(&format!(" {sign}"));
        let at = out.end(column);
        if !out.is_one_line()
            && !self.comments.any_in(left.loc.span.lo, end_of(right))
            && let Some(flat) = self.flat_operand(right, Place::Binary(op, true))
            && at + 1 + flat.chars().count() <= WIDTH
        {
            out.push(&format!(" {flat}"));
            return out;
        }
        out.newline(column);
        out.append(self.operand(right, Place::Binary(op, true), column, indent));
        out
    }

    /// Comments in front of what begins at `lo`, each on its line, ending where that can begin.
    fn comments_in_front(&mut self, lo: u32, column: usize) -> Option<Text> {
        let comments = self.comments.before(lo);
        if comments.is_empty() {
            return None;
        }
        let mut out = Text::from("");
        for comment in comments {
            out.append(comment.text.lines().map(str::to_owned).collect::<Vec<_>>().into());
            if comment.inline {
                out.push(" ");
            } else {
                out.newline(column);
            }
        }
        Some(out)
    }

    /// `head element, element close`
    fn list(&mut self, head: &str, elements: &[Expr], close: &str, column: usize, whole: &Expr) -> Text {
        let at = column + head.chars().count();
        let print = |p: &mut Self, index: usize, at: usize| p.expr(&elements[index], at, at);
        let ends: Vec<_> = elements.iter().map(end_of).collect();
        if self.comments.any_in(whole.loc.span.lo, whole.loc.span.hi) {
            return self.commented_list(head, &ends, close, at, whole.loc.span.hi, print);
        }
        let hangs = elements.iter().any(|e| self.is_too_wide(e, at));
        let items_at = if hangs { column + 2 } else { at };
        let items = (0..elements.len()).map(|index| print(self, index, items_at)).collect();
        let mut out = Text::from(head);
        if hangs {
            out.newline(items_at);
            out.append(fill(items, items_at, 0));
            out.newline(column);
        } else {
            out.append(fill(items, items_at, close.len()));
        }
        out.push(close);
        out
    }

    /// A list with an element on each line, and the comments that stand between them. `ends` are the ends of
    /// the elements in the source, `hi` is that of the list.
    fn commented_list(
        &mut self,
        head: &str,
        ends: &[u32],
        close: &str,
        column: usize,
        hi: u32,
        print: impl Fn(&mut Self, usize, usize) -> Text,
    ) -> Text {
        let mut out = Text::from(head);
        let mut ends_with_comment = false;
        for (index, &end) in ends.iter().enumerate() {
            if index > 0 {
                out.newline(column);
            }
            out.append(print(self, index, column));
            let beside = self.comments.beside(end);
            out.push(&beside.map_or(String::new(), |comment| format!(" {comment}")));
            let last = index + 1 == ends.len();
            out.push(if last { "" } else { "," });
            let end = if last { end } else { self.comments.behind_comma(end) };
            let behind = self.comments.behind(end).map(str::to_owned);
            ends_with_comment = behind.is_some();
            if let Some(comment) = behind {
                out.push(&format!(" {comment}"));
            }
        }
        if self.comments.any_in(0, hi) || ends_with_comment {
            out.newline(column);
        }
        if let Some(rest) = self.comments_in_front(hi, column) {
            out.append(rest);
        }
        out.push(close);
        out
    }

    /// `sizeof(...)` and its like.
    fn question(&mut self, head: &str, operand: &TypeOrExpr, close: &str, column: usize) -> Text {
        let mut out = Text::from(head);
        let at = out.end(column);
        out.append(match operand {
            TypeOrExpr::Type(ty) => self.ty(ty, at),
            TypeOrExpr::Expr(expr) => self.expr(expr, at, at),
        });
        out.push(close);
        out
    }

    /// Whether an element cannot be broken and is too long for a line that begins at `column`.
    fn is_too_wide(&self, expr: &Expr, column: usize) -> bool {
        use ExprKind::{Bool, Field, Ident, Int, Param, ParamCount, Str, TupleIndex, Var};
        let is_one_piece = matches!(
            expr.kind,
            Int(_)
                | Bool(_)
                | Str(_)
                | Var(_)
                | Ident(_)
                | Param(_)
                | ParamCount
                | Field { .. }
                | TupleIndex(..)
        );
        is_one_piece && self.flat(expr).is_some_and(|flat| column + flat.chars().count() > WIDTH)
    }

    // On one line

    fn flat_operand(&self, expr: &Expr, place: Place) -> Option<String> {
        let flat = self.flat(expr)?;
        Some(if needs_parentheses(expr, place) { format!("({flat})") } else { flat })
    }

    fn flat_list(&self, elements: &[Expr]) -> Option<String> {
        let elements: Option<Vec<_>> = elements.iter().map(|e| self.flat(e)).collect();
        Some(elements?.join(", "))
    }

    /// The expression on one line; `None` if it has blocks that never stand on one.
    pub(super) fn flat(&self, expr: &Expr) -> Option<String> {
        Some(match &expr.kind {
            ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Param(_) | ExprKind::ParamCount => {
                self.source(expr.loc.span).to_owned()
            }
            ExprKind::Bool(value) => value.to_string(),
            ExprKind::Var(name) => format!("${name}"),
            ExprKind::Map { name, key: None, .. } => format!("@{name}"),
            ExprKind::Map { name, key: Some(key), .. } => format!("@{name}[{}]", self.flat_list(key)?),
            ExprKind::Ident(name) => name.clone(),
            ExprKind::Call { name, args } => format!("{}({})", name.name, self.flat_list(args)?),
            ExprKind::Unary(op, operand) => {
                format!("{}{}", op_sign(*op), self.flat_operand(operand, Place::Prefix)?)
            }
            ExprKind::IncDec { target, decrement, prefix } => {
                let sign = if *decrement { "--" } else { "++" };
                let target = self.flat(target)?;
                if *prefix { format!("{sign}{target}") } else { format!("{target}{sign}") }
            }
            ExprKind::Binary(op, left, right) => {
                let left = self.flat_operand(left, Place::Binary(*op, false))?;
                format!("{left} {} {}", op.symbol(), self.flat_operand(right, Place::Binary(*op, true))?)
            }
            ExprKind::Ternary(cond, then, other) => {
                let cond = self.flat_operand(cond, Place::Operand)?;
                let other = self.flat_operand(other, Place::Operand)?;
                match then {
                    Some(then) => format!("{cond} ? {} : {other}", self.flat_operand(then, Place::Operand)?),
                    None => format!("{cond} ?: {other}"),
                }
            }
            ExprKind::Cast(ty, operand) => {
                format!("({}){}", self.flat_type(ty)?, self.flat_operand(operand, Place::Cast)?)
            }
            ExprKind::Field { base, name, arrow } => {
                let sign = if *arrow { "->" } else { "." };
                format!("{}{sign}{}", self.flat_operand(base, Place::Base)?, name.name)
            }
            ExprKind::TupleIndex(base, _) => {
                format!("{}.{}", self.flat_operand(base, Place::Base)?, self.last_word(expr.loc.span))
            }
            ExprKind::Index(base, index) => {
                format!("{}[{}]", self.flat_operand(base, Place::Base)?, self.flat(index)?)
            }
            ExprKind::Tuple(elements) if elements.len() == 1 => format!("({},)", self.flat_list(elements)?),
            ExprKind::Tuple(elements) => format!("({})", self.flat_list(elements)?),
            ExprKind::Record(fields) => {
                let mut parts = Vec::new();
                for (name, value) in fields {
                    parts.push(format!("{}={}", name.name, self.flat(value)?));
                }
                format!("({})", parts.join(", "))
            }
            ExprKind::Block(block) => self.flat_block(block)?,
            ExprKind::If { cond, then, other } => self.flat_if(cond, then, other.as_ref()?)?,
            ExprKind::Comptime(operand) => format!("comptime {}", self.flat_operand(operand, Place::Prefix)?),
            ExprKind::Sizeof(operand) => format!("sizeof({})", self.flat_type_or_expr(operand)?),
            ExprKind::Typeof(operand) => format!("typeof({})", self.flat_type_or_expr(operand)?),
            ExprKind::Typeinfo(operand) => format!("typeinfo({})", self.flat_type_or_expr(operand)?),
            ExprKind::Offsetof(base, fields) => {
                let fields: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
                format!("offsetof({}, {})", self.flat_type_or_expr(base)?, fields.join("."))
            }
        })
    }

    fn flat_type_or_expr(&self, operand: &TypeOrExpr) -> Option<String> {
        match operand {
            TypeOrExpr::Type(ty) => self.flat_type(ty),
            TypeOrExpr::Expr(expr) => self.flat(expr),
        }
    }

    /// `if c { a } else { b }` with blocks of one expression each.
    pub(super) fn flat_if(&self, cond: &Expr, then: &Block, other: &Block) -> Option<String> {
        if self.else_if(other).is_some() {
            return None;
        }
        let (then, other) = (self.flat_expr_block(then)?, self.flat_expr_block(other)?);
        Some(format!("if {} {then} else {other}", self.flat_condition(cond)?))
    }

    pub(super) fn flat_condition(&self, cond: &Expr) -> Option<String> {
        match &cond.kind {
            ExprKind::Comptime(_) => self.flat(cond),
            _ => self.flat_operand(cond, Place::Operand),
        }
    }

    /// A block that is empty or one expression.
    fn flat_expr_block(&self, block: &Block) -> Option<String> {
        let is_expr = match block.stmts.as_slice() {
            [] => true,
            [stmt] => block.value.is_none() && matches!(stmt.kind, StmtKind::Expr(_)),
            _ => false,
        };
        if is_expr { self.flat_block(block) } else { None }
    }

    /// A block of at most one statement or value.
    fn flat_block(&self, block: &Block) -> Option<String> {
        match (block.stmts.as_slice(), &block.value) {
            ([], None) => Some("{}".into()),
            ([], Some(value)) => Some(format!("{{ {} }}", self.flat(value)?)),
            ([stmt], None) => Some(format!("{{ {} }}", self.flat_stmt(stmt)?)),
            _ => None,
        }
    }

    /// A type that begins at `column`.
    pub(super) fn ty(&mut self, ty: &TypeExpr, column: usize) -> Text {
        if let Some(flat) = self.flat_type(ty) {
            return Text::from(flat);
        }
        let mut out = match &ty.base {
            TypeBase::Typeof(operand) => self.question("typeof(", operand, ")", column),
            TypeBase::Tuple(elements) => {
                let items = elements.iter().map(|element| self.ty(element, column + 1)).collect();
                let mut out = Text::from("(");
                out.append(fill(items, column + 1, 1));
                out.push(")");
                out
            }
            _ => Text::from(self.flat_base(&ty.base).unwrap_or_default()),
        };
        out.push(&self.suffixes(&ty.suffixes).unwrap_or_default());
        out
    }

    fn flat_type(&self, ty: &TypeExpr) -> Option<String> {
        Some(self.flat_base(&ty.base)? + &self.suffixes(&ty.suffixes)?)
    }

    fn flat_base(&self, base: &TypeBase) -> Option<String> {
        Some(match base {
            TypeBase::Name(name) => name.clone(),
            TypeBase::Struct(name) => format!("struct {name}"),
            TypeBase::Union(name) => format!("union {name}"),
            TypeBase::Enum(name) => format!("enum {name}"),
            TypeBase::Typeof(operand) => format!("typeof({})", self.flat_type_or_expr(operand)?),
            TypeBase::Tuple(elements) => {
                let elements: Option<Vec<_>> = elements.iter().map(|e| self.flat_type(e)).collect();
                format!("({})", elements?.join(", "))
            }
        })
    }

    fn suffixes(&self, suffixes: &[TypeSuffix]) -> Option<String> {
        let mut out = String::new();
        for suffix in suffixes {
            match suffix {
                TypeSuffix::Ptr => out.push('*'),
                TypeSuffix::Array(None) => out.push_str("[]"),
                TypeSuffix::Array(Some(length)) => out.push_str(&format!("[{}]", self.flat(length)?)),
            }
        }
        Some(out)
    }
}
