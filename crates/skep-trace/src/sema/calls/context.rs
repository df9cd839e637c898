//! Builtins about the probe, the task, the CPU and time.

use super::{Call, Function, function, probe_type, provider_name};
use crate::hir::{self, Builtin, ExprKind as Hir, NsecsClock, Provider};
use crate::sema::arch;
use crate::sema::attach::Facts;
use crate::sema::attach::usdt::{Operand, Place, operands};
use crate::sema::check::{Checker, Ex, cast};
use crate::sema::diags::Stage;
use crate::sema::structs::Keyword;
use crate::sema::ty::{Traits, Ty};
use crate::syntax::ast::{self, ExprKind};
use crate::types::{AddrSpace, IntTy, Type};
use skep_ir::{Feature, Loc};
use std::rc::Rc;

pub(crate) const TABLE: &[Function] = &[
    function(
        "pid",
        0,
        1,
        "Process id. `pid(init)` is that of the first PID namespace, `pid(curr_ns)` that of skep's own.",
        "tracepoint:sched:sched_switch /pid == 1/ { }",
        pid,
    )
    .bare(),
    function("tid", 0, 1, "Thread id, with the same arguments as pid.", "@start[tid] = nsecs;", pid).bare(),
    function(
        "nsecs",
        0,
        1,
        "Nanoseconds of a clock: boot, monotonic, tai or sw_tai.",
        "$start = nsecs(monotonic);",
        nsecs,
    )
    .bare(),
    function("args", 0, 0, "Arguments of the probe by name.", "printf(\"%s\\n\", str(args.filename));", args)
        .bare(),
    function("ctx", 0, 0, "The context of the program as a pointer.", "print(ctx.task.comm);", ctx).bare(),
    function("reg", 1, 1, "A register of the traced code by name.", "print(reg(\"sp\"));", reg),
    // What the built-in library wraps.
    function("__builtin_pid", 0, 1, "", "", pid).bare(),
    function("__builtin_tid", 0, 1, "", "", pid).bare(),
    function("__builtin_nsecs", 0, 1, "", "", nsecs).bare(),
    function("__builtin_args", 0, 0, "", "", args).bare(),
    function("__builtin_ctx", 0, 0, "", "", ctx).bare(),
    function("__builtin_uid", 0, 0, "", "", simple).bare(),
    function("__builtin_gid", 0, 0, "", "", simple).bare(),
    function("__builtin_comm", 0, 0, "", "", comm).bare(),
    function("__builtin_cpu", 0, 0, "", "", simple).bare(),
    function("__builtin_ncpus", 0, 0, "", "", ncpus).bare(),
    function("__builtin_numaid", 0, 0, "", "", simple).bare(),
    function("__builtin_rand", 0, 0, "", "", simple).bare(),
    function("__builtin_cgroup", 0, 0, "", "", simple).bare(),
    function("__builtin_elapsed", 0, 0, "", "", simple).bare(),
    function("__builtin_jiffies", 0, 0, "", "", simple).bare().needs(Feature::Jiffies64),
    function("__builtin_curtask", 0, 0, "", "", curtask).bare(),
    function("__builtin_cpid", 0, 0, "", "", cpid).bare(),
    function("__builtin_func", 0, 0, "", "", func).bare(),
    function("__builtin_probe", 0, 0, "", "", probe).bare(),
    function("__builtin_probetype", 0, 0, "", "", probe).bare(),
    function("__builtin_retval", 0, 0, "", "", retval).bare(),
    function("__builtin_usermode", 0, 0, "", "", usermode).bare(),
    function("__comm_of", 1, 1, "", "", comm_of),
];

/// Name of a builtin without the prefix that the library knows it by.
fn plain<'a>(call: &Call<'a>) -> &'a str {
    call.name.strip_prefix("__builtin_").unwrap_or(call.name)
}

fn builtin(b: Builtin, ty: Type, loc: Loc) -> Ex {
    Ex::new(Hir::Builtin(b), ty, loc)
}

fn pid(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let name = plain(call);
    let mode = match call.args.first() {
        None => "curr_ns",
        Some(ast::Expr { kind: ExprKind::Ident(mode), loc }) => {
            if mode != "curr_ns" && mode != "init" {
                let message = format!("Invalid PID namespace mode: {mode} (expects: curr_ns or init)");
                return c.error(Stage::Types, *loc, message);
            }
            mode
        }
        Some(_) => {
            let message = format!("{name}() only supports curr_ns and init as the argument");
            return c.error(Stage::Calls, call.loc, message);
        }
    };
    let init = mode == "init" || c.env.pid_namespace().initial;
    if !init && !c.needs(Feature::GetNsCurrentPidTgid, call.loc, "The process id in a PID namespace") {
        return Ex::unknown(call.loc);
    }
    let b = if name == "tid" { Builtin::Tid { init } } else { Builtin::Pid { init } };
    builtin(b, Type::U32, call.loc)
}

fn nsecs(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let mode = match call.args.first() {
        None => "boot",
        Some(ast::Expr { kind: ExprKind::Ident(mode), .. }) => mode,
        Some(_) => {
            let message = "nsecs() only supports a clock as the argument: boot, monotonic, tai or sw_tai";
            return c.error(Stage::Calls, call.loc, message);
        }
    };
    let clock = match mode {
        "monotonic" => NsecsClock::Monotonic,
        // The boot clock differs from the monotonic one by the time in suspend alone.
        "boot" if !c.env.has(Feature::KtimeGetBootNs) => NsecsClock::Monotonic,
        "boot" => NsecsClock::Boot,
        "tai" => {
            if !c.env.has(Feature::KtimeGetTaiNs) {
                let message = "Kernel does not support tai timestamp, please try sw_tai";
                return c.error(Stage::Check, call.loc, message);
            }
            NsecsClock::Tai
        }
        "sw_tai" => NsecsClock::SwTai,
        other => {
            let loc = call.args.first().map_or(call.loc, |e| e.loc);
            return c.error(Stage::Types, loc, format!("Invalid timestamp mode: {other}"));
        }
    };
    Ex::typed(
        Hir::Builtin(Builtin::Nsecs(clock)),
        Ty { ty: Type::U64, traits: Traits::time(clock) },
        call.loc,
    )
}

fn simple(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let b = match plain(call) {
        "uid" => Builtin::Uid,
        "gid" => Builtin::Gid,
        "cpu" => Builtin::Cpu,
        "numaid" => Builtin::NumaNode,
        "rand" => Builtin::Rand,
        "cgroup" => Builtin::Cgroup,
        "elapsed" => Builtin::Elapsed,
        "jiffies" => Builtin::Jiffies,
        _ => return c.error(Stage::Types, call.loc, format!("Unknown function: '{}'", call.name)),
    };
    builtin(b, Type::U64, call.loc)
}

fn ncpus(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    // A number that is known, but not one that was written down.
    let n = u64::from(c.env.possible_cpus());
    Ex::new(Hir::Int(n), Type::U64, call.loc)
}

fn comm(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if let Some(probe) = &c.place.probe
        && let Facts::Tracepoint { category, event } = &probe.facts
        && category == "syscalls"
        && (event == "sys_enter_execve" || event == "sys_enter_execveat")
    {
        let at = c.sources.outermost(call.loc);
        let note = skep_ir::Diagnostic::warning(
            at,
            "At this point comm is still the name of the caller, not of the program that is about to run.",
        )
        .hint("The program's name is in args.filename; tracepoint:sched:sched_process_exec runs when comm has changed.");
        c.diags.push(Stage::Check, note);
    }
    builtin(Builtin::Comm, Type::Str(16), call.loc)
}

fn comm_of(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(pid) = c.int_arg(call, 0) else { return Ex::unknown(call.loc) };
    let Some(probe) = c.place.probe.clone() else {
        return c.error(Stage::Check, call.loc, "comm(PID) can only be used inside of a probe.");
    };
    if !matches!(
        probe.kind,
        skep_ir::ProgKind::TpBtf
            | skep_ir::ProgKind::Fentry
            | skep_ir::ProgKind::Fexit
            | skep_ir::ProgKind::Iter
    ) {
        let message = format!(
            "Syntax comm(PID) is not supported in this probe type yet. Type: {}",
            probe_type(probe.provider)
        );
        return c.error(Stage::Check, call.loc, message);
    }
    if !c.needs(Feature::TaskFromPid, call.loc, "The name of another task") {
        return Ex::unknown(call.loc);
    }
    let pid = match pid.lit_int() {
        Some(n) => hir::Expr::new(Hir::Int(n as u64 & 0xffff_ffff), Type::I32, pid.e.loc),
        None => cast(pid.e, &Type::I32),
    };
    Ex::new(Hir::Call(hir::Func::CommOf, vec![pid]), Type::Str(16), call.loc)
}

fn curtask(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(id) = c.db.composite_named(Keyword::Struct, "task_struct") else {
        // Without type information it is still an address.
        let ty = Type::Ptr(Rc::new(Type::None), AddrSpace::Kernel);
        return builtin(Builtin::Curtask, ty, call.loc);
    };
    let ty = Type::Ptr(Rc::new(Type::Struct(id)), AddrSpace::Kernel);
    builtin(Builtin::Curtask, ty, call.loc)
}

fn cpid(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let n = u64::from(c.options.child.unwrap_or(0));
    Ex { lit: Some(crate::sema::check::Lit::Int(i128::from(n))), ..Ex::new(Hir::Int(n), Type::U64, call.loc) }
}

fn probe(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(probe) = &c.place.probe else {
        let message = format!("{} can only be used inside of a probe.", plain(call));
        return c.error(Stage::Builtin, call.loc, message);
    };
    let text = match plain(call) {
        "probe" => probe.name.clone(),
        _ => probe_type(probe.provider).to_owned(),
    };
    Ex::str(text.as_bytes(), call.loc)
}

fn func(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(probe) = &c.place.probe else {
        return c.error(Stage::Builtin, call.loc, "func can only be used inside of a probe.");
    };
    let provider = probe.provider;
    let ty = match provider {
        Provider::Kprobe | Provider::Kretprobe | Provider::Fentry | Provider::Fexit => Type::KSym,
        Provider::Uprobe | Provider::Uretprobe => Type::USym,
        _ => {
            let message =
                format!("The func builtin can not be used with '{}' probes", provider_name(provider));
            return c.error(Stage::Builtin, call.loc, message);
        }
    };
    if matches!(provider, Provider::Kretprobe | Provider::Fentry | Provider::Fexit)
        && !c.needs(Feature::GetFuncIp, call.loc, "func in this probe")
    {
        return Ex::unknown(call.loc);
    }
    builtin(Builtin::FuncAddr, ty, call.loc)
}

fn retval(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(probe) = c.place.probe.clone() else {
        return c.error(Stage::Builtin, call.loc, "retval can only be used inside of a probe.");
    };
    let space = probe.space();
    match probe.provider {
        Provider::Kretprobe | Provider::Uretprobe => {
            let ty = Ty { ty: Type::U64, traits: Traits::address(space) };
            Ex::typed(Hir::Builtin(Builtin::Retval), ty, call.loc)
        }
        Provider::Fexit => match probe.retval {
            Some(Type::None) => c.error(
                Stage::Args,
                call.loc,
                format!("{} returns nothing, so there is no retval", probe.name),
            ),
            Some(ty) => {
                let ty = crate::sema::check::in_space(ty.into(), space);
                Ex::typed(Hir::Builtin(Builtin::Retval), ty, call.loc)
            }
            None => builtin(Builtin::Retval, Type::U64, call.loc),
        },
        _ => {
            let message =
                "The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes";
            c.error(Stage::Builtin, call.loc, message)
        }
    }
}

fn usermode(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    match c.provider() {
        Some(
            Provider::Profile
            | Provider::Interval
            | Provider::Software
            | Provider::Hardware
            | Provider::Watchpoint,
        ) => builtin(Builtin::Usermode, Type::int(1, false), call.loc),
        // Elsewhere the code that was interrupted is not known; what runs programs is user mode's doing.
        _ => Ex::int(1, call.loc),
    }
}

fn args(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(probe) = c.place.probe.clone() else {
        return c.error(Stage::Args, call.loc, "args can only be used inside of a probe.");
    };
    let provider = probe.provider;
    match provider {
        Provider::Tracepoint
        | Provider::RawTracepoint
        | Provider::Fentry
        | Provider::Fexit
        | Provider::Uprobe => {}
        _ => {
            let message = format!(
                "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes \
                 ({} used here)",
                probe_type(provider)
            );
            return c.error(Stage::Args, call.loc, message);
        }
    }
    let Some(id) = probe.args else {
        // The probe told why when it was resolved.
        return Ex::unknown(call.loc);
    };
    let ty = Ty { ty: Type::Struct(id), traits: Traits::address(probe.space()) };
    Ex::typed(Hir::Args, ty, call.loc)
}

fn ctx(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(probe) = c.place.probe.clone() else {
        return c.error(Stage::Builtin, call.loc, "ctx can only be used inside of a probe.");
    };
    let name = match (&probe.facts, probe.provider) {
        (Facts::Iter(kind), _) => format!("bpf_iter__{kind}"),
        (_, Provider::Tracepoint) => {
            return c.error(Stage::Builtin, call.loc, "Use args instead of ctx in tracepoint");
        }
        (
            _,
            Provider::Kprobe | Provider::Kretprobe | Provider::Uprobe | Provider::Uretprobe | Provider::Usdt,
        ) => "pt_regs".to_owned(),
        (
            _,
            Provider::Profile
            | Provider::Interval
            | Provider::Software
            | Provider::Hardware
            | Provider::Watchpoint,
        ) => "bpf_perf_event_data".to_owned(),
        (_, other) => {
            let message = format!("The ctx builtin can not be used with '{}' probes", provider_name(other));
            return c.error(Stage::Builtin, call.loc, message);
        }
    };
    let to = c.db.composite_named(Keyword::Struct, &name).map_or(Type::None, Type::Struct);
    Ex::new(Hir::Ctx, Type::Ptr(Rc::new(to), AddrSpace::Kernel), call.loc)
}

fn reg(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let allowed = c.only_in(
        call,
        &[
            Provider::Kprobe,
            Provider::Kretprobe,
            Provider::Uprobe,
            Provider::Uretprobe,
            Provider::Usdt,
            Provider::Profile,
            Provider::Interval,
            Provider::Software,
            Provider::Hardware,
            Provider::Watchpoint,
        ],
    );
    let Some(name) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let name = String::from_utf8_lossy(&name).into_owned();
    let Some(offset) = arch::register(c.env.arch(), &name) else {
        let message =
            format!("'{name}' is not a valid register on this architecture ({})", arch::name(c.env.arch()));
        return c.error(Stage::Calls, call.loc, message);
    };
    if !allowed {
        return Ex::unknown(call.loc);
    }
    let ty = Ty { ty: Type::U64, traits: Traits::address(c.default_space()) };
    Ex::typed(Hir::Builtin(Builtin::Reg(offset)), ty, call.loc)
}

impl Checker<'_, '_> {
    /// `arg0` and so on.
    pub(crate) fn argument(&mut self, number: u32, name: &str, loc: Loc) -> Ex {
        let Some(probe) = self.place.probe.clone() else {
            return self.error(Stage::Builtin, loc, format!("{name} can only be used inside of a probe."));
        };
        let space = probe.space();
        match (&probe.facts, probe.provider) {
            (Facts::Usdt(text), _) => self.usdt_argument(text, number, name, loc),
            (_, Provider::Kprobe | Provider::Uprobe) => {
                let registers = arch::register_arguments(self.env.arch());
                if number >= registers {
                    let message = format!(
                        "{name} does not exist: only the first {registers} arguments of a function are in registers"
                    );
                    return self.error(Stage::Builtin, loc, message);
                }
                let space = if probe.syscall { AddrSpace::User } else { space };
                let ty = Ty { ty: Type::U64, traits: Traits::address(space) };
                Ex::typed(Hir::Builtin(Builtin::Arg(number)), ty, loc)
            }
            (Facts::Raw(proto), Provider::RawTracepoint) => {
                let proto = *proto;
                if let Some(count) = proto.and_then(|(source, id)| self.raw_arguments(source, id))
                    && number >= count
                {
                    let message = format!("{name} does not exist: {} has {count} arguments", probe.name);
                    return self.error(Stage::Builtin, loc, message);
                }
                let ty = Ty { ty: Type::U64, traits: Traits::address(space) };
                Ex::typed(Hir::Builtin(Builtin::Arg(number)), ty, loc)
            }
            _ => {
                let message = format!(
                    "The {name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes"
                );
                self.error(Stage::Builtin, loc, message)
            }
        }
    }

    /// Arguments of a raw tracepoint, without the first parameter, which is for the tracepoint's own use.
    fn raw_arguments(&self, source: crate::sema::structs::Source, id: skep_btf::TypeId) -> Option<u32> {
        let btf = self.db.source(source)?;
        match btf.ty(id)? {
            skep_btf::Type::FuncProto(proto) => Some((proto.params().len() as u32).saturating_sub(1)),
            _ => None,
        }
    }

    /// An argument of a static probe, read from where its note says it is.
    fn usdt_argument(&mut self, text: &str, number: u32, name: &str, loc: Loc) -> Ex {
        let all = operands(text);
        let Some(operand) = all.get(number as usize) else {
            let message = format!("{name} does not exist: this probe has {} arguments", all.len());
            return self.error(Stage::Builtin, loc, message);
        };
        let Some(e) = operand.as_ref().and_then(|o| self.operand(o, loc)) else {
            let message = format!("{name} is in a place that cannot be read: its operands are `{text}`");
            return self.error(Stage::Builtin, loc, message);
        };
        let ty = Ty { ty: Type::U64, traits: Traits::address(AddrSpace::User) };
        Ex::typed(cast(e, &Type::U64).kind, ty, loc)
    }

    fn operand(&mut self, operand: &Operand, loc: Loc) -> Option<hir::Expr> {
        let int = Type::Int(IntTy { bytes: operand.bytes, signed: operand.signed });
        let arch = self.env.arch();
        let register = |name: &str| {
            let offset = arch::operand_register(arch, name)?;
            Some(hir::Expr::new(Hir::Builtin(Builtin::Reg(offset)), Type::U64, loc))
        };
        // A value of its own width, extended to 64 bits by its own sign.
        let extended = |e: hir::Expr| {
            let narrow = cast(e, &int);
            let wide = Type::Int(IntTy { bytes: 8, signed: operand.signed });
            cast(narrow, &wide)
        };
        match &operand.place {
            Place::Constant(n) => Some(hir::Expr::new(Hir::Int(*n as u64), Type::U64, loc)),
            Place::Register(name) => Some(extended(register(name)?)),
            Place::Memory { base, index, offset } => {
                let number = |n: u64| hir::Expr::new(Hir::Int(n), Type::U64, loc);
                let plus = |a: hir::Expr, b: hir::Expr| {
                    let kind = Hir::Binary(hir::BinOp::Add, Box::new(a), Box::new(b));
                    hir::Expr::new(kind, Type::U64, loc)
                };
                let mut address = register(base)?;
                if let Some((index, scale)) = index {
                    let kind = Hir::Binary(
                        hir::BinOp::Mul,
                        Box::new(register(index)?),
                        Box::new(number(u64::from(*scale))),
                    );
                    address = plus(address, hir::Expr::new(kind, Type::U64, loc));
                }
                if *offset != 0 {
                    address = plus(address, number(*offset as u64));
                }
                let pointer = Type::Ptr(Rc::new(int.clone()), AddrSpace::User);
                let value = hir::Expr::new(Hir::Deref(Box::new(cast(address, &pointer))), int.clone(), loc);
                Some(extended(value))
            }
        }
    }
}
