//! `iter:KIND[:PIN]`
//!
//! The kernel describes the context of each kind of iterator by a `struct bpf_iter__KIND`
//! (`include/linux/bpf.h`, `DEFINE_BPF_ITER_FUNC`).

use super::{Attacher, Facts, Target, glob, part, suggest};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_btf::KindMask;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Feature, ProgKind};

/// Before the name of a kind in type information.
pub(crate) const PREFIX: &str = "bpf_iter__";

pub(super) fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let (kind, pin) = (part(point, 0), part(point, 1));
    if kind.is_empty() {
        a.error(point.loc, "iter should specify a iterator's name");
        return Vec::new();
    }
    if glob::is_pattern(kind) {
        a.error(point.loc, "iter probe type does not support wildcards");
        return Vec::new();
    }
    let unavailable = |detail: String| {
        Diagnostic::error(point.loc, format!("iter {kind} not available for your kernel version."))
            .hint(detail)
    };
    let Some(btf) = a.db.kernel_btf() else {
        let note = unavailable(
            "Iterators need the kernel's type information, which this kernel does not have.".into(),
        );
        a.refuse(note);
        return Vec::new();
    };
    if !a.env.has(Feature::Iter) {
        let note = unavailable(format!("Iterators exist since kernel {}.", Feature::Iter.since()));
        a.refuse(note);
        return Vec::new();
    }
    let context = format!("{PREFIX}{kind}");
    if a.db.find_btf(&context, KindMask::STRUCT).is_none() {
        let kinds = btf.named(KindMask::STRUCT).filter_map(|(_, name)| name.strip_prefix(PREFIX));
        let note = match suggest::nearest(kind, kinds) {
            Some(near) => unavailable(format!("Did you mean iter:{near}?")),
            None => unavailable("`-l 'iter:*'` lists the kinds of this kernel.".into()),
        };
        a.refuse(note);
        return Vec::new();
    }
    let pin = (!pin.is_empty()).then(|| pin.to_owned());
    let name = match &pin {
        Some(pin) => format!("iter:{kind}:{pin}"),
        None => format!("iter:{kind}"),
    };
    vec![Target {
        name,
        provider: Provider::Iter,
        kind: ProgKind::Iter,
        attach: Attach::Iter { target: kind.to_owned(), pin },
        facts: Facts::Iter(kind.to_owned()),
    }]
}
