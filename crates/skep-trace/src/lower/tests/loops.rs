//! Loops, variables and the ways out.

use super::*;

fn range(s: &Script, var: LocalId, body: Vec<Stmt>) -> StmtKind {
    StmtKind::ForRange { var, start: s.int(0), end: s.int(10), body }
}

#[test]
fn variables_assigned_once_need_no_memory() {
    let mut s = Script::begin();
    let x = s.local("x", Type::U32);
    s.push(StmtKind::SetLocal(x, s.pid()));
    let stmt = s.printf(vec![s.var(x), s.var(x)]);
    s.push(stmt);
    let out = s.lower();
    assert!(out.module.funcs.values().all(|f| f.slots.is_empty()), "{}", out.text());
}

#[test]
fn variables_of_one_round_live_in_the_closure_and_others_are_captured() {
    let mut s = Script::begin();
    let (i, sum, square) = (s.local("i", Type::I64), s.local("sum", Type::I64), s.local("sq", Type::I64));
    s.push(StmtKind::SetLocal(sum, s.int(0)));
    let body = vec![
        s.stmt(StmtKind::SetLocal(square, s.binary(BinOp::Mul, s.var(i), s.var(i)))),
        s.stmt(StmtKind::SetLocal(sum, s.binary(BinOp::Add, s.var(sum), s.var(square)))),
    ];
    let stmt = range(&s, i, body);
    s.push(stmt);
    let stmt = s.printf(vec![s.var(sum)]);
    s.push(stmt);
    let out = s.lower();
    let closure = out.module.funcs.values().find(|f| !f.captures.is_empty()).expect("a closure");
    assert_eq!(closure.captures.len(), 1);
    assert!(closure.slots.is_empty());
}

#[test]
fn break_continue_and_return_leave_what_they_should() {
    let mut s = Script::new(Provider::Test, ProgKind::RawTracepoint);
    let (i, j) = (s.local("i", Type::I64), s.local("j", Type::I64));
    let when = |s: &Script, n: i64, kind: StmtKind| {
        let cond = s.compare(CmpOp::Eq, s.var(j), s.int(n));
        s.stmt(StmtKind::If(cond, vec![s.stmt(kind)], vec![]))
    };
    let inner = vec![
        when(&s, 1, StmtKind::Continue),
        when(&s, 2, StmtKind::Break),
        when(&s, 3, StmtKind::Return(Some(s.var(i)))),
    ];
    let inner = s.stmt(range(&s, j, inner));
    let stmt = range(&s, i, vec![inner]);
    s.push(stmt);
    s.push(StmtKind::Return(Some(s.int(7))));
    let out = s.lower();
    let text = out.text();
    // The inner closure stores flag and value, the outer one passes them on, the program returns the value.
    assert_eq!(out.module.funcs.values().filter(|f| !f.captures.is_empty()).count(), 2, "{text}");
    let program = &out.module.funcs[out.module.progs[0].func];
    let returns = program.insts.values().filter(|i| matches!(i.kind, InstKind::Ret(_))).count();
    assert_eq!(returns, 2, "{text}");
}

#[test]
fn pointers_keep_their_class_through_assignments_that_are_always_made() {
    let mut s = Script::kprobe();
    let id = s.program.structs.structs.push(crate::types::StructDef {
        name: "struct task_struct".into(),
        size: 64,
        align: 8,
        origin: crate::types::Origin::Kernel { module: String::new(), id: 1 },
        fields: None,
    });
    let pointer = Type::Ptr(Rc::new(Type::Struct(id)), AddrSpace::Kernel);
    let field = |name: &str, ty: Type| crate::types::FieldDef {
        name: name.into(),
        ty,
        offset: 0,
        bits: None,
        data_loc: crate::types::DataLoc::Direct,
    };
    s.program.structs.structs[id].fields =
        Some([field("parent", pointer.clone()), field("pid", Type::I32)].into());
    let t = s.local("t", pointer.clone());
    s.push(StmtKind::SetLocal(t, s.builtin(Builtin::Curtask, pointer.clone())));
    let get = |s: &Script, n, ty: Type| {
        let object = s.expr(ExprKind::Deref(Box::new(s.var(t))), Type::Struct(id));
        s.expr(ExprKind::Field(Box::new(object), id, n), ty)
    };
    for _ in 0..3 {
        let step = s.stmt(StmtKind::SetLocal(t, get(&s, 0, pointer.clone())));
        s.push(StmtKind::Block(vec![step]));
    }
    let stmt = s.printf(vec![get(&s, 1, Type::I32)]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::IntToPtr(_))), 0, "{}", out.text());
    assert!(out.module.funcs.values().all(|f| f.slots.is_empty()));
    // One that need not be made is a matter of memory.
    let cond = s.compare(CmpOp::Eq, s.pid(), s.int(1));
    let step = s.stmt(StmtKind::SetLocal(t, get(&s, 0, pointer)));
    s.program.probes[0].body.stmts.pop();
    s.push(StmtKind::If(cond, vec![step], vec![]));
    let stmt = s.printf(vec![get(&s, 1, Type::I32)]);
    s.push(stmt);
    assert!(s.lower().module.funcs.values().any(|f| !f.slots.is_empty()));
}

#[test]
fn while_marks_its_head() {
    let mut s = Script::begin();
    let x = s.local("x", Type::I64);
    s.push(StmtKind::SetLocal(x, s.int(0)));
    let step = ExprKind::IncDec { target: Box::new(s.var(x)), step: 1, prefix: true };
    let done = s.compare(CmpOp::Gt, s.var(x), s.int(5));
    let body = vec![
        s.stmt(StmtKind::Expr(s.expr(step, Type::I64))),
        s.stmt(StmtKind::If(done, vec![s.stmt(StmtKind::Break)], vec![s.stmt(StmtKind::Continue)])),
    ];
    let cond = s.compare(CmpOp::Lt, s.var(x), s.int(10));
    s.push(StmtKind::While(cond, body));
    let out = s.lower();
    let heads = out.module.funcs.values().flat_map(|f| f.blocks.values()).filter(|b| b.loop_head.is_some());
    assert_eq!(heads.count(), 1);
}

#[test]
fn elements_are_read_where_they_lie() {
    let mut s = Script::begin();
    let map = s.map("", Some(Type::Str(16)), count());
    let kv = s.local("kv", Type::Tuple([Type::Str(16), Type::I64].into()));
    let stmt = s.printf(vec![s.element(s.var(kv), 0), s.element(s.var(kv), 1)]);
    let body = vec![s.stmt(stmt)];
    s.push(StmtKind::ForMap { map, var: kv, body });
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::ForEach { .. })), 1);
    // Over all CPUs.
    assert_eq!(out.count(|k| matches!(k, InstKind::MapLookupPercpu { .. })), 1);
    assert_eq!(out.count(|k| matches!(k, InstKind::MemCopy { len: 16, .. })), 1, "{}", out.text());
}

#[test]
fn a_body_that_changes_its_map_works_on_a_copy() {
    let mut s = Script::begin();
    let map = s.map("", Some(Type::Str(16)), Type::I64);
    let kv = s.local("kv", Type::Tuple([Type::Str(16), Type::I64].into()));
    let key = s.element(s.var(kv), 0);
    let delete = s.expr(ExprKind::Call(Func::Delete(map), vec![key.clone()]), Type::Bool);
    let stmt = s.printf(vec![key, s.element(s.var(kv), 1)]);
    let body = vec![s.stmt(StmtKind::Expr(delete)), s.stmt(stmt)];
    s.push(StmtKind::ForMap { map, var: kv, body });
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::MemCopy { len: 16, .. })), 2, "{}", out.text());
}

#[test]
fn a_whole_element_becomes_a_tuple() {
    let mut s = Script::begin();
    let map = s.map("", Some(Type::U32), Type::I64);
    let kv = s.local("kv", Type::Tuple([Type::U32, Type::I64].into()));
    let last = s.local("last", Type::Tuple([Type::U32, Type::I64].into()));
    let stmt = s.printf(vec![s.var(kv)]);
    let body = vec![s.stmt(stmt), s.stmt(StmtKind::SetLocal(last, s.var(kv)))];
    s.push(StmtKind::ForMap { map, var: kv, body });
    let stmt = s.printf(vec![s.var(last)]);
    s.push(stmt);
    s.lower();
}

#[test]
fn the_context_reaches_into_loops() {
    let mut s = Script::kprobe();
    let i = s.local("i", Type::I64);
    let stmt = s.printf(vec![s.arg(0), s.var(i)]);
    let body = vec![s.stmt(stmt)];
    let stmt = range(&s, i, body);
    s.push(stmt);
    let out = s.lower();
    let captures: Vec<_> = out.module.funcs.values().flat_map(|f| f.captures.clone()).collect();
    assert_eq!(captures, [skep_ir::Ty::ptr(skep_ir::PtrClass::Ctx)]);
}

#[test]
fn variables_that_may_be_read_first_begin_as_zeros() {
    let mut s = Script::begin();
    let x = s.local("x", Type::Str(16));
    let cond = s.compare(CmpOp::Eq, s.pid(), s.int(1));
    let set = s.stmt(StmtKind::SetLocal(x, s.comm()));
    s.push(StmtKind::If(cond, vec![set], vec![]));
    let stmt = s.printf(vec![s.var(x)]);
    s.push(stmt);
    // One more than there are names of threads, behind which zeros are written.
    assert_eq!(s.lower().count(|k| matches!(k, InstKind::MemSet { len: 16, .. })), 2);
    let mut s = Script::begin();
    let x = s.local("x", Type::Str(16));
    s.push(StmtKind::SetLocal(x, s.comm()));
    let stmt = s.printf(vec![s.var(x)]);
    s.push(stmt);
    assert_eq!(s.lower().count(|k| matches!(k, InstKind::MemSet { .. })), 1);
}
