//! Cases of output: a script is compiled and run by the evaluator, and what it sent and left in its maps is
//! printed. `script` gives `text` and `json`, and `messages`: what goes to stderr with text. Maps are printed at
//! the end, as in a run.
//!
//! The attribute `cpus` lists the CPUs on which every probe runs, one after the other (0 if there is none);
//! `quiet: yes` and `color: yes` are as on the command line. The section `system` says what the system is like:
//!
//! ```text
//! stack user|kernel ADDRESS...         where the script is
//! ksym ADDRESS NAME OFFSET
//! usym PID ADDRESS NAME|- OFFSET [PATH [FILE:LINE]]
//! inlined PID ADDRESS NAME [FILE:LINE]
//! build-id OFFSET
//! user ID NAME
//! cgroup ID FILTER PATH                - for no filter
//! now NS, boot NS, zone RULE
//! gfp NAME BIT
//! clock NS                             what the script's clocks say, in order
//! ```
//!
//! `report` has lines that a session would add: `attached N`, `lost N`, `total-lost N`, `command TEXT`,
//! `file TEXT`, `record HEX`, `tests N`, `test NAME NS pass|fail TEXT`, `tests-end N NAME...`, `benchmarks`,
//! `benchmark NAME NS CALLS`.

mod support;

use skep_ir::eval::{self, Machine, Memory, Snapshot};
use skep_ir::inst::Space;
use skep_ir::module::MapKind;
use skep_ir::{MapId, Module, SourceMap, diag};
use skep_trace::expand::{Library, expand};
use skep_trace::lower::{LowerOptions, lower};
use skep_trace::output::{
    Effect, Host, KernelSymbol, MapError, Maps, OutputFormat, Printer, Resolver, Settings, Sink, SourceLine,
    TestResult, UserSymbol, Zone,
};
use skep_trace::plan::{Clock, Plan, Storage};
use skep_trace::sema::{self, Options};
use skep_trace::stdlib;
use skep_trace::syntax::{NoFiles, ParseOptions, parse};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use support::env::RecordedEnv;
use testkit::{Case, Outcome};

const KERNEL: &str = include_str!("cases/sema/kernel.env");

/// CPUs of the system of `kernel.env`.
const CPUS: usize = 4;

/// The system of a case.
#[derive(Default)]
struct System {
    user_stack: Vec<u64>,
    kernel_stack: Vec<u64>,
    kernel_symbols: BTreeMap<u64, (String, u64)>,
    user_symbols: BTreeMap<(u32, u64), UserSymbol>,
    users: BTreeMap<u64, String>,
    cgroups: BTreeMap<(u64, String), String>,
    gfp: BTreeMap<String, u32>,
    now: i64,
    boot: i64,
    zone: Option<String>,
    clock: VecDeque<u64>,
}

fn number(word: Option<&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map_err(|e| format!("{word}: {e}")),
        None => word.parse().map_err(|e| format!("{word}: {e}")),
    }
}

fn source_line(word: &str) -> Option<SourceLine> {
    let (file, line) = word.rsplit_once(':')?;
    Some(SourceLine { file: file.to_owned(), line: line.parse().ok()? })
}

impl System {
    fn read(text: &str) -> Result<System, String> {
        let mut system = System::default();
        for line in text.lines().filter(|l| !l.is_empty()) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let mut word = || words.next().map(str::to_owned).ok_or(format!("{line}: too short"));
            match name {
                "stack" => {
                    let user = word()? == "user";
                    let frames = words.map(|w| number(Some(w))).collect::<Result<_, _>>()?;
                    *(if user { &mut system.user_stack } else { &mut system.kernel_stack }) = frames;
                }
                "ksym" => {
                    let (address, name) = (number(Some(&word()?))?, word()?);
                    system.kernel_symbols.insert(address, (name, number(Some(&word()?))?));
                }
                "usym" => {
                    let key = (number(Some(&word()?))? as u32, number(Some(&word()?))?);
                    let name = Some(word()?).filter(|n| n != "-");
                    let offset = number(Some(&word()?))?;
                    let path = words.next().map(str::to_owned);
                    let line = words.next().and_then(source_line);
                    let symbol = UserSymbol { name, offset, path, line, inlined: Vec::new() };
                    system.user_symbols.insert(key, symbol);
                }
                "inlined" => {
                    let key = (number(Some(&word()?))? as u32, number(Some(&word()?))?);
                    let inlined = (word()?, words.next().and_then(source_line));
                    system.user_symbols.entry(key).or_default().inlined.push(inlined);
                }
                "user" => {
                    let id = number(Some(&word()?))?;
                    system.users.insert(id, word()?);
                }
                "cgroup" => {
                    let id = number(Some(&word()?))?;
                    let filter = Some(word()?).filter(|f| f != "-").unwrap_or_default();
                    system.cgroups.insert((id, filter), word()?);
                }
                "gfp" => {
                    let name = word()?;
                    system.gfp.insert(name, number(Some(&word()?))? as u32);
                }
                "now" => system.now = number(words.next())? as i64,
                "boot" => system.boot = number(words.next())? as i64,
                "zone" => system.zone = Some(word()?),
                "clock" => system.clock = words.map(|w| number(Some(w))).collect::<Result<_, _>>()?,
                _ => return Err(format!("{line}: unknown")),
            }
        }
        Ok(system)
    }
}

impl eval::Host for System {
    fn read(&mut self, _: Space, _: u64, _: &mut [u8]) -> bool {
        false
    }

    fn stack(&mut self, user: bool) -> Vec<u64> {
        if user { self.user_stack.clone() } else { self.kernel_stack.clone() }
    }

    fn helper(&mut self, id: u32, _: &[u64], _: &mut Memory) -> Option<u64> {
        // Numbers of `enum bpf_func_id` in linux/bpf.h.
        const KTIME_GET_NS: u32 = 5;
        const GET_CURRENT_PID_TGID: u32 = 14;
        const GET_CURRENT_UID_GID: u32 = 15;
        const KTIME_GET_BOOT_NS: u32 = 125;
        const KTIME_GET_TAI_NS: u32 = 208;
        match id {
            KTIME_GET_NS | KTIME_GET_BOOT_NS | KTIME_GET_TAI_NS => Some(self.clock.pop_front().unwrap_or(0)),
            GET_CURRENT_PID_TGID => Some(77 << 32 | 77),
            GET_CURRENT_UID_GID => Some(1000 << 32 | 1000),
            _ => None,
        }
    }

    fn kfunc(&mut self, _: &str, _: &[u64], _: &mut Memory) -> Option<u64> {
        None
    }
}

impl Resolver for System {
    fn kernel_symbol(&mut self, address: u64) -> Option<KernelSymbol<'_>> {
        let (name, offset) = self.kernel_symbols.get(&address)?;
        Some(KernelSymbol { name: name.as_str().into(), offset: *offset })
    }

    fn user_symbol(&mut self, pid: u32, address: u64) -> Option<&UserSymbol> {
        self.user_symbols.get(&(pid, address))
    }

    fn user_name(&mut self, uid: u64) -> Option<String> {
        self.users.get(&uid).cloned()
    }

    fn cgroup_path(&mut self, id: u64, filter: &str) -> Option<String> {
        self.cgroups.get(&(id, filter.to_owned())).cloned()
    }

    fn now(&mut self) -> i64 {
        self.now
    }

    fn clock_offset(&mut self, clock: Clock) -> i64 {
        if clock == Clock::Tai { 0 } else { self.boot }
    }

    fn zone(&mut self) -> Zone {
        self.zone.as_deref().and_then(Zone::from_posix).unwrap_or_else(Zone::utc)
    }

    fn gfp_bit(&mut self, name: &str) -> Option<u32> {
        self.gfp.get(name).copied()
    }
}

/// The maps that a run left behind.
struct LeftMaps<'m> {
    module: &'m Module,
    left: Vec<eval::Elements>,
}

impl LeftMaps<'_> {
    fn per_cpu(&self, map: MapId) -> bool {
        matches!(
            self.module.maps[map].kind,
            MapKind::PercpuArray | MapKind::PercpuHash | MapKind::LruPercpuHash
        )
    }

    /// Values by key, those of all CPUs one behind the other.
    fn whole(&self, map: MapId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let index = self.module.maps.keys().position(|id| id == map).unwrap_or(usize::MAX);
        let per_cpu = self.per_cpu(map);
        let size = (self.module.maps[map].value_size as usize).next_multiple_of(if per_cpu { 8 } else { 1 });
        let mut out: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let zeros = vec![0; size * if per_cpu { CPUS } else { 1 }];
        if matches!(self.module.maps[map].kind, MapKind::Array | MapKind::PercpuArray) {
            for n in 0..self.module.maps[map].max_entries {
                out.insert(n.to_le_bytes().to_vec(), zeros.clone());
            }
        }
        for ((key, cpu), value) in self.left.get(index).into_iter().flatten() {
            let values = out.entry(key.clone()).or_insert_with(|| zeros.clone());
            let at = if per_cpu { *cpu as usize * size } else { 0 };
            values[at..at + value.len()].copy_from_slice(value);
        }
        out
    }

    /// Removes all elements, or sets their values to zero.
    fn reset(&mut self, plan: &Plan, map: usize, remove: bool) {
        let plan = &plan.maps[map];
        let index = self.module.maps.keys().position(|id| id == plan.id).unwrap_or(usize::MAX);
        let Some(elements) = self.left.get_mut(index) else { return };
        let keeps = matches!(plan.storage, Storage::Single { .. });
        if remove && !keeps {
            elements.clear();
        }
        for value in elements.values_mut() {
            let len = if keeps && !remove { value.len() - 8 } else { value.len() };
            value[..len].fill(0);
        }
    }
}

impl Maps for LeftMaps<'_> {
    fn possible_cpus(&self) -> usize {
        CPUS
    }

    fn elements(&mut self, map: MapId, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), MapError> {
        self.whole(map).iter().for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> Result<bool, MapError> {
        let found = self.whole(map).remove(key);
        value.clear();
        value.extend_from_slice(found.as_deref().unwrap_or(&[]));
        Ok(found.is_some())
    }
}

#[derive(Default)]
struct Collected {
    output: Vec<u8>,
    messages: Vec<u8>,
}

impl Sink for Collected {
    fn output(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn message(&mut self, text: &[u8]) {
        self.messages.extend_from_slice(text);
    }
}

/// A script, compiled.
struct Compiled {
    env: RecordedEnv,
    sources: SourceMap,
    module: Module,
    plan: Plan,
    config: skep_trace::config::Config,
}

fn compile(case: &Case) -> Result<Compiled, String> {
    let env = RecordedEnv::read(KERNEL, case.section("env").unwrap_or(""))?;
    let mut sources = SourceMap::default();
    let file = sources.add_file("stdin", case.required("script")?.trim_end());
    let parsing = ParseOptions { have_btf: true, ..ParseOptions::default() };
    let (script, mut messages) = parse(&mut sources, file, &parsing, &mut NoFiles);
    let library: Vec<_> = stdlib::FILES.iter().map(|s| (s.name, s.text)).collect();
    let (script, more) = expand(script, &Library::new(&library), &mut sources);
    messages.extend(more);
    let options = Options { unsafe_allowed: true, ..Options::default() };
    let (program, more) = sema::analyse(&script, &sources, &env, &options);
    messages.extend(more);
    let options = LowerOptions {
        report_failures: case.attribute("failures") == Some("yes"),
        ..LowerOptions::default()
    };
    let (module, plan, more) = lower(&program, &sources, &env, &options);
    messages.extend(more);
    if diag::has_errors(&messages) {
        return Err(diag::render_all(&messages, &sources, false));
    }
    Ok(Compiled { env, sources, module, plan, config: program.config.clone() })
}

fn evaluate(compiled: &Compiled, case: &Case, system: &mut System) -> Result<Snapshot, String> {
    let mut machine = Machine::new(&compiled.module, &compiled.env, system);
    machine.fuel = 10_000_000;
    for cpu in case.attribute("cpus").unwrap_or("0").split_whitespace() {
        machine.cpu = cpu.parse().map_err(|e| format!("{cpu}: {e}"))?;
        for program in 0..compiled.module.progs.len() {
            machine.run_prog(program, &[0; 64], &[]).map_err(|e| e.to_string())?;
        }
    }
    Ok(machine.snapshot(usize::MAX, usize::MAX))
}

fn print(
    case: &Case,
    compiled: &Compiled,
    snapshot: &Snapshot,
    system: &mut System,
    format: OutputFormat,
) -> Result<Collected, String> {
    let mut maps = LeftMaps { module: &compiled.module, left: snapshot.maps.clone() };
    let mut sink = Collected::default();
    let settings = Settings {
        quiet: case.attribute("quiet") == Some("yes"),
        color: case.attribute("color") == Some("yes"),
        ..Settings::new(&compiled.config, format)
    };
    let mut printer = Printer::new(&compiled.plan, &compiled.sources, settings);
    for event in &snapshot.events {
        let mut host = Host { sink: &mut sink, maps: &mut maps, names: system };
        let effect = printer.record(&event.bytes, &mut host);
        let told = match effect {
            Effect::None => continue,
            Effect::Clear(map) => {
                maps.reset(&compiled.plan, map, true);
                continue;
            }
            Effect::Zero(map) => {
                maps.reset(&compiled.plan, map, false);
                continue;
            }
            Effect::Run(command) => format!("run {}", String::from_utf8_lossy(&command)),
            Effect::Cat(path) => format!("cat {}", String::from_utf8_lossy(&path)),
            other => format!("{other:?}"),
        };
        sink.message(format!("> {told}\n").as_bytes());
    }
    for line in case.section("report").unwrap_or("").lines() {
        let mut host = Host { sink: &mut sink, maps: &mut maps, names: system };
        report(&mut printer, line, &mut host)?;
    }
    let mut host = Host { sink: &mut sink, maps: &mut maps, names: system };
    printer.finish(&mut host);
    if printer.malformed() > 0 {
        sink.message(format!("> {} malformed\n", printer.malformed()).as_bytes());
    }
    Ok(sink)
}

/// What a session tells beside the records.
fn report(printer: &mut Printer<'_>, line: &str, host: &mut Host<'_>) -> Result<(), String> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<_> = rest.split_whitespace().collect();
    let count = || number(words.first().copied());
    let unescaped = |text: &str| text.replace("\\n", "\n");
    match name {
        "attached" => printer.attached(count()? as usize, host),
        "lost" => printer.lost(count()?, host),
        "total-lost" => printer.total_lost(count()?, host),
        "command" => printer.command_output(unescaped(rest).as_bytes(), host),
        "file" => printer.file(unescaped(rest).as_bytes(), host),
        "record" => {
            let byte = |word: &&str| u8::from_str_radix(word, 16).map_err(|e| e.to_string());
            let record = words.iter().map(byte).collect::<Result<Vec<_>, _>>()?;
            printer.record(&record, host);
        }
        "tests" => printer.tests_begin(count()? as usize, host),
        "test" => {
            let &[name, ns, passed, ..] = words.as_slice() else { return Err(format!("{line}: too short")) };
            let output = unescaped(&words[3..].join(" "));
            printer.test_begin(name, host);
            let duration = Duration::from_nanos(number(Some(ns))?);
            let result = TestResult { name, duration, passed: passed == "pass", output: output.as_bytes() };
            printer.test_end(&result, host);
        }
        "tests-end" => printer.tests_end(count()? as usize, &words[1..], host),
        "benchmarks" => printer.benchmarks_begin(host),
        "benchmark" => {
            let numbers = (number(words.get(1).copied())?, number(words.get(2).copied())?);
            printer.benchmark(words.first().copied().unwrap_or_default(), numbers.0, numbers.1, host);
        }
        _ => return Err(format!("{line}: unknown")),
    }
    Ok(())
}

fn run(case: &Case) -> Outcome {
    let compiled = compile(case)?;
    let mut system = System::read(case.section("system").unwrap_or(""))?;
    let snapshot = evaluate(&compiled, case, &mut system)?;
    let text = print(case, &compiled, &snapshot, &mut system, OutputFormat::Text)?;
    let json = print(case, &compiled, &snapshot, &mut system, OutputFormat::Json)?;
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\x1b', "^[");
    let mut out = vec![("text", show(&text.output)), ("json", show(&json.output))];
    if !text.messages.is_empty() || case.section("messages").is_some() {
        out.push(("messages", show(&text.messages)));
    }
    Ok(out)
}

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/output", run)
}
