//! The running kernel, asked when the compiler asks.

mod images;
mod probe;
mod table;

pub use probe::Answer;
pub use table::{PROBES, Probe};

use skep_btf::Btf;
use skep_ir::kernel::{Arch, Feature, FeatureSet, KernelInfo};
use skep_sys::bpf::{self, Access, ObjectKind};
use skep_sys::fs::KernelBtf;
use skep_sys::proc::{Capability, Caps};
use skep_sys::{SysError, cpu};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The running kernel as the compiler and the loader see it.
///
/// Nothing is read or tried before somebody asks for it, and every answer is kept, so that it is the same for a
/// whole compilation and load. One value serves a process; it may be shared between threads.
#[derive(Debug)]
pub struct LiveKernel {
    off: FeatureSet,
    answers: [AtomicU8; Feature::ALL.len()],
    btf: OnceLock<Result<Arc<Btf>, String>>,
    modules: Mutex<HashMap<String, Option<Arc<Btf>>>>,
    caps: OnceLock<Option<Caps>>,
}

/// Bytes that [`Btf`] can own.
struct Mapped(KernelBtf);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Default for LiveKernel {
    fn default() -> Self {
        LiveKernel::new()
    }
}

impl LiveKernel {
    /// The running kernel with all that it has.
    #[must_use]
    pub fn new() -> Self {
        LiveKernel::without(FeatureSet::default())
    }

    /// The running kernel, pretending that it lacks these features: for tests of what older kernels get, and
    /// for users who want to keep off something.
    #[must_use]
    pub fn without(features: FeatureSet) -> Self {
        LiveKernel {
            off: features,
            answers: [const { AtomicU8::new(0) }; Feature::ALL.len()],
            btf: OnceLock::new(),
            modules: Mutex::default(),
            caps: OnceLock::new(),
        }
    }

    /// Features that are switched off.
    #[must_use]
    pub fn switched_off(&self) -> FeatureSet {
        self.off
    }

    /// Whether the kernel has a feature, as far as this process may find out.
    #[must_use]
    pub fn answer(&self, feature: Feature) -> Answer {
        if self.off.has(feature) {
            return Answer::No;
        }
        if let Some(known) = self.known(feature) {
            return known;
        }
        // Two threads that ask at once probe twice and find the same.
        let answer = probe::probe(self, feature);
        self.remember(feature, answer);
        answer
    }

    fn known(&self, feature: Feature) -> Option<Answer> {
        Answer::from_code(self.answers[feature as usize].load(Ordering::Relaxed))
    }

    fn remember(&self, feature: Feature, answer: Answer) {
        self.answers[feature as usize].store(answer.code(), Ordering::Relaxed);
    }

    /// The kernel's type information, or why there is none.
    ///
    /// # Errors
    /// It cannot be opened or is damaged; the text says which file.
    pub fn open_btf(&self) -> Result<&Arc<Btf>, &str> {
        let open = || {
            let bytes = KernelBtf::open("vmlinux").map_err(|e| e.to_string())?;
            let btf = Btf::parse(Mapped(bytes)).map_err(|e| format!("/sys/kernel/btf/vmlinux: {e}"))?;
            Ok(Arc::new(btf))
        };
        self.btf.get_or_init(open).as_ref().map_err(String::as_str)
    }

    /// The type information of a module; `None` if it is not loaded or has none.
    #[must_use]
    pub fn module_btf(&self, name: &str) -> Option<Arc<Btf>> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = modules.get(name) {
            return known.clone();
        }
        let opened = self.open_btf().ok().and_then(|base| {
            let bytes = KernelBtf::open(name).ok()?;
            Btf::parse_split(Arc::clone(base), Mapped(bytes)).ok().map(Arc::new)
        });
        modules.insert(name.to_owned(), opened.clone());
        opened
    }

    /// The kernel's handle for a module's type information, which loads of programs refer to.
    ///
    /// # Errors
    /// `ENOENT`: there is no such module. Going through all objects needs CAP_SYS_ADMIN.
    pub fn module_btf_object(&self, name: &str) -> Result<bpf::Btf, SysError> {
        for id in ObjectKind::Btf.ids() {
            let id = id?;
            // It may be gone by now.
            let Ok(fd) = ObjectKind::Btf.open_id(id, Access::ReadWrite) else { continue };
            let btf = bpf::Btf::from_fd(fd)?;
            let info = btf.info()?;
            if info.is_kernel && info.name == name {
                return Ok(btf);
            }
        }
        Err(SysError::new("bpf(BPF_BTF_GET_NEXT_ID)", skep_sys::Errno::ENOENT)
            .about(format!("no type information of a module {name}")))
    }

    /// Those of `wanted` that this process does not have; none if its capabilities cannot be read.
    #[must_use]
    pub fn missing_capabilities(&self, wanted: &[Capability]) -> Vec<Capability> {
        let own = self.caps.get_or_init(|| Caps::own().ok());
        own.map(|caps| caps.missing(wanted)).unwrap_or_default()
    }
}

impl KernelInfo for LiveKernel {
    fn arch(&self) -> Arch {
        if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
    }

    fn page_size(&self) -> u32 {
        skep_sys::page_size() as u32
    }

    fn possible_cpus(&self) -> u32 {
        // Where the number cannot be read, the creation of the first per-CPU map says so.
        cpu::possible_count().unwrap_or(1) as u32
    }

    /// What cannot be found out, for want of permission, counts as there: the load will say what is missing.
    fn has(&self, feature: Feature) -> bool {
        self.answer(feature) != Answer::No
    }

    fn btf(&self) -> Option<&Btf> {
        self.open_btf().ok().map(Arc::as_ref)
    }
}
