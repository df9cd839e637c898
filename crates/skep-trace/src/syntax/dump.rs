//! A tree as text, for people who look for what the parser made of a script.
//!
//! Statements and blocks are indented, expressions stand in prefix form on their line. With sources every
//! expression and statement is followed by its place.

use super::ast::*;
use skep_ir::{Loc, SourceMap};
use std::fmt::Write as _;

/// A script as text; with `places` every node with its line and columns.
#[must_use]
pub fn dump(script: &Script, places: Option<&SourceMap>) -> String {
    let mut dumper = Dumper { out: String::new(), depth: 0, places };
    dumper.script(script);
    dumper.out
}

/// A string of the language as it could be written.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_ascii_control() => {
                    let _ = write!(out, "\\x{:02x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

struct Dumper<'a> {
    out: String,
    depth: usize,
    places: Option<&'a SourceMap>,
}

impl Dumper<'_> {
    fn line(&mut self, text: &str) {
        self.indent();
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self)) {
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    fn place(&mut self, loc: Loc) {
        let Some(sources) = self.places else { return };
        let file = sources.file(loc.span.file);
        let ((line, lo), (last, hi)) = (file.line_col(loc.span.lo), file.line_col(loc.span.hi));
        let _ = if line == last {
            write!(self.out, "@{line}:{lo}-{hi}")
        } else {
            write!(self.out, "@{line}:{lo}-{last}:{hi}")
        };
    }

    fn script(&mut self, script: &Script) {
        for define in &script.defines {
            self.line(&format!("define {} = {}", define.name.name, define.text));
        }
        for item in &script.c_items {
            self.c_item(item);
        }
        for entry in &script.config {
            let value = match &entry.value {
                ConfigValue::Int(value) => value.to_string(),
                ConfigValue::Word(word) => word.clone(),
                ConfigValue::Str(text) => quoted(text.as_bytes()),
            };
            self.indent();
            let _ = write!(self.out, "config {} = {value}", entry.key.name);
            self.place(entry.loc);
            self.out.push('\n');
        }
        for import in &script.imports {
            self.line(&format!("import {} {:?}", quoted(import.path.as_bytes()), import.files));
        }
        for item in &script.items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        self.indent();
        match item {
            Item::Probe(probe) => {
                self.out.push_str("probe ");
                for (index, point) in probe.attach.iter().enumerate() {
                    self.out.push_str(if index > 0 { ", " } else { "" });
                    self.attach_point(point);
                }
                if let Some(predicate) = &probe.predicate {
                    self.out.push_str(" when ");
                    self.expr(predicate);
                }
                self.body(&probe.body);
            }
            Item::Macro(found) => {
                let _ = write!(self.out, "macro {}", found.name.name);
                if let Some(params) = &found.params {
                    let params: Vec<_> = params.iter().map(param).collect();
                    let _ = write!(self.out, "({})", params.join(", "));
                }
                self.place(found.loc);
                self.body(&found.body);
            }
            Item::MapDecl(decl) => {
                let _ = write!(self.out, "let @{} = {} ", decl.map.name, decl.kind.name);
                self.expr(&decl.entries);
                self.place(decl.loc);
                self.out.push('\n');
            }
            Item::Subprog(subprog) => {
                let _ = write!(self.out, "fn {}(", subprog.name.name);
                for (index, (name, ty)) in subprog.params.iter().enumerate() {
                    let _ = write!(self.out, "{}${}: ", if index > 0 { ", " } else { "" }, name.name);
                    self.ty(ty);
                }
                self.out.push_str("): ");
                self.ty(&subprog.ret);
                self.body(&subprog.body);
            }
        }
    }

    fn attach_point(&mut self, point: &AttachPoint) {
        if let Some(label) = &point.label {
            let _ = write!(self.out, "{}=", label.name);
        }
        self.out.push_str(&point.provider.name);
        for part in &point.parts {
            let _ = write!(
                self.out,
                ":{}",
                if part.quoted { quoted(part.text.as_bytes()) } else { part.text.clone() }
            );
        }
        self.place(point.loc);
    }

    /// The rest of a line and the block behind it.
    fn body(&mut self, block: &Block) {
        self.out.push('\n');
        self.nested(|d| d.block(block));
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
        if let Some(value) = &block.value {
            self.indent();
            self.out.push_str("value ");
            self.expr(value);
            self.out.push('\n');
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.indent();
        let place = |d: &mut Self| {
            d.place(stmt.loc);
        };
        match &stmt.kind {
            StmtKind::Expr(expr) => self.expr(expr),
            StmtKind::Discard(expr) => {
                self.out.push_str("discard ");
                self.expr(expr);
            }
            StmtKind::Assign { target, op, value } => {
                self.expr(target);
                let _ = write!(self.out, " {}= ", op.map_or("", BinaryOp::symbol));
                self.expr(value);
            }
            StmtKind::Let { var, ty, value } => {
                let _ = write!(self.out, "let ${}", var.name);
                if let Some(ty) = ty {
                    self.out.push_str(": ");
                    self.ty(ty);
                }
                if let Some(value) = value {
                    self.out.push_str(" = ");
                    self.expr(value);
                }
            }
            StmtKind::If { cond, then, other } => {
                self.out.push_str("if ");
                self.expr(cond);
                place(self);
                return self.branches(then, other.as_ref());
            }
            StmtKind::For { var, over, body } => {
                let _ = write!(self.out, "for ${} : ", var.name);
                match over {
                    ForOver::Map(map) => self.expr(map),
                    ForOver::Range(first, end) => {
                        self.expr(first);
                        self.out.push_str(" .. ");
                        self.expr(end);
                    }
                }
                place(self);
                return self.body(body);
            }
            StmtKind::While { cond, body } => {
                self.out.push_str("while ");
                self.expr(cond);
                place(self);
                return self.body(body);
            }
            StmtKind::Unroll { count, body } => {
                self.out.push_str("unroll ");
                self.expr(count);
                place(self);
                return self.body(body);
            }
            StmtKind::Break => self.out.push_str("break"),
            StmtKind::Continue => self.out.push_str("continue"),
            StmtKind::Return(value) => {
                self.out.push_str("return");
                if let Some(value) = value {
                    self.out.push(' ');
                    self.expr(value);
                }
            }
            StmtKind::Block(block) => {
                self.out.push_str("block");
                place(self);
                return self.body(block);
            }
            StmtKind::Import(import) => {
                let _ = write!(self.out, "import {}", quoted(import.path.as_bytes()));
            }
        }
        if self.places.is_some() {
            self.out.push(' ');
        }
        place(self);
        self.out.push('\n');
    }

    fn branches(&mut self, then: &Block, other: Option<&Block>) {
        self.body(then);
        if let Some(other) = other {
            self.indent();
            self.out.push_str("else");
            self.body(other);
        }
    }

    fn list(&mut self, head: &str, elements: &[Expr]) {
        let _ = write!(self.out, "({head}");
        for element in elements {
            self.out.push(' ');
            self.expr(element);
        }
        self.out.push(')');
    }

    /// `(head e)`
    fn unary(&mut self, head: &str, operand: &Expr) {
        self.list(head, std::slice::from_ref(operand));
    }

    fn expr(&mut self, expr: &Expr) {
        self.expr_kind(&expr.kind);
        self.place(expr.loc);
    }

    fn expr_kind(&mut self, kind: &ExprKind) {
        match kind {
            ExprKind::Int(value) => {
                let _ = write!(self.out, "{value}");
            }
            ExprKind::Bool(value) => {
                let _ = write!(self.out, "{value}");
            }
            ExprKind::Str(bytes) => self.out.push_str(&quoted(bytes)),
            ExprKind::Var(name) => {
                let _ = write!(self.out, "${name}");
            }
            ExprKind::Map { name, key, .. } => {
                let _ = write!(self.out, "@{name}");
                if let Some(key) = key {
                    self.out.push('[');
                    for (index, element) in key.iter().enumerate() {
                        self.out.push_str(if index > 0 { ", " } else { "" });
                        self.expr(element);
                    }
                    self.out.push(']');
                }
            }
            ExprKind::Param(number) => {
                let _ = write!(self.out, "${number}");
            }
            ExprKind::ParamCount => self.out.push_str("$#"),
            ExprKind::Ident(name) => self.out.push_str(name),
            ExprKind::Call { name, args } => self.list(&format!("call {}", name.name), args),
            ExprKind::Unary(op, operand) => {
                let head = match op {
                    UnaryOp::Neg => "-",
                    UnaryOp::Not => "!",
                    UnaryOp::BitNot => "~",
                    UnaryOp::Deref => "deref",
                    UnaryOp::AddrOf => "address",
                };
                self.unary(head, operand);
            }
            ExprKind::IncDec { target, decrement, prefix } => {
                let sign = if *decrement { "--" } else { "++" };
                let head = if *prefix { format!("{sign} _") } else { format!("_ {sign}") };
                self.unary(&head, target);
            }
            ExprKind::Binary(op, left, right) => {
                let _ = write!(self.out, "({} ", op.symbol());
                self.expr(left);
                self.out.push(' ');
                self.expr(right);
                self.out.push(')');
            }
            ExprKind::Ternary(cond, then, other) => {
                self.out.push_str("(? ");
                self.expr(cond);
                self.out.push(' ');
                match then {
                    Some(then) => self.expr(then),
                    None => self.out.push('_'),
                }
                self.out.push(' ');
                self.expr(other);
                self.out.push(')');
            }
            ExprKind::Cast(ty, operand) => {
                self.out.push_str("(cast ");
                self.ty(ty);
                self.out.push(' ');
                self.expr(operand);
                self.out.push(')');
            }
            ExprKind::Field { base, name, arrow } => {
                let _ = write!(self.out, "({} ", if *arrow { "->" } else { "." });
                self.expr(base);
                let _ = write!(self.out, " {})", name.name);
            }
            ExprKind::TupleIndex(base, index) => {
                self.out.push_str("(element ");
                self.expr(base);
                let _ = write!(self.out, " {index})");
            }
            ExprKind::Index(base, index) => {
                self.out.push_str("(index ");
                self.expr(base);
                self.out.push(' ');
                self.expr(index);
                self.out.push(')');
            }
            ExprKind::Tuple(elements) => self.list("tuple", elements),
            ExprKind::Record(fields) => {
                self.out.push_str("(record");
                for (name, value) in fields {
                    let _ = write!(self.out, " {}=", name.name);
                    self.expr(value);
                }
                self.out.push(')');
            }
            ExprKind::Block(block) => {
                self.out.push_str("(block\n");
                self.nested(|d| d.nested(|d| d.block(block)));
                self.indent();
                self.out.push(')');
            }
            ExprKind::If { cond, then, other } => {
                self.out.push_str("(if ");
                self.expr(cond);
                self.nested(|d| {
                    d.body(then);
                    if let Some(other) = other {
                        d.indent();
                        d.out.push_str("else");
                        d.body(other);
                    }
                });
                self.indent();
                self.out.push(')');
            }
            ExprKind::Comptime(operand) => self.unary("comptime", operand),
            ExprKind::Sizeof(operand) => self.question("sizeof", operand),
            ExprKind::Typeof(operand) => self.question("typeof", operand),
            ExprKind::Typeinfo(operand) => self.question("typeinfo", operand),
            ExprKind::Offsetof(base, fields) => {
                self.out.push_str("(offsetof ");
                self.type_or_expr(base);
                let fields: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
                let _ = write!(self.out, " {})", fields.join("."));
            }
        }
    }

    fn question(&mut self, head: &str, operand: &TypeOrExpr) {
        let _ = write!(self.out, "({head} ");
        self.type_or_expr(operand);
        self.out.push(')');
    }

    fn type_or_expr(&mut self, operand: &TypeOrExpr) {
        match operand {
            TypeOrExpr::Type(ty) => self.ty(ty),
            TypeOrExpr::Expr(expr) => {
                self.out.push_str("expr ");
                self.expr(expr);
            }
        }
    }

    fn ty(&mut self, ty: &TypeExpr) {
        match &ty.base {
            TypeBase::Name(name) => self.out.push_str(name),
            TypeBase::Struct(name) => {
                let _ = write!(self.out, "struct {name}");
            }
            TypeBase::Union(name) => {
                let _ = write!(self.out, "union {name}");
            }
            TypeBase::Enum(name) => {
                let _ = write!(self.out, "enum {name}");
            }
            TypeBase::Typeof(operand) => self.question("typeof", operand),
            TypeBase::Tuple(elements) => {
                self.out.push('(');
                for (index, element) in elements.iter().enumerate() {
                    self.out.push_str(if index > 0 { ", " } else { "" });
                    self.ty(element);
                }
                self.out.push(')');
            }
        }
        for suffix in &ty.suffixes {
            match suffix {
                TypeSuffix::Ptr => self.out.push('*'),
                TypeSuffix::Array(length) => {
                    self.out.push('[');
                    if let Some(length) = length {
                        self.expr(length);
                    }
                    self.out.push(']');
                }
            }
        }
        self.place(ty.loc);
    }

    // The C part

    fn c_item(&mut self, item: &CItem) {
        match item {
            CItem::Composite(composite) => {
                self.line(&composite_head(composite));
                self.nested(|d| d.members(composite.members.as_deref().unwrap_or_default()));
            }
            CItem::Enum(found) => self.line(&enum_text(found)),
            CItem::Typedef { name, ty } => {
                let text = c_type(ty);
                self.line(&format!("typedef {} = {text}", name.name));
                self.inline(ty);
            }
        }
    }

    fn members(&mut self, members: &[CMember]) {
        for member in members {
            let mut text = format!(
                "{}: {}",
                if member.name.is_empty() { "_" } else { &member.name },
                c_type(&member.ty)
            );
            if let Some(bits) = member.bits {
                let _ = write!(text, " : {bits}");
            }
            if member.align > 0 {
                let _ = write!(text, " aligned {}", member.align);
            }
            self.line(&text);
            self.inline(&member.ty);
        }
    }

    /// Members of a struct that is defined where it is used.
    fn inline(&mut self, ty: &CType) {
        match ty {
            CType::Ptr(inner) | CType::Array(inner, _) => self.inline(inner),
            CType::Inline(item) => {
                if let CItem::Composite(composite) = &**item {
                    self.nested(|d| d.members(composite.members.as_deref().unwrap_or_default()));
                }
            }
            _ => {}
        }
    }
}

fn param(param: &MacroParam) -> String {
    let sign = match param.kind {
        ParamKind::Variable => "$",
        ParamKind::Map => "@",
        ParamKind::Expr => "",
    };
    format!("{sign}{}", param.name.name)
}

fn composite_head(composite: &CComposite) -> String {
    let mut text = String::from(if composite.union { "union" } else { "struct" });
    let _ = write!(text, " {}", if composite.name.is_empty() { "_" } else { &composite.name });
    if composite.packed {
        text.push_str(" packed");
    }
    if composite.align > 0 {
        let _ = write!(text, " aligned {}", composite.align);
    }
    text
}

fn enum_text(found: &CEnum) -> String {
    let variants: Vec<_> = found.variants.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("enum {} {}", if found.name.is_empty() { "_" } else { &found.name }, variants.join(" "))
}

fn c_type(ty: &CType) -> String {
    match ty {
        CType::Int { bytes, signed } => format!("{}int{}", if *signed { "" } else { "u" }, bytes * 8),
        CType::Bool => "bool".into(),
        CType::Float(bytes) => format!("float{}", bytes * 8),
        CType::Void => "void".into(),
        CType::Name(name) => name.name.clone(),
        CType::Struct(name) => format!("struct {}", name.name),
        CType::Union(name) => format!("union {}", name.name),
        CType::Enum(name) => format!("enum {}", name.name),
        CType::Inline(item) => match &**item {
            CItem::Composite(composite) => composite_head(composite),
            CItem::Enum(found) => enum_text(found),
            CItem::Typedef { name, .. } => name.name.clone(),
        },
        CType::Ptr(inner) => format!("{}*", c_type(inner)),
        CType::Array(inner, length) => {
            format!("{}[{}]", c_type(inner), length.map_or(String::new(), |n| n.to_string()))
        }
    }
}
