//! From a script's text to programs, stage by stage. Messages are kept until a stage has errors or all is done.

use super::dump;
use super::source::Source;
use crate::cli::trace::{Action, Stage, TraceArgs};
use crate::console::{self, FAILED, Failure};
use skep_ir::passes;
use skep_ir::spec::Collection;
use skep_ir::{CompileOptions, Diagnostic, Module, Severity, SourceMap, diag};
use skep_trace::config::Config;
use skep_trace::env::Env;
use skep_trace::expand::{Library, expand};
use skep_trace::hir;
use skep_trace::lower::{LowerOptions, lower};
use skep_trace::plan::Plan;
use skep_trace::sema::{self, Mode, Options, ProbeFilter};
use skep_trace::stdlib;
use skep_trace::syntax::{self, LoadError, Loader, ParseOptions, ast};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a script is compiled with.
pub(crate) struct Front<'a> {
    args: &'a TraceArgs,
    env: &'a dyn Env,
    /// Parameters in front of and behind `--`.
    params: Vec<String>,
    /// Options behind `--`.
    named: Vec<(String, Option<String>)>,
    /// Texts that messages point into.
    pub(crate) sources: SourceMap,
    messages: Vec<Diagnostic>,
    /// When the stage that runs now began.
    began: Instant,
    /// What each stage took.
    took: Vec<(&'static str, Duration)>,
}

/// A script that is ready to be loaded.
pub(crate) struct Compiled {
    /// The analysed script.
    pub(crate) program: hir::Program,
    /// What output needs to know.
    pub(crate) plan: Plan,
    /// Programs and maps.
    pub(crate) collection: Collection,
}

/// Files as the live system has them.
struct Files<'a>(&'a dyn Env);

impl Loader for Files<'_> {
    fn read(&mut self, path: &str) -> Result<String, LoadError> {
        self.0.read_source(path).map_err(|why| match Path::new(path).exists() {
            true => LoadError::Refused(why),
            false => LoadError::Missing,
        })
    }

    fn list(&mut self, path: &str) -> Result<Option<Vec<String>>, LoadError> {
        Ok(self.0.list_folder(path))
    }
}

impl<'a> Front<'a> {
    /// Nothing is read yet.
    pub(crate) fn new(args: &'a TraceArgs, source: &Source, env: &'a dyn Env) -> Front<'a> {
        let (named, more) = sema::split(&args.rest);
        let params = source.params.iter().cloned().chain(more).collect();
        let (sources, messages, took) = (SourceMap::default(), Vec::new(), Vec::new());
        Front { args, env, params, named, sources, messages, began: Instant::now(), took }
    }

    /// The script's tree, macro calls replaced.
    ///
    /// # Errors
    /// The text is no script; that has been reported. So it is with the errors of the other stages.
    pub(crate) fn tree(&mut self, source: &Source) -> Result<ast::Script, Failure> {
        let file = self.sources.add_file(source.name.as_str(), source.text.as_str());
        let options = ParseOptions {
            params: self.params.clone(),
            have_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            include_dirs: self.args.include_dirs.clone(),
            include_files: self.args.include_files.clone(),
        };
        self.began = Instant::now();
        let (script, messages) = syntax::parse(&mut self.sources, file, &options, &mut Files(self.env));
        self.lap("parse");
        self.add(messages)?;
        self.dump(Stage::Ast, "ast", || syntax::dump::dump(&script, None))?;
        let files: Vec<_> = stdlib::FILES.iter().map(|f| (f.name, f.text)).collect();
        self.began = Instant::now();
        let (script, messages) = expand(script, &Library::new(&files), &mut self.sources);
        self.lap("expand");
        self.add(messages)?;
        Ok(script)
    }

    /// The script with all names resolved. `child` is the process that runs the command of `-c`.
    pub(crate) fn analyse(
        &mut self,
        script: &ast::Script,
        child: Option<u32>,
    ) -> Result<hir::Program, Failure> {
        let options = self.options(child)?;
        self.began = Instant::now();
        let (program, messages) = sema::analyse(script, &self.sources, self.env, &options);
        self.lap("analyse");
        let asks_for_help = self.named.iter().any(|(name, _)| name == "help");
        if asks_for_help && !program.options.iter().any(|o| o.name == "help") {
            console::say(&sema::help(&program.options));
            return Err(Failure::silent(FAILED));
        }
        self.add(messages)?;
        self.dump(Stage::Types, "types", || sema::dump::dump(&program))?;
        Ok(program)
    }

    /// What analysis and listing need to know from the command line.
    pub(crate) fn options(&self, child: Option<u32>) -> Result<Options, Failure> {
        Ok(Options {
            params: self.params.clone(),
            named: self.named.clone(),
            pid: self.args.pid,
            child,
            unsafe_allowed: self.args.unsafe_allowed,
            mode: match self.args.action {
                Action::Test => Mode::Test,
                Action::Bench => Mode::Bench,
                Action::List => Mode::List,
                _ => Mode::Run,
            },
            probe_filter: self.args.probe_filter.as_deref().map(filter).transpose()?,
            no_warnings: self.args.no_warnings,
        })
    }

    /// Programs and maps for the kernel, and the plan for their output.
    pub(crate) fn compile(&mut self, program: hir::Program) -> Result<Compiled, Failure> {
        let options = LowerOptions {
            report_failures: self.args.report_failures,
            no_warnings: self.args.no_warnings,
            pid: self.args.pid,
            data_ring_bytes: ring_bytes(&program, self.env),
            ..LowerOptions::default()
        };
        self.began = Instant::now();
        let (module, plan, messages) = lower(&program, &self.sources, self.env, &options);
        self.lap("lower");
        self.add(messages)?;
        self.dump(Stage::Codegen, "codegen", || dump::module(&module))?;
        self.began = Instant::now();
        let collection = self.generate(module, &program)?;
        self.lap("passes and code");
        self.dump(Stage::Libbpf, "libbpf", || dump::collection(&collection))?;
        Ok(Compiled { program, plan, collection })
    }

    fn generate(&mut self, module: Module, program: &hir::Program) -> Result<Collection, Failure> {
        // Unless the script asks for less, the compiler knows better what the stack can take.
        let mut passes = passes::Options::default();
        if program.config.on_stack_limit != Config::default().on_stack_limit {
            passes.stack_object_limit = program.config.on_stack_limit.try_into().unwrap_or(u32::MAX);
        }
        let options = CompileOptions { passes, ..CompileOptions::default() };
        let result = if self.wants(Stage::CodegenOpt) {
            let mut last = String::new();
            let mut watch = |_: &str, module: &Module| last = dump::module(module);
            let result = skep_ir::compile::compile_watched(module, self.env, options, &mut watch);
            self.dump(Stage::CodegenOpt, "codegen-opt", || last)?;
            result
        } else {
            skep_ir::compile(module, self.env, options)
        };
        match result {
            Ok(compiled) => {
                self.add(compiled.warnings)?;
                Ok(compiled.collection)
            }
            Err(messages) => {
                self.add(messages)?;
                // There is an error among the messages of a compilation that failed.
                Err(Failure::silent(FAILED))
            }
        }
    }

    /// Ends a stage.
    fn lap(&mut self, stage: &'static str) {
        self.took.push((stage, self.began.elapsed()));
    }

    /// Writes what the stages took where `--timing` says.
    pub(crate) fn write_timing(&self) -> Result<(), Failure> {
        let Some(path) = &self.args.timing else { return Ok(()) };
        let stage = |(name, took): &(&str, Duration)| {
            format!("{{\"name\": \"{name}\", \"ns\": {}}}", took.as_nanos())
        };
        let stages: Vec<String> = self.took.iter().map(stage).collect();
        let text = format!("{{\"stages\": [{}]}}\n", stages.join(", "));
        let failed =
            |e| Failure::new(format!("failed to write timing '{}': {}", path.display(), console::reason(&e)));
        std::fs::write(path, text).map_err(failed)
    }

    /// Takes the messages of a stage; reports all so far if one of them is an error.
    fn add(&mut self, messages: Vec<Diagnostic>) -> Result<(), Failure> {
        self.messages.extend(messages);
        if diag::has_errors(&self.messages) {
            self.report();
            return Err(Failure::silent(FAILED));
        }
        Ok(())
    }

    /// Reports the messages that have not been.
    pub(crate) fn report(&mut self) {
        if self.args.no_warnings {
            self.messages.retain(|m| m.severity == Severity::Error);
        }
        console::report(&std::mem::take(&mut self.messages), &self.sources);
    }

    fn wants(&self, stage: Stage) -> bool {
        self.args.dump.contains(&stage)
    }

    fn dump(&self, stage: Stage, name: &str, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.wants(stage) {
            return Ok(());
        }
        console::print(&dump::section(name, &text()))
    }
}

/// The filter of `--probe-filter`.
fn filter(pattern: &str) -> Result<ProbeFilter, Failure> {
    let regex = regex::bytes::RegexBuilder::new(pattern).unicode(false).build();
    let regex = regex.map_err(|e| Failure::new(format!("Invalid probe filter: {e}")))?;
    Ok(Rc::new(move |name: &str| regex.is_match(name.as_bytes())))
}

/// Size of the data ring, if the script says it.
fn ring_bytes(program: &hir::Program, env: &dyn Env) -> Option<u32> {
    let pages = program.config.perf_rb_pages;
    let bytes = pages.saturating_mul(u64::from(env.page_size()));
    (pages > 0).then(|| bytes.try_into().unwrap_or(u32::MAX))
}
