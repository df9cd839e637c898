//! Probes of the script itself: begin, end, signals, tests and benchmarks.

use super::{Attacher, Facts, Target, part};
use crate::hir::Provider;
use crate::sema::diags::Stage;
use crate::syntax::ast::AttachPoint;
use skep_ir::spec::{Attach, When};
use skep_ir::{Diagnostic, ProgKind};

/// `SIGUSR1` on every architecture that is supported (`asm-generic/signal.h`).
const SIGUSR1: i32 = 10;

fn target(name: String, provider: Provider, attach: Attach) -> Target {
    Target { name, provider, kind: ProgKind::RawTracepoint, attach, facts: Facts::None }
}

pub(super) fn begin(_: &mut Attacher<'_, '_>, _: &AttachPoint) -> Vec<Target> {
    vec![target("begin".into(), Provider::Begin, Attach::Once(When::Begin))]
}

pub(super) fn end(_: &mut Attacher<'_, '_>, _: &AttachPoint) -> Vec<Target> {
    vec![target("end".into(), Provider::End, Attach::Once(When::End))]
}

pub(super) fn own_signal(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let (kind, signal) = (part(point, 0), part(point, 1));
    if kind != "signal" {
        a.error(point.loc, format!("{kind} is not an event of this process; only signal is"));
        return Vec::new();
    }
    if signal != "SIGUSR1" {
        a.error(point.loc, format!("{signal} is not a supported signal"));
        return Vec::new();
    }
    vec![target(format!("self:signal:{signal}"), Provider::Signal, Attach::Signal(SIGUSR1))]
}

pub(super) fn test(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    named(a, point, "test", Provider::Test)
}

pub(super) fn bench(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    named(a, point, "bench", Provider::Bench)
}

fn named(
    a: &mut Attacher<'_, '_>,
    point: &AttachPoint,
    kind: &'static str,
    provider: Provider,
) -> Vec<Target> {
    let name = part(point, 0);
    if let Some(other) = a.names.insert((kind, name.to_owned()), point.loc) {
        let message =
            format!("\"{name}\" was used as the name for more than one {} probe", kind.to_ascii_uppercase());
        let note = Diagnostic::error(point.loc, message).context(other, "this is the other instance");
        a.failed = true;
        a.diags.push(Stage::Attach, note);
        return Vec::new();
    }
    vec![target(format!("{kind}:{name}"), provider, Attach::Once(When::Manual))]
}
