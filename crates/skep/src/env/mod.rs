//! The live system as the compiler of scripts sees it: [`LiveEnv`] answers what [`skep_trace::env::Env`] asks.
//!
//! Every answer is found when it is first asked for and kept: a script that names no tracepoint never opens
//! tracefs, one that names no kernel symbol never reads kallsyms.

mod binary;
mod cgroups;
mod find;
mod functions;
pub(crate) mod glob;
mod ld_cache;
mod source;
#[cfg(test)]
mod tests;

use crate::symbols::debug_file;
use binary::Binary;
use skep_btf::Btf;
use skep_ir::kernel::Arch;
use skep_ir::{Feature, KernelInfo};
use skep_sys::clock::Clock;
use skep_sys::fs::TraceFs;
use skep_sys::proc::Namespace;
use skep_trace::env::{BinaryError, Env, PidNamespace, UserBinary};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

/// The kernel as the loader knows it: what is compiled against is what is loaded into.
pub(crate) trait Kernel: KernelInfo {
    /// Type information of a module, on top of the kernel's own; `None` if it has none.
    fn module_btf(&self, module: &str) -> Option<Arc<Btf>>;
}

/// What opening a program came to.
type Opened = Result<Arc<dyn UserBinary>, BinaryError>;

/// The running system. Not for sharing between threads: compilation asks from one.
pub(crate) struct LiveEnv<'k> {
    kernel: &'k dyn Kernel,
    tracefs: OnceCell<Result<TraceFs, String>>,
    tracepoints: OnceCell<Vec<(String, String)>>,
    symbols: RefCell<HashMap<String, Option<u64>>>,
    functions: OnceCell<Vec<(String, String)>>,
    binaries: RefCell<HashMap<(String, Option<u32>), Opened>>,
    debug_folders: Rc<[PathBuf]>,
    /// A list of functions that can be probed, given instead of the kernel's.
    traceable: Option<PathBuf>,
}

impl<'k> LiveEnv<'k> {
    /// Nothing is read before it is asked for.
    pub(crate) fn new(kernel: &'k dyn Kernel) -> Self {
        LiveEnv {
            kernel,
            tracefs: OnceCell::new(),
            tracepoints: OnceCell::new(),
            symbols: RefCell::default(),
            functions: OnceCell::new(),
            binaries: RefCell::default(),
            debug_folders: Rc::new([PathBuf::from(debug_file::USUAL)]),
            traceable: None,
        }
    }

    /// Takes the functions that can be probed from a file with a name, and perhaps a `[module]`, in each line.
    pub(crate) fn with_traceable_functions(mut self, path: PathBuf) -> Self {
        self.traceable = Some(path);
        self
    }

    /// Looks for separate debug files in these folders instead of the usual one.
    pub(crate) fn with_debug_folders(mut self, folders: Vec<PathBuf>) -> Self {
        self.debug_folders = folders.into();
        self
    }

    fn tracefs(&self) -> Result<&TraceFs, &str> {
        let opened = self.tracefs.get_or_init(|| TraceFs::open().map_err(|e| e.to_string()));
        opened.as_ref().map_err(String::as_str)
    }
}

impl KernelInfo for LiveEnv<'_> {
    fn arch(&self) -> Arch {
        self.kernel.arch()
    }

    fn page_size(&self) -> u32 {
        self.kernel.page_size()
    }

    fn possible_cpus(&self) -> u32 {
        self.kernel.possible_cpus()
    }

    fn has(&self, feature: Feature) -> bool {
        self.kernel.has(feature)
    }

    fn btf(&self) -> Option<&Btf> {
        self.kernel.btf()
    }
}

impl Env for LiveEnv<'_> {
    fn tracepoint_format(&self, category: &str, event: &str) -> Option<String> {
        self.tracefs().ok()?.event_format(category, event).ok()
    }

    fn tracepoints(&self) -> Vec<(String, String)> {
        let list = || self.tracefs().ok().and_then(|fs| fs.available_events().ok()).unwrap_or_default();
        self.tracepoints.get_or_init(list).clone()
    }

    fn tracepoints_unavailable(&self) -> Option<String> {
        match self.tracefs() {
            Err(why) => Some(why.to_owned()),
            // Mounted, but perhaps not for us.
            Ok(fs) => fs.categories().err().map(|e| e.to_string()),
        }
    }

    fn btf_modules(&self) -> Vec<String> {
        let mut names = skep_sys::fs::kernel_btf_names().unwrap_or_default();
        names.retain(|name| name != "vmlinux");
        names
    }

    fn module_btf(&self, module: &str) -> Option<Arc<Btf>> {
        self.kernel.module_btf(module)
    }

    fn kernel_symbol(&self, name: &str) -> Option<u64> {
        if let Some(known) = self.symbols.borrow().get(name) {
            return *known;
        }
        let found = functions::symbol(name);
        self.symbols.borrow_mut().insert(name.to_owned(), found);
        found
    }

    fn kernel_functions(&self) -> Vec<(String, String)> {
        let list = || functions::probeable(self.traceable.as_deref(), self.tracefs().ok());
        self.functions.get_or_init(list).clone()
    }

    fn find_binary(&self, target: &str, pid: Option<u32>) -> Vec<String> {
        find::binaries(target, pid)
    }

    fn binary(&self, path: &str, pid: Option<u32>) -> Result<Arc<dyn UserBinary>, BinaryError> {
        let mut known = self.binaries.borrow_mut();
        let binary = known.entry((path.to_owned(), pid)).or_insert_with(|| {
            let binary = Binary::open(path, pid, &self.debug_folders)?;
            #[allow(clippy::arc_with_non_send_sync, reason = "the interface shares binaries by Arc")]
            Ok(Arc::new(binary))
        });
        binary.clone()
    }

    fn pid_namespace(&self) -> PidNamespace {
        match Namespace::Pid.own() {
            Ok(id) => PidNamespace {
                initial: Namespace::Pid.is_initial(id).unwrap_or(true),
                dev: id.device,
                ino: id.inode,
            },
            // No /proc, or a kernel without namespaces.
            Err(_) => PidNamespace { initial: true, dev: 0, ino: 0 },
        }
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        cgroups::id(path)
    }

    fn read_source(&self, path: &str) -> Result<String, String> {
        source::read(path)
    }

    fn list_folder(&self, path: &str) -> Option<Vec<String>> {
        source::list(path)
    }

    fn tai_offset(&self) -> i64 {
        Clock::Boot.offset_to(Clock::Tai)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Kernel for skep_load::LiveKernel {
    fn module_btf(&self, module: &str) -> Option<Arc<Btf>> {
        skep_load::LiveKernel::module_btf(self, module)
    }
}
