//! What a script's compilation asks of the world, as an interface: compilation itself does no I/O.
//!
//! The binary implements it over the live system; tests implement it over recorded facts. An answer must not
//! change during one compilation. Nothing is asked before it is needed.

use skep_btf::Btf;
use skep_ir::KernelInfo;
use std::sync::Arc;

/// The PID namespace that the script's process lives in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PidNamespace {
    /// Whether it is the first one, whose ids the kernel's helpers give.
    pub initial: bool,
    /// Device of its nsfs inode.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

/// A function symbol of a user program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSymbol {
    /// Name as in the symbol table.
    pub name: String,
    /// Name as programmers write it, if it is mangled.
    pub demangled: Option<String>,
    /// Offset in the file.
    pub offset: u64,
    /// Virtual address as linked.
    pub address: u64,
    /// Bytes; 0 if unknown.
    pub size: u64,
}

/// A USDT probe of a user program; a probe may have several locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtNote {
    /// Provider.
    pub provider: String,
    /// Name.
    pub name: String,
    /// Offset of the instruction in the file.
    pub offset: u64,
    /// Offset of the semaphore in the file, 0 if none.
    pub semaphore: u64,
    /// Operand string.
    pub args: String,
}

/// Why a target file could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BinaryError {
    /// No such file, or it cannot be run.
    Missing,
    /// It is not an ELF file for this machine; the text says what it is.
    NotElf(String),
    /// Reading failed.
    Io(String),
}

/// A user program or library that probes attach to.
pub trait UserBinary {
    /// Absolute path to attach to.
    fn path(&self) -> &str;
    /// Function symbols, sorted by name; those of separate debug files included.
    fn functions(&self) -> &[UserSymbol];
    /// The function of exactly this name; of several, the one that programs are linked with today. Cheaper than
    /// looking through all of them.
    fn function(&self, name: &str) -> Option<UserSymbol> {
        let all = self.functions();
        all.binary_search_by(|s| s.name.as_str().cmp(name)).ok().map(|i| all[i].clone())
    }
    /// Address and bytes of a data symbol.
    fn variable(&self, name: &str) -> Option<(u64, u64)>;
    /// Whether the symbol table was stripped.
    fn is_stripped(&self) -> bool;
    /// Offset in the file of a virtual address, if a segment holds it.
    fn file_offset(&self, address: u64) -> Option<u64>;
    /// Virtual address of an offset in the file, if a section holds it.
    fn address_of(&self, offset: u64) -> Option<u64>;
    /// Whether an instruction begins at a virtual address; `None` if that cannot be told.
    fn is_instruction_start(&self, address: u64) -> Option<bool>;
    /// Virtual addresses of the instructions that begin a source line (at a column, if given). The file may be
    /// given by the end of its path. `None` if the program has no line information.
    fn line_addresses(&self, file: &str, line: u32, column: Option<u32>) -> Option<Vec<u64>>;
    /// USDT probes.
    fn usdt(&self) -> &[UsdtNote];
    /// Type information of the program's functions and structs in BTF form, made from its debug data.
    fn types(&self) -> Option<&Btf>;
}

/// What compilation asks for besides [`KernelInfo`].
pub trait Env: KernelInfo {
    /// The format file of a tracepoint.
    fn tracepoint_format(&self, category: &str, event: &str) -> Option<String>;
    /// All tracepoints as category and event, sorted; empty if they cannot be listed.
    fn tracepoints(&self) -> Vec<(String, String)>;
    /// Why tracepoints cannot be read, if that is so (tracefs missing, no permission).
    fn tracepoints_unavailable(&self) -> Option<String>;
    /// Names of kernel modules that have type information, without the kernel itself.
    fn btf_modules(&self) -> Vec<String>;
    /// Type information of a module.
    fn module_btf(&self, module: &str) -> Option<Arc<Btf>>;
    /// Address of a kernel symbol.
    fn kernel_symbol(&self, name: &str) -> Option<u64>;
    /// Names of kernel functions that can be probed, with their module (empty for the kernel), sorted.
    fn kernel_functions(&self) -> Vec<(String, String)>;
    /// Absolute paths of the files that a target names: a path, a program in `PATH`, a library. With a pid,
    /// names are seen in that process's mount namespace, and `*` means all its mapped files.
    fn find_binary(&self, target: &str, pid: Option<u32>) -> Vec<String>;
    /// A target file.
    ///
    /// # Errors
    /// The file is missing, no ELF file, or cannot be read.
    fn binary(&self, path: &str, pid: Option<u32>) -> Result<Arc<dyn UserBinary>, BinaryError>;
    /// The PID namespace of this process.
    fn pid_namespace(&self) -> PidNamespace;
    /// Id of a cgroup by its path.
    fn cgroup_id(&self, path: &str) -> Option<u64>;
    /// A source file that a script imports or includes; the error is a sentence.
    ///
    /// # Errors
    /// Reading failed.
    fn read_source(&self, path: &str) -> Result<String, String>;
    /// Files of a folder that a script imports, sorted; `None` if it is no folder.
    fn list_folder(&self, path: &str) -> Option<Vec<String>>;
    /// Difference between the boot clock and the TAI clock in nanoseconds, for kernels that cannot read TAI.
    fn tai_offset(&self) -> i64;
    /// Value of a variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}
