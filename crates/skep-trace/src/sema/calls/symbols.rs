//! Symbols, cgroups, paths, sockets and packets.

use super::strings::{known_text, marked};
use super::{Call, Function, function};
use crate::hir::{self, ExprKind as Hir, Func, Provider};
use crate::plan::Event;
use crate::sema::attach::Facts;
use crate::sema::check::{Checker, Ex, cast, class};
use crate::sema::diags::Stage;
use crate::sema::events::DATA_HEADER;
use crate::sema::ty::{Traits, Ty};
use crate::types::{AddrSpace, Type};
use skep_btf::KindMask;
use skep_ir::{Diagnostic, Feature};
use std::rc::Rc;

pub(crate) const TABLE: &[Function] = &[
    function("ksym", 1, 1, "The kernel symbol of an address.", "print(ksym(reg(\"ip\")));", symbol),
    function(
        "usym",
        1,
        1,
        "The symbol of an address of the traced process.",
        "print(usym(reg(\"ip\")));",
        symbol,
    ),
    function(
        "kaddr",
        1,
        1,
        "The address of a kernel symbol.",
        "print(*(int32*)kaddr(\"max_lock_depth\"));",
        kaddr,
    ),
    function(
        "percpu_kaddr",
        1,
        2,
        "The address of a variable that each CPU has, of this CPU or of another one.",
        "print(*percpu_kaddr(\"process_counts\", 0));",
        percpu_kaddr,
    ),
    function(
        "cgroupid",
        1,
        1,
        "The id of a cgroup by its path.",
        "cgroup == cgroupid(\"/sys/fs/cgroup/x\")",
        cgroupid,
    ),
    function(
        "cgroup_path",
        1,
        2,
        "Paths of a cgroup by its id, in all hierarchies or in those that a filter matches.",
        "print(cgroup_path(cgroup));",
        cgroup_path,
    ),
    function("path", 1, 2, "The path of a file object.", "print(path(args.file.f_path));", path)
        .needs(Feature::DPath),
    function(
        "socket_cookie",
        1,
        1,
        "A number that stands for a socket.",
        "print(socket_cookie(args.sk));",
        socket_cookie,
    ),
    function(
        "skboutput",
        4,
        4,
        "Writes a packet to a pcap file: file, packet, length, offset of the network header.",
        "skboutput(\"drops.pcap\", args.skb, args.skb.len, 0);",
        skboutput,
    )
    .needs(Feature::SkbOutput),
    function("kptr", 1, 1, "The same address, of the kernel's memory.", "print(str(kptr(arg0)));", space),
    function("uptr", 1, 1, "The same address, of the process's memory.", "print(str(uptr(arg0)));", space),
    function("__builtin_uaddr", 1, 1, "", "", uaddr),
];

fn symbol(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    if !matches!(value.e.ty, Type::Int(_) | Type::Ptr(..) | Type::KSym) {
        let message = format!("{}() expects an integer or pointer argument", call.name);
        return c.error(Stage::Check, call.loc, message);
    }
    let address = c.as_u64(value);
    let (func, ty) = if call.name == "ksym" { (Func::KSym, Type::KSym) } else { (Func::USym, Type::USym) };
    Ex::new(Hir::Call(func, vec![address]), ty, call.loc)
}

fn unresolved(c: &mut Checker<'_, '_>, call: &Call<'_>, name: &str) -> Ex {
    let mut note = Diagnostic::error(call.loc, format!("Failed to resolve kernel symbol: {name}"));
    if c.env.kernel_symbol("_text") == Some(0) {
        note = note.hint("The kernel hides addresses; kernel.kptr_restrict decides who may see them.");
    }
    c.diags.push(Stage::Symbols, note);
    Ex::unknown(call.loc)
}

fn kaddr(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(name) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let name = String::from_utf8_lossy(&name).into_owned();
    let traits = Traits::address(AddrSpace::Kernel);
    let ty = Ty { ty: Type::U64, traits };
    match c.env.kernel_symbol(&name) {
        Some(address) => Ex::typed(Hir::Int(address), ty, call.loc),
        None => {
            let _ = unresolved(c, call, &name);
            Ex::typed(Hir::Int(0), ty, call.loc)
        }
    }
}

fn percpu_kaddr(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(name) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let name = String::from_utf8_lossy(&name).into_owned();
    let mut args = Vec::new();
    if call.args.len() == 2 {
        let Some(cpu) = c.int_arg(call, 1) else { return Ex::unknown(call.loc) };
        args.push(match cpu.lit_int() {
            Some(n) => hir::Expr::new(Hir::Int(n as u64 & 0xffff_ffff), Type::U32, cpu.e.loc),
            None => cast(cpu.e, &Type::U32),
        });
    }
    let Some((source, id)) = c.db.find_btf(&name, KindMask::VAR) else {
        let message = format!("Could not resolve variable \"{name}\" from BTF");
        return c.error(Stage::Types, call.loc, message);
    };
    let to = match c.db.source(source).and_then(|btf| match btf.ty(id)? {
        skep_btf::Type::Var(var) => Some(var.target()),
        _ => None,
    }) {
        Some(target) => c.db.btf_type(source, target),
        None => Type::U64,
    };
    let ty = Type::Ptr(Rc::new(to), AddrSpace::Kernel);
    Ex::new(Hir::Call(Func::PercpuKaddr(name), args), ty, call.loc)
}

fn cgroupid(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(path) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let path = String::from_utf8_lossy(&path).into_owned();
    match c.env.cgroup_id(&path) {
        Some(id) => Ex::new(Hir::Int(id), Type::U64, call.loc),
        None => {
            let note = Diagnostic::error(call.loc, format!("Failed to get cgroup id for path: {path}"))
                .hint("The path is that of a folder of the cgroup file system, such as /sys/fs/cgroup/system.slice.");
            c.diags.push(Stage::Symbols, note);
            Ex::new(Hir::Int(0), Type::U64, call.loc)
        }
    }
}

fn cgroup_path(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let Some(id) = c.int_arg(call, 0) else { return Ex::unknown(call.loc) };
    let filter = match call.args.len() {
        1 => String::new(),
        _ => {
            let ex = c.arg(call, 1);
            match known_text(&ex) {
                Some(text) => text,
                None if ex.unknown => return ex,
                None => {
                    let message = format!(
                        "cgroup_path() only supports string arguments ({} provided)",
                        class(&ex.e.ty)
                    );
                    return c.error(Stage::Check, call.loc, message);
                }
            }
        }
    };
    let index = c.cgroup_filters.iter().position(|f| *f == filter).unwrap_or_else(|| {
        c.cgroup_filters.push(filter);
        c.cgroup_filters.len() - 1
    });
    let id = c.as_u64(id);
    Ex::new(Hir::Call(Func::CgroupPath(index as u32), vec![id]), Type::CgroupPath, call.loc)
}

fn path(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if !matches!(c.provider(), Some(Provider::Fentry | Provider::Fexit | Provider::Iter)) {
        let message = "The path function can only be used with 'fentry', 'fexit', 'iter' probes";
        return c.error(Stage::Calls, call.loc, message);
    }
    let max = c.max_strlen();
    let value = c.arg(call, 0);
    let capacity = match call.args.len() {
        1 => max,
        _ => match c.int_arg(call, 1).and_then(|n| n.lit_int()) {
            Some(n) if n > 0 => u32::try_from(n).unwrap_or(max).min(max),
            _ => {
                let message = "path: invalid size value, need non-negative literal";
                return c.error(Stage::Calls, call.loc, message);
            }
        },
    };
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    if !matches!(value.e.ty, Type::Ptr(..) | Type::Struct(_)) {
        let message =
            format!("path() only supports pointer or C type argument ({} provided)", class(&value.e.ty));
        return c.error(Stage::Check, call.loc, message);
    }
    Ex::new(Hir::Call(Func::Path, vec![value.e]), Type::Str(capacity), call.loc)
}

fn socket_cookie(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if !c.only_in(call, &[Provider::Fentry, Provider::Fexit, Provider::RawTracepoint]) {
        return Ex::unknown(call.loc);
    }
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    let shown = c.show(&value);
    if shown.trim_end_matches(" *") != "struct sock" || !matches!(value.e.ty, Type::Ptr(..)) {
        let message =
            format!("socket_cookie() only supports 'struct sock *' as the argument ({shown} provided)");
        return c.error(Stage::Check, call.loc, message);
    }
    Ex::new(Hir::Call(Func::SocketCookie, vec![value.e]), Type::U64, call.loc)
}

fn skboutput(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if !c.only_in(call, &[Provider::Fentry, Provider::Fexit, Provider::RawTracepoint]) {
        return Ex::unknown(call.loc);
    }
    let file = c.literal_text(call, 0);
    let skb = c.arg(call, 1);
    let (len, offset) = (c.int_arg(call, 2), c.int_arg(call, 3));
    let (Some(file), Some(len), Some(offset)) = (file, len, offset) else { return Ex::unknown(call.loc) };
    if skb.unknown {
        return Ex::unknown(call.loc);
    }
    if !matches!(skb.e.ty, Type::Ptr(..) | Type::Int(_)) {
        let message =
            format!("skboutput() only supports integer or pointer arguments ({} provided)", class(&skb.e.ty));
        return c.error(Stage::Check, call.loc, message);
    }
    let event = Event::Packet { path: String::from_utf8_lossy(&file).into_owned(), offset: DATA_HEADER };
    let event = c.event(event);
    let args = vec![skb.e, c.as_u64(len), c.as_u64(offset)];
    Ex::new(Hir::Call(Func::SkbOutput(event), args), Type::I32, call.loc)
}

/// `kptr` and `uptr`
fn space(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    let value = c.arg(call, 0);
    if value.unknown {
        return Ex::unknown(call.loc);
    }
    if !matches!(value.e.ty, Type::Int(_) | Type::Ptr(..)) {
        let message = format!(
            "{}() only supports integer or pointer arguments ({} provided)",
            call.name,
            class(&value.e.ty)
        );
        return c.error(Stage::Check, call.loc, message);
    }
    let space = if call.name == "kptr" { AddrSpace::Kernel } else { AddrSpace::User };
    marked(value, space, call.loc)
}

fn uaddr(c: &mut Checker<'_, '_>, call: &Call<'_>) -> Ex {
    if !c.only_in(call, &[Provider::Uprobe, Provider::Uretprobe, Provider::Usdt]) {
        return Ex::unknown(call.loc);
    }
    let Some(name) = c.literal_text(call, 0) else { return Ex::unknown(call.loc) };
    let name = String::from_utf8_lossy(&name).into_owned();
    let found = match c.place.probe.as_ref().map(|p| &p.facts) {
        Some(Facts::User { binary, .. }) => binary.variable(&name),
        _ => None,
    };
    let Some((address, size)) = found else {
        let message = format!("Could not resolve symbol: {name}");
        return c.error(Stage::Symbols, call.loc, message);
    };
    let bytes = match size {
        1 | 2 | 4 => size as u8,
        _ => 8,
    };
    let ty = Type::Ptr(Rc::new(Type::int(bytes, false)), AddrSpace::User);
    Ex::new(Hir::Int(address), ty, call.loc)
}
