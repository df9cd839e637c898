//! Settings of a script: the config block and the environment.

use crate::types::StackMode;

/// What a problem with a probe's target leads to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum MissingProbes {
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// Nothing.
    Ignore,
}

/// When user symbols are read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum UserSymbolCache {
    /// Once for each process.
    PerPid,
    /// Once for each program file.
    PerProgram,
    /// At each look-up.
    None,
}

/// Whether something unstable may be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unstable {
    /// Yes.
    Enable,
    /// Yes, with a warning.
    Warn,
    /// No.
    Error,
}

/// Settings with their values.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is named and described in the table of the reference")]
pub struct Config {
    pub cache_user_symbols: Option<UserSymbolCache>,
    pub cpp_demangle: bool,
    pub lazy_symbolication: bool,
    pub license: String,
    pub log_size: u64,
    pub max_bpf_progs: u64,
    pub max_cat_bytes: u64,
    pub max_map_keys: u64,
    pub max_probes: u64,
    pub max_strlen: u64,
    pub missing_probes: MissingProbes,
    pub on_stack_limit: u64,
    /// 0: chosen by what the script sends.
    pub perf_rb_pages: u64,
    pub print_maps_on_exit: bool,
    pub show_debug_info: bool,
    pub stack_mode: StackMode,
    pub str_trunc_trailer: String,
    pub unstable_import_statement: Unstable,
    pub unstable_tseries: Unstable,
    pub unstable_typeinfo: Unstable,
    pub unstable_dw_ustack: Unstable,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            cache_user_symbols: None,
            cpp_demangle: true,
            lazy_symbolication: false,
            license: "GPL".into(),
            log_size: 1_000_000,
            max_bpf_progs: 1024,
            max_cat_bytes: 10_240,
            max_map_keys: 4096,
            max_probes: 1024,
            max_strlen: 1024,
            missing_probes: MissingProbes::Error,
            on_stack_limit: 32,
            perf_rb_pages: 0,
            print_maps_on_exit: true,
            show_debug_info: true,
            stack_mode: StackMode::Bpftrace,
            str_trunc_trailer: "..".into(),
            unstable_import_statement: Unstable::Error,
            unstable_tseries: Unstable::Warn,
            unstable_typeinfo: Unstable::Error,
            unstable_dw_ustack: Unstable::Warn,
        }
    }
}
