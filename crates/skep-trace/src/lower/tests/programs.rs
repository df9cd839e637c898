//! Programs: filters, results, what they are attached to.

use super::super::helper;
use super::*;
use crate::env::PidNamespace;
use skep_btf::{Btf, Builder, Linkage, Supported};

/// Two functions, one of which takes a struct in two registers.
fn functions() -> Btf {
    let mut b = Builder::new();
    let long = b.int("long", 8, skep_btf::IntEncoding::Signed);
    let pair = b.structure("pair", 16, []);
    let protos =
        [b.func_proto(long, [("a", long), ("b", long)]), b.func_proto(long, [("p", pair), ("b", long)])];
    for (name, proto) in ["plain", "paired"].into_iter().zip(protos) {
        b.func(name, proto, Linkage::Static);
    }
    let bytes = b.encode(Supported::ALL).expect("all kinds are supported").bytes;
    Btf::parse(bytes).expect("what was encoded can be read")
}

#[test]
fn functions_whose_results_stand_elsewhere_get_programs_of_their_own() {
    let mut s = Script::new(Provider::Fexit, ProgKind::Fexit);
    s.env.btf = Some(functions());
    let attach = |f: &str| Attach::Trampoline { function: f.into(), module: String::new() };
    s.program.probes[0].targets =
        ["plain", "paired"].map(|f| (format!("fexit:{f}"), attach(f))).into_iter().collect();
    let result = s.builtin(Builtin::Retval, Type::I64);
    let stmt = s.printf(vec![result]);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.module.progs.len(), 2);
    assert_eq!(out.plan.probes.iter().map(|p| p.program).collect::<Vec<_>>(), [0, 1]);
    for off in [16, 24] {
        assert_eq!(out.count(|k| matches!(k, InstKind::CtxLoad { off: o, .. } if *o == off)), 1, "{off}");
    }
    // Without a result they share one.
    s.program.probes[0].body.stmts.clear();
    assert_eq!(s.lower().module.progs.len(), 1);
}

#[test]
fn the_process_filter_is_code_where_attaching_cannot_do_it() {
    for (provider, kind, filters) in [
        (Provider::Tracepoint, ProgKind::Tracepoint, true),
        (Provider::Kprobe, ProgKind::Kprobe, true),
        (Provider::Uprobe, ProgKind::Kprobe, false),
        (Provider::Begin, ProgKind::RawTracepoint, false),
        (Provider::Profile, ProgKind::PerfEvent, false),
    ] {
        let mut s = Script::new(provider, kind);
        s.options.pid = Some(77);
        s.env.namespace = PidNamespace { initial: false, dev: 4, ino: 99 };
        let map = s.map("", None, count());
        let stmt = s.collect(map, None, None);
        s.push(stmt);
        let out = s.lower();
        assert_eq!(out.calls(helper::GET_NS_CURRENT_PID_TGID) == 1, filters, "{provider:?}");
        assert_eq!(out.count(|k| matches!(k, InstKind::Const(77))) == 1, filters, "{provider:?}");
    }
}

#[test]
fn only_probes_that_run_on_request_return_what_the_script_says() {
    for (provider, kind, wanted) in [
        (Provider::Test, ProgKind::RawTracepoint, 1),
        (Provider::Kprobe, ProgKind::Kprobe, 0),
        (Provider::Interval, ProgKind::PerfEvent, 0),
    ] {
        let mut s = Script::new(provider, kind);
        s.push(StmtKind::Return(Some(s.int(33))));
        assert_eq!(s.lower().count(|k| matches!(k, InstKind::Const(33))), wanted, "{provider:?}");
    }
}

#[test]
fn iterators_do_not_show_their_end() {
    let mut s = Script::new(Provider::Iter, ProgKind::Iter);
    let map = s.map("", None, count());
    let stmt = s.collect(map, None, None);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::CtxLoad { off: 8, .. })), 1);
    let returns = out.count(|k| matches!(k, InstKind::Ret(_)));
    assert_eq!(returns, 2, "{}", out.text());
}

#[test]
fn missing_elements_and_failed_helpers_are_reported_on_request() {
    let mut s = Script::kprobe();
    let map = s.map("", Some(Type::U32), Type::I64);
    let x = s.local("x", Type::I64);
    let read = s.read(map, Some(s.pid()));
    s.push(StmtKind::SetLocal(x, read));
    let delete = s.expr(ExprKind::Call(Func::Delete(map), vec![s.pid()]), Type::Bool);
    s.push(StmtKind::Expr(delete));
    let signal = s.expr(ExprKind::Call(Func::Signal { thread: false }, vec![s.int(9)]), Type::None);
    s.push(StmtKind::Expr(signal));
    assert!(s.lower().plan.events.is_empty());
    s.options.report_failures = true;
    let out = s.lower();
    let helpers: Vec<_> = out
        .plan
        .events
        .iter()
        .map(|e| match e {
            Event::Runtime { what: crate::plan::RuntimeError::Helper(name), .. } => *name,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(helpers, ["map_lookup_elem", "map_delete_elem", "send_signal"]);
}

#[test]
fn lowering_twice_gives_the_same_text() {
    let mut s = Script::kprobe();
    for n in 0..20 {
        let map = s.map(&format!("m{n}"), Some(Type::Str(16)), count());
        let stmt = s.collect(map, Some(s.comm()), None);
        s.push(stmt);
    }
    assert_eq!(s.lower().text(), s.lower().text());
}
