//! Names that only the running kernel can resolve, all looked up at once: the kernel's BTF is scanned once
//! however many programs there are, and its symbols are read only for those who need addresses.

use super::LoadOptions;
use crate::failure::{LoadFailure, Stage};
use crate::kernel::LiveKernel;
use crate::verifier;
use skep_btf::{Btf, KindMask, TypeId};
use skep_ir::ProgKind;
use skep_ir::spec::{Attach, Collection, ProgramSpec};
use skep_sys::bpf;
use skep_sys::proc::find_symbols;
use skep_sys::{Errno, SysError};
use std::collections::HashMap;

/// Where something of the kernel is described.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelType {
    /// Its id.
    pub(super) id: TypeId,
    /// The module, by its index in [`Resolved::modules`]; `None` for the kernel itself.
    pub(super) module: Option<usize>,
}

/// What names of a collection stand for in the running kernel.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    types: HashMap<Question, KernelType>,
    /// Handles of modules that something was found in.
    pub(super) modules: Vec<bpf::Btf>,
    /// Addresses of kernel variables, by their index in the collection.
    pub(super) ksyms: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    name: String,
    kind: KindMask,
    module: String,
}

/// What a program of a kind that is bound when it loads is bound to.
fn binding(kind: ProgKind, attach: &Attach) -> Option<Question> {
    let question = |name: String, kind, module: &str| Question { name, kind, module: module.to_owned() };
    match (kind, attach) {
        (ProgKind::TpBtf, Attach::RawTracepoint { event }) => {
            Some(question(format!("btf_trace_{event}"), KindMask::TYPEDEF, ""))
        }
        (ProgKind::Iter, Attach::Iter { target, .. }) => {
            Some(question(format!("bpf_iter_{target}"), KindMask::FUNC, ""))
        }
        (ProgKind::Lsm, Attach::Trampoline { function, .. }) => {
            let hook = function.strip_prefix("bpf_lsm_").unwrap_or(function);
            Some(question(format!("bpf_lsm_{hook}"), KindMask::FUNC, ""))
        }
        (ProgKind::Fentry | ProgKind::Fexit | ProgKind::FmodRet, Attach::Trampoline { function, module }) => {
            Some(question(function.clone(), KindMask::FUNC, module))
        }
        _ => None,
    }
}

impl Resolved {
    /// Resolves what the programs to be loaded need. What is not found is an error only when a program that
    /// needs it is loaded, except for kernel variables.
    pub(super) fn of(
        collection: &Collection,
        kernel: &LiveKernel,
        options: &LoadOptions<'_>,
    ) -> Result<Resolved, LoadFailure> {
        let mut resolved = Resolved::default();
        let mut questions: Vec<Question> = Vec::new();
        for (_, spec) in super::program::chosen(collection, options) {
            let Some(kind) = spec.kind.filter(|k| k.info().attach_btf) else { continue };
            questions.extend(spec.attach.iter().filter_map(|a| binding(kind, a)));
        }
        questions.extend(collection.kfuncs.iter().map(|name| kfunc_question(name)));
        if !questions.is_empty() {
            resolved.find_types(kernel, questions);
        }
        resolved.find_ksyms(collection)?;
        Ok(resolved)
    }

    fn find_types(&mut self, kernel: &LiveKernel, questions: Vec<Question>) {
        let Ok(vmlinux) = kernel.open_btf() else { return };
        let (own, of_modules): (Vec<_>, Vec<_>) = questions.into_iter().partition(|q| q.module.is_empty());
        let mut missing = self.find_in(vmlinux, None, own);
        // A kernel function may be a module's, and its users do not say which.
        missing.retain(|q| q.kind == KindMask::FUNC);
        let mut by_module: HashMap<String, Vec<Question>> = HashMap::new();
        for question in of_modules {
            by_module.entry(question.module.clone()).or_default().push(question);
        }
        let mut by_module: Vec<_> = by_module.into_iter().collect();
        if !missing.is_empty() {
            let all = skep_sys::fs::kernel_btf_names().unwrap_or_default();
            by_module.extend(all.into_iter().filter(|m| m != "vmlinux").map(|m| (m, missing.clone())));
        }
        for (module, questions) in by_module {
            let Some(btf) = kernel.module_btf(&module) else { continue };
            let index = self.modules.len();
            let before = self.types.len();
            self.find_in(&btf, Some(index), questions);
            if self.types.len() == before {
                continue;
            }
            match kernel.module_btf_object(&module) {
                Ok(object) => self.modules.push(object),
                Err(_) => self.types.retain(|_, t| t.module != Some(index)),
            }
        }
    }

    /// Looks questions up in one BTF; returns those without an answer.
    fn find_in(&mut self, btf: &Btf, module: Option<usize>, questions: Vec<Question>) -> Vec<Question> {
        let pairs: Vec<(&str, KindMask)> = questions.iter().map(|q| (q.name.as_str(), q.kind)).collect();
        let found = btf.find_many(&pairs);
        let mut missing = Vec::new();
        for (question, id) in questions.into_iter().zip(found) {
            match id {
                Some(id) => {
                    self.types.entry(question).or_insert(KernelType { id, module });
                }
                None => missing.push(question),
            }
        }
        missing
    }

    fn find_ksyms(&mut self, collection: &Collection) -> Result<(), LoadFailure> {
        if collection.ksyms.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = collection.ksyms.iter().map(String::as_str).collect();
        let fail = |error, message| Err(verifier::plain_failure(Stage::Btf, error, message));
        let (found, visited) = match find_symbols(&names) {
            Ok(found) => found,
            Err(error) => return fail(error, "kernel symbols cannot be read".into()),
        };
        if visited.hidden {
            let error = SysError::new("read", Errno::EPERM).about("/proc/kallsyms");
            let message = "the kernel hides the addresses of its symbols (kernel.kptr_restrict)".into();
            return fail(error, message);
        }
        for (name, found) in names.iter().zip(found) {
            let Some(symbol) = found.iter().find(|s| s.module.is_none()).or(found.first()) else {
                let error = SysError::new("read", Errno::ENOENT).about("/proc/kallsyms");
                return fail(error, format!("the kernel has no symbol {name}"));
            };
            self.ksyms.push(symbol.addr);
        }
        Ok(())
    }

    /// What a program is bound to by its attachment at `index`. `Ok(None)`: programs of its kind are not bound.
    pub(super) fn binding(&self, spec: &ProgramSpec, index: usize) -> Result<Option<KernelType>, Unbound> {
        let Some(kind) = spec.kind.filter(|k| k.info().attach_btf) else { return Ok(None) };
        let question = spec.attach.get(index).and_then(|a| binding(kind, a));
        let question = question.ok_or_else(|| Unbound { name: spec.name.clone(), module: String::new() })?;
        match self.types.get(&question) {
            Some(found) => Ok(Some(*found)),
            None => Err(Unbound { name: question.name, module: question.module }),
        }
    }

    /// A kernel function by its name.
    pub(super) fn kfunc(&self, name: &str) -> Option<KernelType> {
        self.types.get(&kfunc_question(name)).copied()
    }
}

fn kfunc_question(name: &str) -> Question {
    Question { name: name.to_owned(), kind: KindMask::FUNC, module: String::new() }
}

/// Something to be bound to that the kernel does not describe.
#[derive(Debug)]
pub(super) struct Unbound {
    pub(super) name: String,
    pub(super) module: String,
}
