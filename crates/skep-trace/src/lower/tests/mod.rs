//! Tests on analysed programs that are written by hand: what scripts cannot reach, and what has to be asked of
//! a module rather than of its text.

mod env;
mod events;
mod expressions;
mod loops;
mod maps;
mod programs;

use super::{LowerOptions, lower};
use crate::hir::{
    BinOp, Body, Builtin, CmpOp, EventId, Expr, ExprKind, Func, Local, LocalId, Map, MapRef, Probe, Program,
    Provider, Stmt, StmtKind,
};
use crate::plan::{Arg, Conversion, Event, Layout, Piece, Plan};
use crate::types::{AddrSpace, AggTy, Type};
use env::TestEnv;
use skep_ir::inst::InstKind;
use skep_ir::spec::{Attach, When};
use skep_ir::verify::{self, Level};
use skep_ir::{Diagnostic, FeatureSet, Loc, Module, ProgKind, SourceMap, Span, text};
use std::rc::Rc;

/// A program under construction, with one probe at first.
struct Script {
    program: Program,
    sources: SourceMap,
    env: TestEnv,
    options: LowerOptions,
    loc: Loc,
}

impl Script {
    fn new(provider: Provider, kind: ProgKind) -> Self {
        let mut sources = SourceMap::default();
        let file = sources.add_file("test.bt", "probe { }\n");
        let loc = Loc::new(Span { file, lo: 0, hi: 5 });
        let probe = Probe {
            name: "probe_1".into(),
            kind,
            provider,
            targets: vec![("probe".into(), Attach::Once(When::Begin))],
            predicate: None,
            body: Body::default(),
            loc,
        };
        let program = Program { probes: vec![probe], ..Program::default() };
        let env = TestEnv { features: FeatureSet::all(), ..TestEnv::default() };
        Script { program, sources, env, options: LowerOptions::default(), loc }
    }

    /// A probe that runs once.
    fn begin() -> Self {
        Script::new(Provider::Begin, ProgKind::RawTracepoint)
    }

    /// A probe on a kernel function.
    fn kprobe() -> Self {
        let mut script = Script::new(Provider::Kprobe, ProgKind::Kprobe);
        let attach = Attach::Kprobe { symbol: "vfs_read".into(), offset: 0, ret: false };
        script.program.probes[0].targets = vec![("kprobe:vfs_read".into(), attach)];
        script
    }

    fn local(&mut self, name: &str, ty: Type) -> LocalId {
        let local = Local { name: name.into(), ty, loc: self.loc };
        self.program.probes[0].body.locals.push(local)
    }

    fn map(&mut self, name: &str, key: Option<Type>, value: Type) -> MapRef {
        self.program.maps.push(Map { name: name.into(), key, value, declared: None, loc: self.loc })
    }

    fn push(&mut self, kind: StmtKind) {
        let stmt = self.stmt(kind);
        self.program.probes[0].body.stmts.push(stmt);
    }

    fn stmt(&self, kind: StmtKind) -> Stmt {
        Stmt { kind, loc: self.loc }
    }

    fn expr(&self, kind: ExprKind, ty: Type) -> Expr {
        Expr::new(kind, ty, self.loc)
    }

    fn int(&self, n: i64) -> Expr {
        self.expr(ExprKind::Int(n as u64), Type::I64)
    }

    fn text(&self, text: &str) -> Expr {
        self.expr(ExprKind::Str(text.into()), Type::Str(text.len() as u32 + 1))
    }

    fn var(&self, id: LocalId) -> Expr {
        self.expr(ExprKind::Local(id), self.program.probes[0].body.locals[id].ty.clone())
    }

    fn builtin(&self, builtin: Builtin, ty: Type) -> Expr {
        self.expr(ExprKind::Builtin(builtin), ty)
    }

    fn pid(&self) -> Expr {
        self.builtin(Builtin::Pid { init: false }, Type::U32)
    }

    fn comm(&self) -> Expr {
        self.builtin(Builtin::Comm, Type::Str(16))
    }

    fn arg(&self, n: u32) -> Expr {
        self.builtin(Builtin::Arg(n), Type::U64)
    }

    fn cast(&self, e: Expr, ty: Type) -> Expr {
        self.expr(ExprKind::Cast(Box::new(e)), ty)
    }

    fn binary(&self, op: BinOp, a: Expr, b: Expr) -> Expr {
        let ty = a.ty.clone();
        self.expr(ExprKind::Binary(op, Box::new(a), Box::new(b)), ty)
    }

    fn compare(&self, op: CmpOp, a: Expr, b: Expr) -> Expr {
        self.expr(ExprKind::Compare(op, Box::new(a), Box::new(b)), Type::Bool)
    }

    fn tuple(&self, elems: Vec<Expr>) -> Expr {
        let ty = Type::Tuple(elems.iter().map(|e| e.ty.clone()).collect());
        self.expr(ExprKind::Tuple(elems), ty)
    }

    fn element(&self, e: Expr, n: u32) -> Expr {
        let Type::Tuple(types) = &e.ty else { panic!("no tuple") };
        let ty = types[n as usize].clone();
        self.expr(ExprKind::Element(Box::new(e), n), ty)
    }

    fn read(&self, map: MapRef, key: Option<Expr>) -> Expr {
        let ty = match &self.program.maps[map].value {
            Type::Agg(_) => Type::I64,
            ty => ty.clone(),
        };
        self.expr(ExprKind::Map(map, key.map(Box::new)), ty)
    }

    fn str_of(&self, e: Expr, space: AddrSpace, cap: u32) -> Expr {
        let ptr = self.cast(e, Type::Ptr(Rc::new(Type::int(1, true)), space));
        self.expr(ExprKind::Call(Func::Str, vec![ptr]), Type::Str(cap))
    }

    fn collect(&self, map: MapRef, key: Option<Expr>, value: Option<Expr>) -> StmtKind {
        StmtKind::Collect { map, key, value }
    }

    /// `printf` of values with `%s` each.
    fn printf(&mut self, args: Vec<Expr>) -> StmtKind {
        let list = args
            .iter()
            .map(|e| Arg { offset: 0, size: 0, layout: Layout::of(&e.ty, &self.program.structs) })
            .collect();
        let format = args.iter().map(|_| Piece::Conv(Conversion::default())).collect();
        let event = self.event(Event::Printf { format, args: list });
        StmtKind::Emit(event, args)
    }

    fn event(&mut self, event: Event) -> EventId {
        self.program.events.push(event)
    }

    /// Lowers without looking at the result.
    fn try_lower(&self) -> (Module, Plan, Vec<Diagnostic>) {
        lower(&self.program, &self.sources, &self.env, &self.options)
    }

    /// Lowers and checks what came out.
    fn lower(&self) -> Lowered {
        let (module, plan, diagnostics) = self.try_lower();
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let violations = verify::check(&module, Level::Normal, Some(&self.env));
        let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{}\n{}", list.join("\n"), text::print(&module, text::Locations::Hide));
        Lowered { module, plan }
    }
}

/// What came out.
struct Lowered {
    module: Module,
    plan: Plan,
}

impl Lowered {
    fn text(&self) -> String {
        text::print(&self.module, text::Locations::Hide)
    }

    /// How many instructions of all functions are of a kind.
    fn count(&self, is: impl Fn(&InstKind) -> bool) -> usize {
        let funcs = self.module.funcs.values();
        let kinds = funcs.flat_map(|f| {
            let insts = f.layout.iter().flat_map(|b| &f.blocks[*b].insts);
            insts.map(|i| &f.insts[*i].kind)
        });
        kinds.filter(|k| is(k)).count()
    }

    fn calls(&self, helper: u32) -> usize {
        self.count(|k| matches!(k, InstKind::Helper(n, _) if *n == helper))
    }
}

/// Collected counts.
fn count() -> Type {
    Type::Agg(AggTy::Count)
}
