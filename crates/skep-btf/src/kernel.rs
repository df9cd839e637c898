//! Questions about a kernel's BTF: functions, tracepoints, iterators.

use crate::{Btf, Func, FuncProto, KindMask, Type, TypeId};

/// Prefix of the typedef of a tracepoint's probe function (`include/trace/bpf_probe.h`).
const TRACE_TYPEDEF: &str = "btf_trace_";
/// Prefixes of functions whose parameters are those of a tracepoint, with names: the one that calls the
/// probes, of each tracepoint (`include/linux/tracepoint.h`, `__DEFINE_TRACE_EXT`), and the one that runs BPF
/// programs, of each event class (`include/trace/bpf_probe.h`).
const TRACE_FUNCTIONS: [&str; 2] = ["__traceiter_", "__bpf_trace_"];
/// Prefix of the context structs of iterators (`include/linux/bpf.h`, `DEFINE_BPF_ITER_FUNC`).
const ITER_STRUCT: &str = "bpf_iter__";

impl<'a> Type<'a> {
    /// The prototype of a function, of a prototype itself, or of a pointer to one; typedefs are followed.
    fn prototype(self, btf: &'a Btf) -> Option<FuncProto<'a>> {
        let peeled = btf.peel(self.id())?;
        let peeled = if let Type::Ptr(r) = peeled { btf.peel(r.target())? } else { peeled };
        match peeled {
            Type::FuncProto(p) => Some(p),
            Type::Func(f) => match btf.ty(f.proto())? {
                Type::FuncProto(p) => Some(p),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Btf {
    /// The prototype behind a function, a pointer to functions, or a typedef of either.
    #[must_use]
    pub fn proto(&self, id: TypeId) -> Option<FuncProto<'_>> {
        self.ty(id)?.prototype(self)
    }

    /// A function by its name: the first, if several static functions share it.
    #[must_use]
    pub fn func(&self, name: &str) -> Option<Func<'_>> {
        match self.ty(self.find(name, KindMask::FUNC)?)? {
            Type::Func(f) => Some(f),
            _ => None,
        }
    }

    /// The prototype of a tracepoint. Its first parameter (`void *__data`) is no argument of the tracepoint.
    ///
    /// A tracepoint is there if its `btf_trace_NAME` typedef is. That one has types only; where a function of
    /// the same tracepoint is described, its parameter names come with them.
    #[must_use]
    pub fn raw_tracepoint(&self, name: &str) -> Option<FuncProto<'_>> {
        self.raw_tracepoints(&[name]).pop().flatten()
    }

    /// The prototypes of tracepoints, all found in one scan. The answers are in the order of the questions.
    #[must_use]
    pub fn raw_tracepoints(&self, names: &[&str]) -> Vec<Option<FuncProto<'_>>> {
        let texts: Vec<String> = names
            .iter()
            .flat_map(|name| {
                [format!("{TRACE_TYPEDEF}{name}")]
                    .into_iter()
                    .chain(TRACE_FUNCTIONS.iter().map(move |prefix| format!("{prefix}{name}")))
            })
            .collect();
        let kinds = [KindMask::TYPEDEF, KindMask::FUNC, KindMask::FUNC];
        let questions: Vec<(&str, KindMask)> =
            texts.iter().zip(kinds.iter().cycle()).map(|(text, &mask)| (text.as_str(), mask)).collect();
        let found = self.find_many(&questions);
        let proto = |id: Option<TypeId>| self.proto(id?);
        found
            .chunks_exact(kinds.len())
            .map(|ids| {
                let typed = proto(ids[0])?;
                let same = |p: &FuncProto<'_>| {
                    p.params().map(|p| p.type_id()).eq(typed.params().map(|p| p.type_id()))
                };
                Some(ids[1..].iter().find_map(|&id| proto(id).filter(same)).unwrap_or(typed))
            })
            .collect()
    }

    /// Names of all tracepoints.
    pub fn raw_tracepoint_names(&self) -> impl Iterator<Item = &str> {
        self.named(KindMask::TYPEDEF).filter_map(|(_, name)| name.strip_prefix(TRACE_TYPEDEF))
    }

    /// Kinds of iterators with the structs of their contexts: `task`, `bpf_map`, …
    ///
    /// The struct alone does not say that the running kernel offers the iterator.
    pub fn iterators(&self) -> impl Iterator<Item = (&str, TypeId)> {
        self.named(KindMask::STRUCT).filter_map(|(id, name)| Some((name.strip_prefix(ITER_STRUCT)?, id)))
    }

    /// The struct of an iterator's context.
    #[must_use]
    pub fn iterator(&self, kind: &str) -> Option<TypeId> {
        self.find(&format!("{ITER_STRUCT}{kind}"), KindMask::STRUCT)
    }

    /// What carries a declaration tag, with the member or parameter if only that is tagged: `bpf_kfunc` tags
    /// the functions that programs may call.
    pub fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = (TypeId, Option<u32>)> + 'a {
        self.find_all(tag, KindMask::DECL_TAG).filter_map(|id| match self.ty(id)? {
            Type::DeclTag(t) => Some((t.target(), t.component())),
            _ => None,
        })
    }
}
