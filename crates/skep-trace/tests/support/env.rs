//! A system for tests, read from a text.
//!
//! ```text
//! # comment
//! without kprobe fentry          features that the kernel lacks; it has all others
//! cpus 4
//! nested                         the script runs in a PID namespace of its own
//! symbol NAME ADDRESS
//! probeable FUNCTION [MODULE]
//! cgroup PATH ID
//! variable NAME=VALUE
//! func, raw, var ...             see `types`
//! tracepoint CATEGORY:EVENT
//!   field:int x; offset:8; size:4; signed:1;
//! c
//!   struct task_struct { int pid; };
//! binary PATH [ALIAS...]
//!   function NAME OFFSET ADDRESS SIZE [DEMANGLED]
//!   variable NAME ADDRESS SIZE
//!   usdt PROVIDER:NAME OFFSET SEMAPHORE OPERANDS
//!   starts ADDRESS...
//!   sections LOW HIGH            addresses, equal to offsets
//!   line FILE:LINE ADDRESS...
//!   stripped
//!   func NAME(...) TYPE
//! file PATH                      a file that is no program
//! no btf | no tracepoints
//! ```

use super::types;
use skep_btf::Btf;
use skep_ir::kernel::Arch;
use skep_ir::{Feature, FeatureSet, KernelInfo};
use skep_trace::env::{BinaryError, Env, PidNamespace, UsdtNote, UserBinary, UserSymbol};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// See above.
pub(crate) struct RecordedEnv {
    features: FeatureSet,
    cpus: u32,
    nested: bool,
    btf: Option<Btf>,
    symbols: HashMap<String, u64>,
    functions: Vec<(String, String)>,
    tracepoints: BTreeMap<(String, String), String>,
    no_tracepoints: bool,
    cgroups: HashMap<String, u64>,
    variables: HashMap<String, String>,
    binaries: Vec<Arc<Binary>>,
    files: Vec<String>,
}

#[derive(Default)]
struct Binary {
    path: String,
    aliases: Vec<String>,
    functions: Vec<UserSymbol>,
    variables: HashMap<String, (u64, u64)>,
    usdt: Vec<UsdtNote>,
    starts: Vec<u64>,
    sections: Vec<(u64, u64)>,
    lines: HashMap<String, Vec<u64>>,
    stripped: bool,
    btf: Option<Btf>,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| format!("{text}: {e}"))
}

impl RecordedEnv {
    /// Reads a description; `more` is added to it.
    pub(crate) fn read(text: &str, more: &str) -> Result<RecordedEnv, String> {
        let mut env = RecordedEnv {
            features: FeatureSet::all(),
            cpus: 2,
            nested: false,
            btf: None,
            symbols: HashMap::new(),
            functions: Vec::new(),
            tracepoints: BTreeMap::new(),
            no_tracepoints: false,
            cgroups: HashMap::new(),
            variables: HashMap::new(),
            binaries: Vec::new(),
            files: Vec::new(),
        };
        let (mut c, mut lines, mut no_btf) = (String::new(), Vec::new(), false);
        let all: Vec<&str> = text.lines().chain(more.lines()).collect();
        let mut at = 0;
        while at < all.len() {
            let line = all[at];
            let end = (at + 1..all.len()).find(|&i| !all[i].starts_with(' ')).unwrap_or(all.len());
            let inner: Vec<&str> = all[at + 1..end].iter().map(|l| l.trim()).collect();
            at = end;
            let words: Vec<&str> = line.split_whitespace().collect();
            let arg = |i: usize| words.get(i).copied().ok_or_else(|| format!("too short: {line}"));
            match words.first().copied().unwrap_or("#") {
                w if w.starts_with('#') => {}
                "without" => {
                    for name in &words[1..] {
                        let feature = Feature::ALL.iter().find(|f| f.name() == *name);
                        env.features =
                            env.features.without(*feature.ok_or_else(|| format!("no feature {name}"))?);
                    }
                }
                "cpus" => env.cpus = number(arg(1)?)? as u32,
                "nested" => env.nested = true,
                "symbol" => {
                    env.symbols.insert(arg(1)?.into(), number(arg(2)?)?);
                }
                "probeable" => env.functions.push((arg(1)?.into(), words.get(2).unwrap_or(&"").to_string())),
                "cgroup" => {
                    env.cgroups.insert(arg(1)?.into(), number(arg(2)?)?);
                }
                "variable" => {
                    let (name, value) = arg(1)?.split_once('=').ok_or("NAME=VALUE")?;
                    env.variables.insert(name.into(), value.into());
                }
                "func" | "raw" | "var" => lines.push(line),
                "tracepoint" => {
                    let (category, event) = arg(1)?.split_once(':').ok_or("CATEGORY:EVENT")?;
                    env.tracepoints.insert((category.into(), event.into()), inner.join("\n"));
                }
                "c" => c += &(inner.join("\n") + "\n"),
                "binary" => env.binaries.push(Arc::new(binary(&words[1..], &inner)?)),
                "file" => env.files.push(arg(1)?.into()),
                "no" if arg(1)? == "btf" => no_btf = true,
                "no" if arg(1)? == "tracepoints" => env.no_tracepoints = true,
                other => return Err(format!("unknown: {other}")),
            }
        }
        if !no_btf {
            env.btf = Some(types::btf(&c, &lines)?);
        }
        env.functions.sort();
        Ok(env)
    }
}

fn binary(names: &[&str], lines: &[&str]) -> Result<Binary, String> {
    let path = names.first().ok_or("a path")?.to_string();
    let aliases = names.iter().map(ToString::to_string).collect();
    let mut out = Binary { path, aliases, ..Binary::default() };
    let mut types = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let arg = |i: usize| words.get(i).copied().ok_or_else(|| format!("too short: {line}"));
        match arg(0)? {
            "function" => out.functions.push(UserSymbol {
                name: arg(1)?.into(),
                demangled: words.get(5).map(|_| words[5..].join(" ")),
                offset: number(arg(2)?)?,
                address: number(arg(3)?)?,
                size: number(arg(4)?)?,
            }),
            "variable" => {
                out.variables.insert(arg(1)?.into(), (number(arg(2)?)?, number(arg(3)?)?));
            }
            "usdt" => {
                let (provider, name) = arg(1)?.split_once(':').ok_or("PROVIDER:NAME")?;
                out.usdt.push(UsdtNote {
                    provider: provider.into(),
                    name: name.into(),
                    offset: number(arg(2)?)?,
                    semaphore: number(arg(3)?)?,
                    args: words[4..].join(" "),
                });
            }
            "starts" => out.starts = words[1..].iter().map(|w| number(w)).collect::<Result<_, _>>()?,
            "sections" => out.sections.push((number(arg(1)?)?, number(arg(2)?)?)),
            "line" => {
                let addresses = words[2..].iter().map(|w| number(w)).collect::<Result<_, _>>()?;
                out.lines.insert(arg(1)?.into(), addresses);
            }
            "stripped" => out.stripped = true,
            "func" => types.push(*line),
            other => return Err(format!("unknown: {other}")),
        }
    }
    if !types.is_empty() {
        out.btf = Some(types::btf("", &types)?);
    }
    out.functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

impl KernelInfo for RecordedEnv {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn page_size(&self) -> u32 {
        4096
    }

    fn possible_cpus(&self) -> u32 {
        self.cpus
    }

    fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    fn btf(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }
}

impl Env for RecordedEnv {
    fn tracepoint_format(&self, category: &str, event: &str) -> Option<String> {
        if self.no_tracepoints {
            return None;
        }
        self.tracepoints.get(&(category.to_owned(), event.to_owned())).cloned()
    }

    fn tracepoints(&self) -> Vec<(String, String)> {
        if self.no_tracepoints { Vec::new() } else { self.tracepoints.keys().cloned().collect() }
    }

    fn tracepoints_unavailable(&self) -> Option<String> {
        self.no_tracepoints.then(|| "tracefs is not mounted".to_owned())
    }

    fn btf_modules(&self) -> Vec<String> {
        Vec::new()
    }

    fn module_btf(&self, _module: &str) -> Option<Arc<Btf>> {
        None
    }

    fn kernel_symbol(&self, name: &str) -> Option<u64> {
        self.symbols.get(name).copied()
    }

    fn kernel_functions(&self) -> Vec<(String, String)> {
        self.functions.clone()
    }

    fn find_binary(&self, target: &str, _pid: Option<u32>) -> Vec<String> {
        let programs = self.binaries.iter();
        let found = programs.filter(|b| target == "*" || b.aliases.iter().any(|a| a == target));
        let files = self.files.iter().filter(|f| *f == target).cloned();
        found.map(|b| b.path.clone()).chain(files).collect()
    }

    fn binary(&self, path: &str, _pid: Option<u32>) -> Result<Arc<dyn UserBinary>, BinaryError> {
        if self.files.iter().any(|f| f == path) {
            return Err(BinaryError::NotElf("a text".into()));
        }
        match self.binaries.iter().find(|b| b.path == path) {
            Some(binary) => Ok(binary.clone()),
            None => Err(BinaryError::Missing),
        }
    }

    fn pid_namespace(&self) -> PidNamespace {
        PidNamespace { initial: !self.nested, dev: 4, ino: 4_026_531_836 }
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        self.cgroups.get(path).copied()
    }

    fn read_source(&self, path: &str) -> Result<String, String> {
        Err(format!("there is no {path}"))
    }

    fn list_folder(&self, _path: &str) -> Option<Vec<String>> {
        None
    }

    fn tai_offset(&self) -> i64 {
        0
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

impl UserBinary for Binary {
    fn path(&self) -> &str {
        &self.path
    }

    fn functions(&self) -> &[UserSymbol] {
        &self.functions
    }

    fn variable(&self, name: &str) -> Option<(u64, u64)> {
        self.variables.get(name).copied()
    }

    fn is_stripped(&self) -> bool {
        self.stripped
    }

    fn file_offset(&self, address: u64) -> Option<u64> {
        self.address_of(address)
    }

    fn address_of(&self, offset: u64) -> Option<u64> {
        self.sections.iter().any(|(low, high)| (*low..*high).contains(&offset)).then_some(offset)
    }

    fn is_instruction_start(&self, address: u64) -> Option<bool> {
        (!self.stripped).then(|| self.starts.contains(&address))
    }

    fn line_addresses(&self, file: &str, line: u32, _column: Option<u32>) -> Option<Vec<u64>> {
        if self.lines.is_empty() {
            return None;
        }
        Some(self.lines.get(&format!("{file}:{line}")).cloned().unwrap_or_default())
    }

    fn usdt(&self) -> &[UsdtNote] {
        &self.usdt
    }

    fn types(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }
}
