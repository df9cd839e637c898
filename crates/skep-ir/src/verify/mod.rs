//! The checker: whether a module keeps the rules that passes and code generation rely on.
//!
//! Most rules are the kernel verifier's, stated on the IR, where a breach can be told with the name of the
//! instruction and not with a register number. Front ends run [`check`] on what they build, tests between any
//! two passes. Its only assumption is that ids of types are those of the module's table.

mod calls;
mod graph;
mod init;
mod memory;
mod module;
mod operands;
mod records;
mod results;

pub(crate) use module::may_sleep;

use crate::cfg::Cfg;
use crate::func::{Block, Def, Func, Inst, Value};
use crate::helpers::helper;
use crate::inst::{AtomicOp, BinOp, Fact, InstKind};
use crate::kernel::{Feature, KernelInfo};
use crate::module::Module;
use crate::source::Loc;
use crate::text;
use std::fmt;

/// How much is asked of a module.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// What holds between any two passes.
    Normal,
    /// What code generation needs on top: low-level instructions alone, no unreachable blocks, no reads of
    /// stack bytes that were not written, aligned accesses to the stack.
    Strict,
}

/// What can be wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// An id refers to nothing, or a definition and its place contradict each other.
    Reference,
    /// A block without an end, with something behind its end, or twice in the layout.
    Block,
    /// A value is used where it need not have been computed.
    Dominance,
    /// A jump does not give a block what its parameters want, provenance included.
    BlockArgs,
    /// An operand has the wrong type.
    Operand,
    /// A result has the wrong type, or is missing, or should not be there.
    Result,
    /// A pointer that may be null is used before it is tested.
    Nullable,
    /// Arithmetic on a pointer that allows none.
    Arithmetic,
    /// An access that its pointer does not allow: outside of the object, read-only, unaligned on the stack.
    Access,
    /// A record that is not submitted or discarded exactly once.
    Record,
    /// A jump backwards to a block that is no loop head, or into the middle of a loop.
    Loop,
    /// More than five arguments.
    Arguments,
    /// A closure used as something else, or something else used as a closure.
    Closure,
    /// A call that does not fit its function, or that leads back to itself.
    Call,
    /// An operation that sleeps in a program that may not.
    Sleepable,
    /// A program whose function cannot be one.
    Program,
    /// A block that nothing reaches.
    Unreachable,
    /// An instruction that should have been lowered.
    LowLevel,
    /// Stack bytes are read that need not have been written.
    Uninitialised,
    /// The kernel lacks what an instruction needs.
    Feature,
}

impl Rule {
    /// Short name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Reference => "reference",
            Rule::Block => "block",
            Rule::Dominance => "dominance",
            Rule::BlockArgs => "block-args",
            Rule::Operand => "operand",
            Rule::Result => "result",
            Rule::Nullable => "nullable",
            Rule::Arithmetic => "arithmetic",
            Rule::Access => "access",
            Rule::Record => "record",
            Rule::Loop => "loop",
            Rule::Arguments => "arguments",
            Rule::Closure => "closure",
            Rule::Call => "call",
            Rule::Sleepable => "sleepable",
            Rule::Program => "program",
            Rule::Unreachable => "unreachable",
            Rule::LowLevel => "low-level",
            Rule::Uninitialised => "uninitialised",
            Rule::Feature => "feature",
        }
    }
}

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The function, if it is in one.
    pub func: Option<String>,
    /// The instruction or block as the text form shows it, if it is at one.
    pub place: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What the user wrote that led to it.
    pub loc: Option<Loc>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(func) = &self.func {
            write!(f, "{func}: ")?;
        }
        if let Some(place) = &self.place {
            write!(f, "`{place}`: ")?;
        }
        write!(f, "{} [{}]", self.message, self.rule.name())
    }
}

/// Checks a module. In strict mode a kernel, if one is given, must have what the instructions need; before
/// lowering that cannot be told.
#[must_use]
pub fn check(module: &Module, level: Level, kernel: Option<&dyn KernelInfo>) -> Vec<Violation> {
    let mut out = module::check(module);
    if !out.is_empty() {
        // Functions are only looked at when their references into the module lead somewhere.
        return out;
    }
    let sleeps = may_sleep(module);
    for (id, func) in &module.funcs {
        let mut checker = Checker { module, func, cfg: Cfg::default(), level, out: &mut out };
        if !graph::references(&mut checker) {
            continue;
        }
        checker.cfg = Cfg::new(func);
        graph::check(&mut checker);
        for &block in &func.layout {
            for &inst in &func.blocks[block].insts {
                operands::check(&mut checker, inst);
                results::check(&mut checker, inst);
                calls::check(&mut checker, inst, sleeps[id]);
                if level == Level::Strict {
                    low_level(&mut checker, inst, kernel);
                }
            }
        }
        memory::check(&mut checker);
        records::check(&mut checker);
        if level == Level::Strict {
            init::check(&mut checker);
        }
    }
    out
}

fn low_level(c: &mut Checker<'_>, inst: Inst, kernel: Option<&dyn KernelInfo>) {
    let data = &c.func.insts[inst];
    if !data.kind.is_low_level() {
        c.at(Rule::LowLevel, inst, "code generation does not know this instruction");
        return;
    }
    let needed = match &data.kind {
        InstKind::Bin(BinOp::SDiv | BinOp::SRem, ..) => Some(Feature::CpuV4),
        InstKind::Atomic { op: AtomicOp::Add, .. } if data.result.is_none() => None,
        InstKind::Atomic { .. } | InstKind::CmpXchg { .. } => Some(Feature::AtomicFetch),
        InstKind::Call(..) => Some(Feature::Subprograms),
        InstKind::Kfunc(..) => Some(Feature::Kfuncs),
        InstKind::Helper(id, _) => helper(*id).and_then(|h| h.feature),
        _ => None,
    };
    if let (Some(feature), Some(kernel)) = (needed, kernel)
        && !kernel.has(feature)
    {
        c.at(Rule::Feature, inst, format!("the kernel has no {} ({})", feature.name(), feature.since()));
    }
}

/// One function under check.
struct Checker<'m> {
    module: &'m Module,
    func: &'m Func,
    cfg: Cfg,
    level: Level,
    out: &'m mut Vec<Violation>,
}

impl Checker<'_> {
    fn report(&mut self, rule: Rule, place: Option<String>, message: String, loc: Option<Loc>) {
        let func = Some(self.func.name.clone());
        self.out.push(Violation { rule, func, place, message, loc });
    }

    /// A breach at an instruction.
    fn at(&mut self, rule: Rule, inst: Inst, message: impl Into<String>) {
        let place = Some(text::inst_text(self.module, self.func, inst));
        self.report(rule, place, message.into(), self.func.insts[inst].loc);
    }

    /// A breach at a block.
    fn at_block(&mut self, rule: Rule, block: Block, message: impl Into<String>) {
        let place = Some(text::block_text(self.func, block));
        self.report(rule, place, message.into(), self.func.loc);
    }

    /// The instruction that makes a value, unless it is a parameter.
    fn def(&self, value: Value) -> Option<&InstKind> {
        match self.func.values[value].def {
            Def::Inst(inst) => Some(&self.func.insts[inst].kind),
            Def::Param(..) => None,
        }
    }

    /// The value that a chain of refinements begins with.
    fn unrefined(&self, mut value: Value) -> Value {
        while let Some(InstKind::Refine(of, _)) = self.def(value) {
            value = *of;
        }
        value
    }

    /// The root of a pointer and its distance in bytes, through constant additions and refinements. `None` for
    /// the distance where a variable was added.
    fn root(&self, mut value: Value) -> Root {
        let mut root = Root { value, off: Some(0), packet: 0 };
        loop {
            match self.def(value) {
                Some(InstKind::Refine(of, fact)) => {
                    // What was checked is known of the pointer as it was then: before what was added to it.
                    if let (Fact::PacketRange(n), Some(off)) = (fact, root.off) {
                        let reach = i64::from(*n) - off;
                        root.packet = root.packet.max(reach);
                    }
                    value = *of;
                }
                Some(InstKind::PtrAdd(of, off, None)) => {
                    root.off = root.off.and_then(|o| o.checked_add(i64::from(*off)));
                    value = *of;
                }
                Some(InstKind::PtrAdd(of, _, Some(_))) => {
                    root.off = None;
                    value = *of;
                }
                _ => return Root { value, ..root },
            }
        }
    }
}

/// See [`Checker::root`].
#[derive(Copy, Clone, Debug)]
struct Root {
    value: Value,
    /// Bytes from the root to the pointer.
    off: Option<i64>,
    /// Packet bytes that are known to follow the pointer.
    packet: i64,
}
