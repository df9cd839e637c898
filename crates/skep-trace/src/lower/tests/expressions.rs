//! Expressions.

use super::super::helper;
use super::*;
use crate::env::PidNamespace;
use crate::hir::{StringTable, Subprog};
use crate::types::{DataLoc, FieldDef, Origin, StackMode, StackTy, StructDef, StructId};
use skep_ir::inst::{BinOp as IrOp, CmpOp as IrCmp, Space, Step};
use skep_ir::{PtrClass, Ty};

fn field(name: &str, ty: Type, offset: u32) -> FieldDef {
    FieldDef { name: name.into(), ty, offset, bits: None, data_loc: DataLoc::Direct }
}

fn def(name: &str, origin: Origin, size: u32, fields: Vec<FieldDef>) -> StructDef {
    StructDef { name: name.into(), size, align: 8, origin, fields: Some(fields.into()) }
}

fn kernel() -> Origin {
    Origin::Kernel { module: String::new(), id: 42 }
}

/// `struct task_struct` with what tests need.
fn task(s: &mut Script) -> StructId {
    let id = s.program.structs.structs.push(def("struct task_struct", kernel(), 4096, vec![]));
    let pointer = Type::Ptr(Rc::new(Type::Struct(id)), AddrSpace::Kernel);
    let mut flag = field("in_execve", Type::U32, 900);
    flag.bits = Some((3, 1));
    let fields = vec![
        field("pid", Type::I32, 100),
        field("real_parent", pointer, 200),
        field("comm", Type::Str(16), 300),
        field("numbers", Type::Array(Rc::new(Type::U32), 4), 400),
        flag,
    ];
    s.program.structs.structs[id].fields = Some(fields.into());
    id
}

fn get(s: &Script, base: Expr, id: StructId, n: u32) -> Expr {
    let ty = s.program.structs.structs[id].fields.as_ref().expect("fields")[n as usize].ty.clone();
    s.expr(ExprKind::Field(Box::new(base), id, n), ty)
}

fn deref(s: &Script, e: Expr) -> Expr {
    let Type::Ptr(to, _) = &e.ty else { panic!("no pointer") };
    let to = (**to).clone();
    s.expr(ExprKind::Deref(Box::new(e)), to)
}

fn pointer(to: StructId) -> Type {
    Type::Ptr(Rc::new(Type::Struct(to)), AddrSpace::Kernel)
}

#[test]
fn typed_pointers_keep_their_class_through_variables_and_fields() {
    let mut s = Script::kprobe();
    let id = task(&mut s);
    let t = s.local("t", pointer(id));
    s.push(StmtKind::SetLocal(t, s.builtin(Builtin::Curtask, pointer(id))));
    let parent = get(&s, deref(&s, s.var(t)), id, 1);
    let grand = get(&s, deref(&s, parent), id, 1);
    let stmt = s.printf(vec![get(&s, deref(&s, grand), id, 0), get(&s, deref(&s, s.var(t)), id, 2)]);
    s.push(stmt);
    let out = s.lower();
    let text = out.text();
    assert_eq!(out.calls(helper::GET_CURRENT_TASK_BTF), 1, "{text}");
    assert_eq!(out.count(|k| matches!(k, InstKind::FieldLoad { scalar: None, .. })), 3, "{text}");
    assert_eq!(out.count(|k| matches!(k, InstKind::IntToPtr(_))), 0, "{text}");
    // The name is read by a helper, straight into the record.
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeRead { max: 16, space: Space::Kernel, .. })), 1);
}

#[test]
fn addresses_are_read_in_their_own_memory() {
    // Text at a number that is said to be the kernel's is where its address says it is.
    for (space, wanted, text) in
        [(AddrSpace::User, Space::User, Space::User), (AddrSpace::None, Space::Kernel, Space::Any)]
    {
        let mut s = Script::kprobe();
        let stmt = s.printf(vec![s.str_of(s.arg(0), space, 64)]);
        s.push(stmt);
        let ptr = s.cast(s.arg(1), Type::Ptr(Rc::new(Type::U32), space));
        let stmt = s.printf(vec![deref(&s, ptr)]);
        s.push(stmt);
        let out = s.lower();
        assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { space, .. } if *space == text)), 1);
        let base = |k: &InstKind| matches!(k, InstKind::FieldLoad { scalar: Some(s), .. } if s.bytes == 4);
        assert_eq!(out.count(base), 1);
        // With -k the same read is one that can be reported.
        s.options.report_failures = true;
        let out = s.lower();
        assert_eq!(out.count(base), 0);
        assert_eq!(
            out.count(|k| matches!(k, InstKind::ProbeRead { max: 4, space, .. } if *space == wanted)),
            1
        );
        assert_eq!(out.plan.events.len(), 4);
    }
}

#[test]
fn records_of_tracepoints_are_read_by_context_loads() {
    let mut s = Script::new(Provider::Tracepoint, ProgKind::Tracepoint);
    let mut name = field("name", Type::Str(64), 24);
    name.data_loc = DataLoc::FromRecord;
    let mut path = field("path", Type::Str(64), 28);
    path.data_loc = DataLoc::FromField;
    let mut raw = field("raw", Type::Ptr(Rc::new(Type::int(1, false)), AddrSpace::Kernel), 32);
    raw.data_loc = DataLoc::FromRecord;
    let fields = vec![
        field("comm", Type::Str(16), 8),
        field("args", Type::Array(Rc::new(Type::U64), 6), 40),
        name,
        path,
        raw,
        field("ret", Type::I32, 88),
    ];
    let id = s.program.structs.structs.push(def("struct record", Origin::TracepointRecord, 96, fields));
    let args = |s: &Script, n| get(s, s.expr(ExprKind::Args, Type::Struct(id)), id, n);
    let index = |s: &Script, i: Expr| s.expr(ExprKind::Index(Box::new(args(s, 1)), Box::new(i)), Type::U64);
    let values = vec![
        args(&s, 0),
        index(&s, s.int(2)),
        args(&s, 2),
        args(&s, 3),
        args(&s, 4),
        args(&s, 5),
        index(&s, s.pid()),
    ];
    let stmt = s.printf(values);
    s.push(stmt);
    let key = args(&s, 0);
    let map = s.map("", Some(Type::Str(16)), count());
    let stmt = s.collect(map, Some(key), None);
    s.push(stmt);
    let out = s.lower();
    let text = out.text();
    for off in [8, 16, 56, 88] {
        assert!(
            out.count(|k| matches!(k, InstKind::CtxLoad { off: o, .. } if *o == off)) >= 1,
            "{off}\n{text}"
        );
    }
    // In a key bytes behind the NUL count, so the text is read as a string.
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { cap: 16, .. })), 1, "{text}");
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeRead { max: 64, .. })), 2, "{text}");
}

#[test]
fn arguments_of_typed_tracepoints_are_trusted_and_tested() {
    let mut s = Script::new(Provider::RawTracepoint, ProgKind::TpBtf);
    let task = task(&mut s);
    let fields = vec![field("preempt", Type::Bool, 0), field("prev", pointer(task), 8)];
    let id = s.program.structs.structs.push(def("struct args", Origin::Arguments, 16, fields));
    let args = |s: &Script, n| get(s, s.expr(ExprKind::Args, Type::Struct(id)), id, n);
    let values = vec![args(&s, 0), get(&s, deref(&s, args(&s, 1)), task, 0), args(&s, 1)];
    let stmt = s.printf(values);
    s.push(stmt);
    let out = s.lower();
    let trusted = out.module.funcs.values().flat_map(|f| f.values.values()).filter(
        |v| matches!(v.ty, Ty::Ptr(p) if matches!(p.class, PtrClass::KernelTrusted(_)) && p.nullable),
    );
    assert_eq!(trusted.count(), 2, "{}", out.text());
    assert_eq!(out.count(|k| matches!(k, InstKind::FieldLoad { scalar: None, .. })), 1);
}

#[test]
fn registers_are_arguments_of_probed_functions_and_of_system_calls() {
    let mut s = Script::kprobe();
    let stmt = s.printf(vec![s.arg(0), s.arg(2)]);
    s.push(stmt);
    let out = s.lower();
    for off in [112, 96] {
        assert_eq!(out.count(|k| matches!(k, InstKind::CtxLoad { off: o, .. } if *o == off)), 1, "{off}");
    }
    let attach = Attach::Kprobe { symbol: "__x64_sys_openat".into(), offset: 0, ret: false };
    s.program.probes[0].targets = vec![("kprobe:__x64_sys_openat".into(), attach)];
    let stmt = s.printf(vec![s.str_of(s.arg(1), AddrSpace::User, 64)]);
    s.push(stmt);
    let out = s.lower();
    let steps = |off: i32| {
        out.count(|k| matches!(k, InstKind::FieldLoad { path, .. } if *path == [Step::Offset(off)]))
    };
    assert_eq!((steps(112), steps(96), steps(104)), (1, 1, 1), "{}", out.text());
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { space: Space::User, .. })), 1);
}

#[test]
fn division_by_zero_is_one_and_a_warning() {
    let mut s = Script::begin();
    let (x, y) = (s.local("x", Type::I64), s.local("y", Type::I64));
    s.push(StmtKind::SetLocal(x, s.cast(s.pid(), Type::I64)));
    let by_constant = s.binary(BinOp::Div, s.var(x), s.int(2));
    let by_value = s.binary(BinOp::Mod, by_constant, s.var(x));
    s.push(StmtKind::SetLocal(y, by_value));
    let stmt = s.printf(vec![s.var(y)]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::Bin(IrOp::SDiv, ..))), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::Bin(IrOp::SRem, ..))), 1);
    let warnings = out.plan.events.iter().filter(|e| matches!(e, Event::Runtime { .. })).count();
    assert_eq!(warnings, 1, "a constant divisor is known not to be zero");
}

#[test]
fn shifts_and_comparisons_follow_the_sign() {
    let mut s = Script::begin();
    let sign = |signed| if signed { Type::I64 } else { Type::U64 };
    for signed in [true, false] {
        let x = s.cast(s.pid(), sign(signed));
        let shifted = s.binary(BinOp::Shr, x.clone(), s.int(1));
        let less = s.compare(CmpOp::Lt, shifted, x);
        let stmt = s.printf(vec![less]);
        s.push(stmt);
    }
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::Bin(IrOp::AShr, ..))), 1);
    for op in [IrCmp::SLt, IrCmp::ULt] {
        assert_eq!(out.count(|k| matches!(k, InstKind::Cmp(o, ..) if *o == op)), 1);
    }
}

#[test]
fn comparing_with_a_constant_reads_no_more_than_needed() {
    let mut s = Script::kprobe();
    let path = s.str_of(s.arg(1), AddrSpace::User, 1024);
    let equal = s.compare(CmpOp::Eq, path, s.text("/etc/passwd"));
    s.program.probes[0].predicate = Some(equal);
    let stmt = s.printf(vec![s.pid()]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { cap: 13, .. })), 1, "{}", out.text());
    assert_eq!(out.count(|k| matches!(k, InstKind::StrEqConst { cap: 13, .. })), 1);
}

#[test]
fn ids_are_those_of_the_own_namespace() {
    let mut s = Script::begin();
    s.env.namespace = PidNamespace { initial: false, dev: 4, ino: 99 };
    let tid = s.builtin(Builtin::Tid { init: false }, Type::U32);
    let stmt = s.printf(vec![s.pid(), tid]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.calls(helper::GET_NS_CURRENT_PID_TGID), 1);
    assert_eq!(out.calls(helper::GET_CURRENT_PID_TGID), 0);
}

#[test]
fn what_is_known_in_one_branch_is_not_known_behind_it() {
    let mut s = Script::begin();
    let cond = s.compare(CmpOp::Eq, s.builtin(Builtin::Cpu, Type::U64), s.int(0));
    let inside = s.printf(vec![s.pid()]);
    let inside = s.stmt(inside);
    s.push(StmtKind::If(cond, vec![inside], vec![]));
    let stmt = s.printf(vec![s.pid()]);
    s.push(stmt);
    assert_eq!(s.lower().calls(helper::GET_CURRENT_PID_TGID), 2);
}

#[test]
fn stacks_need_the_context_and_a_map() {
    let mut s = Script::kprobe();
    let (deep, build) =
        (StackTy { mode: StackMode::Bpftrace, depth: 20 }, StackTy { mode: StackMode::BuildId, depth: 5 });
    let kernel = s.builtin(Builtin::KStack(deep), Type::KStack(deep));
    let user = s.builtin(Builtin::UStack(build), Type::UStack(build));
    let len = s.expr(ExprKind::Call(Func::StackLen, vec![kernel.clone()]), Type::I64);
    let map = s.map("", Some(Type::Tuple([kernel.ty.clone(), user.ty.clone()].into())), count());
    let stmt = s.collect(map, Some(s.tuple(vec![kernel, user])), None);
    s.push(stmt);
    let stmt = s.printf(vec![len]);
    s.push(stmt);
    let out = s.lower();
    let size = |id: Option<skep_ir::MapId>| out.module.maps[id.expect("a map of stacks")].value_size;
    assert_eq!((size(out.plan.stacks), size(out.plan.build_id_stacks)), (160, 160));
    assert_eq!(out.count(|k| matches!(k, InstKind::StackId { build_id: true, user: true, .. })), 1);
}

#[test]
fn an_index_out_of_range_reads_zero_and_warns() {
    let mut s = Script::kprobe();
    let id = task(&mut s);
    let array = get(&s, deref(&s, s.cast(s.arg(0), pointer(id))), id, 3);
    let element = s.expr(ExprKind::Index(Box::new(array), Box::new(s.pid())), Type::U32);
    let flag = get(&s, deref(&s, s.cast(s.arg(0), pointer(id))), id, 4);
    let stmt = s.printf(vec![element, flag]);
    s.push(stmt);
    let out = s.lower();
    let by = |k: &InstKind| matches!(k, InstKind::FieldLoad { path, scalar: None, .. } if matches!(path[..], [Step::Field(_), Step::IndexBy(_, 4)]));
    assert_eq!(out.count(by), 1, "{}", out.text());
    assert!(
        out.plan
            .events
            .iter()
            .any(|e| { matches!(e, Event::Runtime { what: crate::plan::RuntimeError::OutOfBounds, .. }) })
    );
}

#[test]
fn tables_are_constants_in_memory_and_known_numbers_fold() {
    let mut s = Script::begin();
    let known = s.expr(ExprKind::Call(Func::Table(StringTable::Errors), vec![s.int(-2)]), Type::Str(64));
    let unknown = s.expr(ExprKind::Call(Func::Table(StringTable::Syscalls), vec![s.pid()]), Type::Str(64));
    let stmt = s.printf(vec![known, unknown]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.module.globals.len(), 1);
    let text =
        |k: &InstKind| matches!(k, InstKind::StrConst { text, .. } if text == b"No such file or directory");
    assert_eq!(out.count(text), 1, "{}", out.text());
    let table = &out.module.globals.values().next().expect("one").init;
    let width = table.len() / 472;
    let row = |n: usize| String::from_utf8_lossy(&table[n * width..(n + 1) * width]).replace('\0', "");
    assert_eq!((row(0), row(59), row(462)), ("read".into(), "execve".into(), "mseal".into()));
    assert_eq!(row(340), "Unknown syscall");
}

#[test]
fn subprograms_are_copied_into_their_callers() {
    let mut s = Script::kprobe();
    let mut body = Body::default();
    let (a, b) = (
        body.locals.push(Local { name: "a".into(), ty: Type::I64, loc: s.loc }),
        body.locals.push(Local { name: "b".into(), ty: Type::Str(16), loc: s.loc }),
    );
    let local = |id, ty| s.expr(ExprKind::Local(id), ty);
    let cond = s.compare(CmpOp::Eq, local(b, Type::Str(16)), s.comm());
    let step = ExprKind::IncDec { target: Box::new(local(a, Type::I64)), step: 1, prefix: true };
    let then = vec![s.stmt(StmtKind::Return(Some(s.expr(step, Type::I64))))];
    body.stmts =
        vec![s.stmt(StmtKind::If(cond, then, vec![])), s.stmt(StmtKind::Return(Some(local(a, Type::I64))))];
    let id =
        s.program.subprogs.push(Subprog { name: "f".into(), params: 2, ret: Type::I64, body, loc: s.loc });
    let call = |s: &Script| s.expr(ExprKind::Subprog(id, vec![s.int(1), s.comm()]), Type::I64);
    let stmt = s.printf(vec![call(&s), call(&s)]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::Call(..))), 2);
    assert_eq!(out.module.funcs.len(), 2);
}

#[test]
fn functions_of_all_kinds_are_sound() {
    let mut s = Script::kprobe();
    let text = |s: &Script| s.str_of(s.arg(0), AddrSpace::User, 128);
    let bytes = Type::Ptr(Rc::new(Type::Array(Rc::new(Type::int(1, false)), 16)), AddrSpace::Kernel);
    let call = |s: &Script, func: Func, args: Vec<Expr>, ty: Type| s.expr(ExprKind::Call(func, args), ty);
    let values = vec![
        call(&s, Func::Strlen, vec![text(&s)], Type::I64),
        call(&s, Func::Strncmp(4), vec![text(&s), s.text("abcdef")], Type::U64),
        call(&s, Func::Memcmp(4), vec![s.cast(s.arg(1), bytes.clone()), s.text("abcd")], Type::I64),
        call(&s, Func::Strstr, vec![text(&s), s.text("x")], Type::I64),
        call(&s, Func::StrConcat, vec![s.comm(), text(&s)], Type::Str(144)),
        call(&s, Func::Bswap, vec![s.cast(s.arg(0), Type::int(2, false))], Type::int(2, false)),
        call(&s, Func::Ntop, vec![s.int(0), s.cast(s.arg(0), Type::U32)], Type::Inet),
        call(&s, Func::Ntop, vec![s.int(0), s.cast(s.arg(1), bytes.clone())], Type::Inet),
        call(&s, Func::Macaddr, vec![s.cast(s.arg(1), bytes.clone())], Type::Mac),
        call(&s, Func::Buf, vec![s.cast(s.arg(1), bytes.clone()), s.arg(2)], Type::Buf(32)),
        call(&s, Func::Str, vec![s.cast(s.arg(1), bytes), s.arg(2)], Type::Str(64)),
        call(&s, Func::USym, vec![s.arg(0)], Type::USym),
        call(&s, Func::KSym, vec![s.arg(0)], Type::KSym),
        call(&s, Func::Strftime(1, crate::plan::Clock::Boot), vec![s.arg(0)], Type::Timestamp),
        call(&s, Func::CgroupPath(0), vec![s.arg(0)], Type::CgroupPath),
        call(&s, Func::PercpuKaddr("x".into()), vec![s.int(1)], Type::U64),
        call(&s, Func::CommOf, vec![s.pid()], Type::Str(16)),
        s.builtin(Builtin::FuncAddr, Type::KSym),
        s.builtin(Builtin::Elapsed, Type::U64),
        s.builtin(Builtin::Usermode, Type::int(1, false)),
    ];
    // In records, in variables, and as keys.
    for value in values {
        let stmt = s.printf(vec![value.clone()]);
        s.push(stmt);
        let x = s.local("x", value.ty.clone());
        s.push(StmtKind::SetLocal(x, value.clone()));
        let map = s.map("m", Some(value.ty.clone()), count());
        let stmt = s.collect(map, Some(value), None);
        s.push(stmt);
        let stmt = s.collect(map, Some(s.var(x)), None);
        s.push(stmt);
    }
    for (func, args) in [
        (Func::Signal { thread: false }, vec![s.int(9)]),
        (Func::Override, vec![s.int(-1)]),
        (Func::Debugf("%d %d\n".into()), vec![s.int(1), s.int(2)]),
        (Func::Debugf("%d %d %d %s\n".into()), vec![s.int(1), s.int(2), s.int(3), s.comm()]),
    ] {
        let e = s.expr(ExprKind::Call(func, args), Type::None);
        s.push(StmtKind::Expr(e));
    }
    s.options.report_failures = true;
    let out = s.lower();
    assert_eq!(out.calls(helper::TRACE_VPRINTK), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::Kfunc(name, _) if name == "bpf_task_release")), 3);
}

#[test]
fn casts_and_conversions_are_sound() {
    let mut s = Script::begin();
    let four = Type::Array(Rc::new(Type::int(1, true)), 4);
    let number = s.cast(s.pid(), Type::I32);
    let array = s.cast(number, four.clone());
    let back = s.cast(array.clone(), Type::I32);
    let narrow = Type::Tuple([Type::int(1, true), Type::Str(3)].into());
    let wide = Type::Tuple([Type::I64, Type::Str(20)].into());
    let pair = s.tuple(vec![s.cast(s.int(1), Type::int(1, true)), s.text("ab")]);
    assert_eq!(pair.ty, narrow);
    let converted = s.cast(pair, wide.clone());
    let same = s.compare(CmpOp::Eq, converted.clone(), converted.clone());
    let cond = s.cast(s.text("x"), Type::Bool);
    let chosen = s.expr(
        ExprKind::Ternary(Box::new(cond), Box::new(converted.clone()), Box::new(converted)),
        wide.clone(),
    );
    let map = s.map("", None, wide);
    s.push(StmtKind::SetMap { map, key: None, value: chosen });
    let element = s.element(s.read(map, None), 1);
    let stmt = s.printf(vec![array, back, same, element]);
    s.push(stmt);
    s.lower();
}
