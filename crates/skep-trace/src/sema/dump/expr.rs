//! Expressions of an analysed script as text.

use crate::hir::{
    BinOp, Body, Builtin, CmpOp, Expr, ExprKind, Func, LocalId, MapRef, NsecsClock, Program, StringTable,
};
use crate::types::{IntTy, StackTy, Type};

/// Deepest nesting that is written out.
const MAX_DEPTH: u32 = 500;

/// Writes the expressions of one body.
pub(super) struct Exprs<'a> {
    pub(super) program: &'a Program,
    body: &'a Body,
}

impl<'a> Exprs<'a> {
    pub(super) fn new(program: &'a Program, body: &'a Body) -> Self {
        Exprs { program, body }
    }

    pub(super) fn local(&self, id: LocalId) -> String {
        match self.body.locals.get(id).map(|l| l.name.as_str()) {
            // Different variables may share a name.
            Some(name) if !name.is_empty() => {
                let same = self.body.locals.iter().take_while(|(i, _)| *i != id);
                match same.filter(|(_, l)| l.name == name).count() {
                    0 => format!("${name}"),
                    n => format!("${name}.{n}"),
                }
            }
            _ => format!("%{}", id.as_u32()),
        }
    }

    pub(super) fn map(&self, id: MapRef, key: Option<&Expr>) -> String {
        let name = self.program.maps.get(id).map_or("?", |m| m.name.as_str());
        match key {
            None => format!("@{name}"),
            Some(key) => format!("@{name}[{}]", self.expr(key)),
        }
    }

    pub(super) fn ty(&self, ty: &Type) -> String {
        ty.name(&self.program.structs)
    }

    pub(super) fn expr(&self, e: &Expr) -> String {
        self.at(e, 0)
    }

    fn list<'b>(&self, exprs: impl IntoIterator<Item = &'b Expr>, depth: u32) -> String {
        exprs.into_iter().map(|e| self.at(e, depth)).collect::<Vec<_>>().join(", ")
    }

    fn at(&self, e: &Expr, depth: u32) -> String {
        if depth > MAX_DEPTH {
            return "...".to_owned();
        }
        let next = depth + 1;
        let sub = |e: &Expr| self.at(e, next);
        match &e.kind {
            ExprKind::Int(bits) => self.constant(*bits, &e.ty),
            ExprKind::Str(text) => format!("\"{}\":{}", text.escape_ascii(), self.ty(&e.ty)),
            ExprKind::Local(id) => self.local(*id),
            ExprKind::LocalAddr(id) => format!("&{}", self.local(*id)),
            ExprKind::Map(id, key) => {
                let read = self.map(*id, key.as_deref());
                let collected = self.program.maps.get(*id).is_some_and(|m| m.value.is_agg());
                if collected { format!("{read}:{}", self.ty(&e.ty)) } else { read }
            }
            ExprKind::MapAddr(id, key) => format!("&{}", self.map(*id, key.as_deref())),
            ExprKind::Neg(a) => format!("-{}", sub(a)),
            ExprKind::BitNot(a) => format!("~{}", sub(a)),
            ExprKind::Not(a) => format!("!{}", sub(a)),
            ExprKind::Binary(op, a, b) => format!("({} {} {})", sub(a), arithmetic(*op), sub(b)),
            ExprKind::Compare(op, a, b) => format!("({} {} {})", sub(a), comparison(*op), sub(b)),
            ExprKind::And(a, b) => format!("({} && {})", sub(a), sub(b)),
            ExprKind::Or(a, b) => format!("({} || {})", sub(a), sub(b)),
            ExprKind::Ternary(c, a, b) => format!("({} ? {} : {})", sub(c), sub(a), sub(b)),
            ExprKind::Cast(a) => format!("({}){}", self.ty(&e.ty), sub(a)),
            ExprKind::Tuple(elems) => format!("({})", self.list(elems, next)),
            ExprKind::Record(elems) => {
                let elems: Vec<_> = elems.iter().map(|(i, e)| format!("{i}={}", sub(e))).collect();
                format!("record({})", elems.join(", "))
            }
            ExprKind::Element(base, index) => format!("{}.{index}", sub(base)),
            ExprKind::Field(base, id, index) => {
                let fields = self.program.structs.structs.get(*id).and_then(|s| s.fields.as_ref());
                let name = fields.and_then(|f| f.get(*index as usize)).map_or("?", |f| &f.name);
                match &base.kind {
                    ExprKind::Deref(pointer) => format!("{}->{name}", sub(pointer)),
                    _ => format!("{}.{name}", sub(base)),
                }
            }
            ExprKind::Deref(pointer) => format!("*{}:{}", sub(pointer), self.ty(&e.ty)),
            ExprKind::Index(base, index) => format!("{}[{}]", sub(base), sub(index)),
            ExprKind::IncDec { target, step, prefix } => match prefix {
                true => format!("({:+} {})", step, sub(target)),
                false => format!("({} {:+})", sub(target), step),
            },
            ExprKind::Block(stmts, value) => {
                let mut out = String::new();
                self.stmts(&mut out, stmts, 0);
                let inner: Vec<&str> = out.lines().map(str::trim).collect();
                format!("{{ {}; {} }}", inner.join("; "), sub(value))
            }
            ExprKind::Args => "args".to_owned(),
            ExprKind::Ctx => "ctx".to_owned(),
            ExprKind::Builtin(b) => builtin(b),
            ExprKind::Call(func, args) => {
                let ty = if e.ty == Type::None { String::new() } else { format!(":{}", self.ty(&e.ty)) };
                format!("{}({}){ty}", self.function(func), self.list(args, next))
            }
            ExprKind::Subprog(id, args) => {
                let name = self.program.subprogs.get(*id).map_or("?", |s| s.name.as_str());
                format!("{name}({})", self.list(args, next))
            }
        }
    }

    fn constant(&self, bits: u64, ty: &Type) -> String {
        let shown = match ty {
            Type::None => return "void".to_owned(),
            Type::Bool => return (if bits != 0 { "true" } else { "false" }).to_owned(),
            Type::Int(IntTy { bytes, signed: true }) => {
                let shift = 64 - u32::from(*bytes) * 8;
                (((bits << shift) as i64) >> shift).to_string()
            }
            Type::Ptr(..) => format!("{bits:#x}"),
            _ => bits.to_string(),
        };
        format!("{shown}:{}", self.ty(ty))
    }

    fn function(&self, func: &Func) -> String {
        let map = |id: &MapRef| self.map(*id, None);
        match func {
            Func::Str => "str".into(),
            Func::Buf => "buf".into(),
            Func::KSym => "ksym".into(),
            Func::USym => "usym".into(),
            Func::Ntop => "ntop".into(),
            Func::Macaddr => "macaddr".into(),
            Func::Bswap => "bswap".into(),
            Func::Strlen => "strlen".into(),
            Func::Strncmp(n) => format!("strncmp {n}"),
            Func::Memcmp(n) => format!("memcmp {n}"),
            Func::Strstr => "strstr".into(),
            Func::StrConcat => "str_concat".into(),
            Func::Signal { thread: false } => "signal".into(),
            Func::Signal { thread: true } => "signal_thread".into(),
            Func::Override => "override".into(),
            Func::WriteUser => "write_user".into(),
            Func::Path => "path".into(),
            Func::SkbOutput(event) => format!("skboutput {}", event.as_u32()),
            Func::SocketCookie => "socket_cookie".into(),
            Func::CgroupPath(filter) => format!("cgroup_path {filter}"),
            Func::Strftime(format, clock) => format!("strftime {format} {clock:?}"),
            Func::Table(StringTable::Errors) => "strerror".into(),
            Func::Table(StringTable::Signals) => "signal_name".into(),
            Func::Table(StringTable::Syscalls) => "syscall_name".into(),
            Func::Delete(m) => format!("delete {} ", map(m)),
            Func::HasKey(m) => format!("has_key {} ", map(m)),
            Func::MapLen(m) => format!("len {} ", map(m)),
            Func::StackLen => "len".into(),
            Func::CommOf => "comm".into(),
            Func::Debugf(format) => format!("debugf {format:?} "),
            Func::PercpuKaddr(name) => format!("percpu_kaddr {name} "),
        }
    }
}

fn arithmetic(op: BinOp) -> &'static str {
    match op {
        BinOp::Add => "+",
        BinOp::Sub => "-",
        BinOp::Mul => "*",
        BinOp::Div => "/",
        BinOp::Mod => "%",
        BinOp::And => "&",
        BinOp::Or => "|",
        BinOp::Xor => "^",
        BinOp::Shl => "<<",
        BinOp::Shr => ">>",
    }
}

/// The operator of arithmetic, as statements show it.
pub(super) fn operator(op: BinOp) -> &'static str {
    arithmetic(op)
}

fn comparison(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "==",
        CmpOp::Ne => "!=",
        CmpOp::Lt => "<",
        CmpOp::Le => "<=",
        CmpOp::Gt => ">",
        CmpOp::Ge => ">=",
    }
}

fn builtin(b: &Builtin) -> String {
    let stack = |name: &str, s: &StackTy| format!("{name}({}, {})", s.mode.name(), s.depth);
    match b {
        Builtin::Pid { init: true } => "pid".into(),
        Builtin::Pid { init: false } => "pid(curr_ns)".into(),
        Builtin::Tid { init: true } => "tid".into(),
        Builtin::Tid { init: false } => "tid(curr_ns)".into(),
        Builtin::Uid => "uid".into(),
        Builtin::Gid => "gid".into(),
        Builtin::Comm => "comm".into(),
        Builtin::Cpu => "cpu".into(),
        Builtin::NumaNode => "numaid".into(),
        Builtin::Rand => "rand".into(),
        Builtin::Cgroup => "cgroup".into(),
        Builtin::Curtask => "curtask".into(),
        Builtin::Nsecs(NsecsClock::Boot) => "nsecs".into(),
        Builtin::Nsecs(NsecsClock::Monotonic) => "nsecs(monotonic)".into(),
        Builtin::Nsecs(NsecsClock::Tai) => "nsecs(tai)".into(),
        Builtin::Nsecs(NsecsClock::SwTai) => "nsecs(sw_tai)".into(),
        Builtin::Elapsed => "elapsed".into(),
        Builtin::Jiffies => "jiffies".into(),
        Builtin::Arg(n) => format!("arg{n}"),
        Builtin::Retval => "retval".into(),
        Builtin::Reg(offset) => format!("reg({offset})"),
        Builtin::FuncAddr => "func".into(),
        Builtin::KStack(s) => stack("kstack", s),
        Builtin::UStack(s) => stack("ustack", s),
        Builtin::Usermode => "usermode".into(),
    }
}
