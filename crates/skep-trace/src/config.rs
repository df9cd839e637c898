//! Settings of a script: the config block and the environment.
//!
//! Every setting is one row of [`KEYS`]: checking, the reference and `config.NAME` in scripts come from it.

use crate::types::StackMode;
use thiserror::Error;

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

/// Why a setting was not taken. The texts are those that users of the language match on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No such setting.
    #[error("{0}: not a known configuration option")]
    Unknown(String),
    /// A variable of the environment that is no setting of scripts.
    #[error("{0}: can only be set as an environment variable")]
    EnvironmentOnly(String),
    /// A number was expected.
    #[error("{key}: expecting a number, got {found}")]
    Number {
        /// The setting.
        key: &'static str,
        /// What was found.
        found: String,
    },
    /// A truth value was expected.
    #[error("{0}: Invalid bool value: valid values are true, false, 1 or 0.")]
    Bool(&'static str),
    /// One of a few words was expected.
    #[error("{key}: Invalid value for {what}: valid values are {valid}.")]
    Word {
        /// The setting.
        key: &'static str,
        /// What it sets.
        what: &'static str,
        /// The words.
        valid: &'static str,
    },
    /// Not a licence that the kernel knows.
    #[error(
        "Invalid value for license. Found: {0}. Valid values: Dual MIT/GPL, Dual BSD/GPL, Dual MPL/GPL, GPL and \
         additional rights, GPL v2, GPL. Read more about BPF programs and licensing: \
         https://docs.kernel.org/bpf/bpf_licensing.html#using-bpf-programs-in-the-linux-kernel"
    )]
    License(String),
}

/// What came of a setting that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is set.
    Set,
    /// It is set; the name is an old one for this one.
    Renamed(&'static str),
    /// It no longer means anything.
    Retired,
}

/// Where a setting lives and how it is read.
#[derive(Copy, Clone)]
enum Slot {
    Bool(fn(&mut Config) -> &mut bool),
    Number(fn(&mut Config) -> &mut u64),
    Text(fn(&mut Config) -> &mut String),
    Unstable(fn(&mut Config) -> &mut Unstable),
    License,
    MissingProbes,
    StackMode,
    UserSymbols,
}

/// A setting.
pub struct Key {
    /// Name in the config block.
    pub name: &'static str,
    /// Default as the reference shows it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    slot: Slot,
}

macro_rules! keys {
    ($($name:ident $slot:tt $default:literal $doc:literal;)*) => {
        /// Every setting, sorted by name.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            default: $default,
            doc: $doc,
            slot: keys!(@ $slot $name),
        }),*];
    };
    (@ bool $name:ident) => { Slot::Bool(|c| &mut c.$name) };
    (@ number $name:ident) => { Slot::Number(|c| &mut c.$name) };
    (@ text $name:ident) => { Slot::Text(|c| &mut c.$name) };
    (@ unstable $name:ident) => { Slot::Unstable(|c| &mut c.$name) };
    (@ license $name:ident) => { Slot::License };
    (@ missing $name:ident) => { Slot::MissingProbes };
    (@ stack $name:ident) => { Slot::StackMode };
    (@ symbols $name:ident) => { Slot::UserSymbols };
}

keys! {
    cache_user_symbols symbols "PER_PID, or PER_PROGRAM with -c or without address randomisation"
        "When symbols of user programs are read: once for each process (PER_PID), once for each file \
         (PER_PROGRAM), or at each look-up (NONE).";
    cpp_demangle bool "1" "Shows C++ names of user symbols as they are written in source.";
    lazy_symbolication bool "0" "Reads user symbols when they are first needed instead of at the start.";
    license license "GPL" "Licence of the BPF programs; helpers that are for GPL programs alone need one that says so.";
    log_size number "1000000" "Bytes for the verifier's log.";
    max_bpf_progs number "1024" "Most BPF programs that a script may make.";
    max_cat_bytes number "10240" "Most bytes that one cat() prints.";
    max_map_keys number "4096" "Elements of maps that are not declared with a size.";
    max_probes number "1024" "Most probes that a script may attach to.";
    max_strlen number "1024" "Capacity of what str(), buf() and path() yield, in bytes.";
    missing_probes missing "error" "What becomes of probes whose target is missing: error, warn or ignore.";
    on_stack_limit number "32" "Objects of more bytes live in per-CPU memory instead of on the BPF stack.";
    perf_rb_pages number "by memory, 64 to 4096" "Pages of the ring buffer.";
    print_maps_on_exit bool "1" "Prints all maps that are not empty at the end.";
    show_debug_info bool "1" "Shows source lines and inlined functions in user stacks where debug data have them.";
    stack_mode stack "bpftrace" "Form of stacks: bpftrace, perf, raw or build_id.";
    str_trunc_trailer text ".." "Printed behind strings that were cut to their capacity.";
    unstable_dw_ustack unstable "warn" "Whether dw_ustack may be used: enable, warn or error.";
    unstable_import_statement unstable "error" "Whether import may be used: enable, warn or error.";
    unstable_tseries unstable "warn" "Whether tseries() may be used: enable, warn or error.";
    unstable_typeinfo unstable "error" "Whether typeinfo() may be used: enable, warn or error.";
}

/// Old names of settings. The second of a pair is the name of today; `None` for what means nothing any more.
const OLD_KEYS: &[(&str, Option<&str>)] = &[
    ("strlen", Some("max_strlen")),
    ("no_cpp_demangle", Some("cpp_demangle")),
    ("cat_bytes_max", Some("max_cat_bytes")),
    ("map_keys_max", Some("max_map_keys")),
    ("max_type_res_iterations", None),
    ("max_ast_nodes", None),
    ("use_blazesym", None),
    ("unstable_map_decl", None),
    ("unstable_macro", None),
    ("unstable_import", None),
];

/// Variables of the environment that are not settings.
const ENVIRONMENT_ONLY: &[&str] = &["btf", "vmlinux", "kernel_source", "kernel_build"];

/// Licences as the kernel wants them, `kernel/module/main.c` by way of `license_is_gpl_compatible`.
const LICENSES: &[&str] =
    &["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// The setting of a name in any case and with or without the prefix of the environment.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

/// The name of a setting without the prefix and in lower case.
fn plain(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("bpftrace_").or_else(|| lower.strip_prefix("skep_"));
    bare.unwrap_or(&lower).to_owned()
}

impl Config {
    /// Sets a value from text, as from the environment, or from a word, a string or a number of a config block.
    ///
    /// # Errors
    /// The setting does not exist or does not take the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Taken, ConfigError> {
        let name = plain(name);
        if let Some(&(_, now)) = OLD_KEYS.iter().find(|(old, _)| *old == name) {
            let Some(now) = now.and_then(key) else { return Ok(Taken::Retired) };
            let negated =
                name.starts_with("no_").then_some(if matches!(value, "0" | "false") { "1" } else { "0" });
            self.store(now, negated.unwrap_or(value))?;
            return Ok(Taken::Renamed(now.name));
        }
        if ENVIRONMENT_ONLY.contains(&name.as_str()) {
            return Err(ConfigError::EnvironmentOnly(name));
        }
        let Some(key) = key(&name) else { return Err(ConfigError::Unknown(name)) };
        self.store(key, value)?;
        Ok(Taken::Set)
    }

    fn store(&mut self, key: &'static Key, value: &str) -> Result<(), ConfigError> {
        let word = |what, valid| ConfigError::Word { key: key.name, what, valid };
        match key.slot {
            Slot::Bool(of) => {
                *of(self) = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(ConfigError::Bool(key.name)),
                }
            }
            Slot::Number(of) => {
                let number = value.parse();
                *of(self) =
                    number.map_err(|_| ConfigError::Number { key: key.name, found: value.to_owned() })?;
            }
            Slot::Text(of) => value.clone_into(of(self)),
            Slot::Unstable(of) => {
                *of(self) = match value {
                    "enable" | "1" | "true" => Unstable::Enable,
                    "warn" => Unstable::Warn,
                    "error" | "0" | "false" => Unstable::Error,
                    _ => return Err(word("unstable config", "enable, warn, and error")),
                }
            }
            Slot::License => {
                let known = LICENSES.contains(&value);
                self.license =
                    known.then(|| value.to_owned()).ok_or_else(|| ConfigError::License(value.into()))?;
            }
            Slot::MissingProbes => {
                self.missing_probes = match value {
                    "error" => MissingProbes::Error,
                    "warn" => MissingProbes::Warn,
                    "ignore" => MissingProbes::Ignore,
                    _ => return Err(word("missing_probes", "ignore, warn, and error")),
                }
            }
            Slot::StackMode => {
                self.stack_mode = stack_mode(value)
                    .ok_or_else(|| word("stack_mode", "bpftrace, raw, perf, and build_id"))?;
            }
            Slot::UserSymbols => {
                self.cache_user_symbols = Some(match value.to_ascii_uppercase().as_str() {
                    "PER_PID" | "1" => UserSymbolCache::PerPid,
                    "PER_PROGRAM" => UserSymbolCache::PerProgram,
                    "NONE" | "0" => UserSymbolCache::None,
                    _ => return Err(word("cache_user_symbols", "PER_PID, PER_PROGRAM, and NONE")),
                });
            }
        }
        Ok(())
    }

    /// The present value of a setting, as scripts see it by `config.NAME`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        // The slots yield places to write to; a copy keeps one accessor for both directions.
        let mut copy = self.clone();
        let text = |t: &str| Value::Text(t.to_owned());
        Some(match key(name)?.slot {
            Slot::Bool(of) => Value::Bool(*of(&mut copy)),
            Slot::Number(of) => Value::Number(*of(&mut copy)),
            Slot::Text(of) => Value::Text(std::mem::take(of(&mut copy))),
            Slot::Unstable(of) => text(match of(&mut copy) {
                Unstable::Enable => "enable",
                Unstable::Warn => "warn",
                Unstable::Error => "error",
            }),
            Slot::License => Value::Text(copy.license),
            Slot::MissingProbes => text(match self.missing_probes {
                MissingProbes::Error => "error",
                MissingProbes::Warn => "warn",
                MissingProbes::Ignore => "ignore",
            }),
            Slot::StackMode => text(self.stack_mode.name()),
            Slot::UserSymbols => text(match self.cache_user_symbols {
                Some(UserSymbolCache::PerPid) | None => "PER_PID",
                Some(UserSymbolCache::PerProgram) => "PER_PROGRAM",
                Some(UserSymbolCache::None) => "NONE",
            }),
        })
    }
}

/// A setting's value; see [`Config::value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Truth value.
    Bool(bool),
    /// Number.
    Number(u64),
    /// Text or one of a few words.
    Text(String),
}

/// The stack mode of a name.
#[must_use]
pub fn stack_mode(name: &str) -> Option<StackMode> {
    [StackMode::Bpftrace, StackMode::Perf, StackMode::Raw, StackMode::BuildId]
        .into_iter()
        .find(|m| m.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_their_defaults_are_taken() {
        assert!(KEYS.windows(2).all(|k| k[0].name < k[1].name));
        let mut config = Config::default();
        for key in KEYS.iter().filter(|k| !k.default.contains(' ')) {
            assert_eq!(config.set(key.name, key.default), Ok(Taken::Set), "{}", key.name);
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn names_have_case_prefix_and_history() {
        let mut config = Config::default();
        assert_eq!(config.set("BPFTRACE_MAX_STRLEN", "64"), Ok(Taken::Set));
        assert_eq!(config.set("SKEP_LOG_SIZE", "7"), Ok(Taken::Set));
        assert_eq!(config.set("strlen", "65"), Ok(Taken::Renamed("max_strlen")));
        assert_eq!((config.max_strlen, config.log_size), (65, 7));
        assert_eq!(config.set("no_cpp_demangle", "1"), Ok(Taken::Renamed("cpp_demangle")));
        assert!(!config.cpp_demangle);
        assert_eq!(config.set("unstable_macro", "enable"), Ok(Taken::Retired));
        assert_eq!(config.set("btf", "x"), Err(ConfigError::EnvironmentOnly("btf".into())));
        assert_eq!(config.set("nope", "1"), Err(ConfigError::Unknown("nope".into())));
        let message = config.set("stack_mode", "x").map_err(|e| e.to_string());
        let expected =
            "stack_mode: Invalid value for stack_mode: valid values are bpftrace, raw, perf, and build_id.";
        assert_eq!(message, Err(expected.to_owned()));
    }
}
