//! A script after analysis: macros expanded, names resolved, every expression typed, every implicit
//! conversion written out as a cast. What is left to do is to choose code for it.
//!
//! Where attach points of one probe see different types (`args`), the probe has been copied, so that each
//! [`Probe`] here has one set of types; attach points that can share code share a [`Probe`].

use crate::plan;
use crate::types::{AggTy, StackTy, StructId, Structs, Type};
use cranelift_entity::{PrimaryMap, entity_impl};
use skep_ir::spec::Attach;
use skep_ir::{Loc, ProgKind};

/// A scratch variable of a [`Body`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(u32);
entity_impl!(LocalId, "local");

/// A map of a [`Program`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapRef(u32);
entity_impl!(MapRef, "m");

/// An event of a [`Program`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(u32);
entity_impl!(EventId, "event");

/// A subprogram of a [`Program`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubprogId(u32);
entity_impl!(SubprogId, "subprog");

/// An analysed script.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Structs and enumerations that types refer to.
    pub structs: Structs,
    /// Maps in order of their names, which is the order of [`plan::Plan::maps`].
    pub maps: PrimaryMap<MapRef, Map>,
    /// Events that [`StmtKind::Emit`] makes. Lowering adds those for runtime errors, works out where arguments
    /// stand in the records, and replaces numbers of maps, which are those of [`MapRef`] here, by places in
    /// [`plan::Plan::maps`].
    pub events: PrimaryMap<EventId, plan::Event>,
    /// Subprograms.
    pub subprogs: PrimaryMap<SubprogId, Subprog>,
    /// Probes in source order.
    pub probes: Vec<Probe>,
    /// Settings that matter below.
    pub config: crate::config::Config,
    /// Formats of timestamps.
    pub time_formats: Vec<String>,
    /// Filters of cgroup paths.
    pub cgroup_filters: Vec<String>,
    /// Options that the script asks for with `getopt`, in order of their names.
    pub options: Vec<plan::ScriptOption>,
    /// Scalar map whose value stands for the clock inside time series; a hook for tests.
    pub series_clock: Option<MapRef>,
}

/// A map of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Name without `@`.
    pub name: String,
    /// Key; `None` for a scalar map.
    pub key: Option<Type>,
    /// Value.
    pub value: Type,
    /// Kind and size if the script declares them.
    pub declared: Option<(DeclaredKind, u32)>,
    /// First use or declaration.
    pub loc: Loc,
}

/// Kinds of maps that a script may declare.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DeclaredKind {
    /// `hash`
    Hash,
    /// `lruhash`
    LruHash,
    /// `percpuhash`
    PercpuHash,
    /// `percpulruhash`
    PercpuLruHash,
}

/// A scratch variable, loop variable or temporary.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Name without `$`.
    pub name: String,
    /// Final type.
    pub ty: Type,
    /// Declaration.
    pub loc: Loc,
}

/// Code with its variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// Variables; all start as zeros.
    pub locals: PrimaryMap<LocalId, Local>,
    /// Statements.
    pub stmts: Vec<Stmt>,
}

/// A subprogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Subprog {
    /// Name.
    pub name: String,
    /// Parameters, which are the first locals of the body.
    pub params: u32,
    /// Result.
    pub ret: Type,
    /// Code.
    pub body: Body,
    /// Definition.
    pub loc: Loc,
}

/// A program and the places where it is attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Name that the kernel and load errors show, e.g. `begin_1`.
    pub name: String,
    /// What the kernel runs it as.
    pub kind: ProgKind,
    /// Provider as `probetype` prints it.
    pub provider: Provider,
    /// Places, all of which share the code. Full name and what the loader attaches to.
    pub targets: Vec<(String, Attach)>,
    /// The predicate, tested before the body.
    pub predicate: Option<Expr>,
    /// Code.
    pub body: Body,
    /// The probe.
    pub loc: Loc,
}

/// Kinds of probes as the language has them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the language's")]
pub enum Provider {
    Begin,
    End,
    Signal,
    Test,
    Bench,
    Kprobe,
    Kretprobe,
    Fentry,
    Fexit,
    Tracepoint,
    RawTracepoint,
    Uprobe,
    Uretprobe,
    Usdt,
    Profile,
    Interval,
    Software,
    Hardware,
    Watchpoint,
    Iter,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Its place.
    pub loc: Loc,
}

/// See [`Stmt`].
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// Evaluates and forgets.
    Expr(Expr),
    /// Assigns a variable; the value has its type.
    SetLocal(LocalId, Expr),
    /// Stores an element; key and value have the map's types.
    SetMap {
        /// Map.
        map: MapRef,
        /// Key; `None` for scalar maps.
        key: Option<Expr>,
        /// Value.
        value: Expr,
    },
    /// `@m op= e` on integers and pointers, atomically where the operator allows; `e` is already scaled.
    UpdateMap {
        /// Map.
        map: MapRef,
        /// Key.
        key: Option<Expr>,
        /// Operator.
        op: BinOp,
        /// Operand, of the map's value type or `int64` for pointers.
        value: Expr,
    },
    /// Collects a number; the map's value type says how.
    Collect {
        /// Map.
        map: MapRef,
        /// Key.
        key: Option<Expr>,
        /// The number as `int64` or `uint64`; none for a count.
        value: Option<Expr>,
    },
    /// Sends a record; arguments have the types and order of the event's. With `exit`, the only argument is
    /// the code and a return follows. With `join`, the only argument is the pointer to the array of strings.
    Emit(EventId, Vec<Expr>),
    /// Chooses.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Runs over the elements of a map; the variable is a tuple of key and value.
    ForMap {
        /// Map.
        map: MapRef,
        /// Variable.
        var: LocalId,
        /// Body.
        body: Vec<Stmt>,
    },
    /// Runs over numbers.
    ForRange {
        /// Variable.
        var: LocalId,
        /// First number, of the variable's type.
        start: Expr,
        /// One past the last one.
        end: Expr,
        /// Body.
        body: Vec<Stmt>,
    },
    /// Runs while a condition holds.
    While(Expr, Vec<Stmt>),
    /// Leaves the innermost loop.
    Break,
    /// Goes to the next round of the innermost loop.
    Continue,
    /// Leaves the probe or subprogram.
    Return(Option<Expr>),
    /// Statements of a block of its own (an unrolled round, a macro's body).
    Block(Vec<Stmt>),
}

/// Arithmetic. The operands have the type of the result, but for shifts, whose amount is any integer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the usual names")]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Comparison.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the usual names")]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Its place.
    pub loc: Loc,
}

/// See [`Expr`].
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// An integer, bool, enum or pointer constant; the bits of a value of the type.
    Int(u64),
    /// A string constant of at most the type's capacity less one byte.
    Str(Vec<u8>),
    /// A variable.
    Local(LocalId),
    /// `&$x`
    LocalAddr(LocalId),
    /// An element; a missing one is zeros. If the map collects, the type is an integer and the value is that
    /// over all CPUs, or the type is the aggregate's for `print(@m[k])`.
    Map(MapRef, Option<Box<Expr>>),
    /// `&@m[k]`; null if missing.
    MapAddr(MapRef, Option<Box<Expr>>),
    /// `-e`
    Neg(Box<Expr>),
    /// `~e`
    BitNot(Box<Expr>),
    /// `!e` of a bool
    Not(Box<Expr>),
    /// Arithmetic; also pointer plus or minus an `int64` number of bytes.
    Binary(BinOp, Box<Expr>, Box<Expr>),
    /// Comparison of two operands of one type (strings may differ in capacity). The result is a bool.
    Compare(CmpOp, Box<Expr>, Box<Expr>),
    /// `a && b` of bools
    And(Box<Expr>, Box<Expr>),
    /// `a || b` of bools
    Or(Box<Expr>, Box<Expr>),
    /// `c ? a : b`; both arms have the type of the whole. With type none it is a choice between effects.
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Conversion to the expression's type: integers and bools by value, integers and arrays by bytes,
    /// strings to a larger capacity, tuples element by element.
    Cast(Box<Expr>),
    /// Elements in order of evaluation and of layout.
    Tuple(Vec<Expr>),
    /// Elements in order of evaluation, each with its place in the type.
    Record(Vec<(u32, Expr)>),
    /// Element of a tuple or record.
    Element(Box<Expr>, u32),
    /// Field of a struct, by its place in [`crate::types::StructDef::fields`]. The base is of type struct: a
    /// [`ExprKind::Deref`], [`ExprKind::Args`], another field, or a value.
    Field(Box<Expr>, StructId, u32),
    /// What a pointer points to.
    Deref(Box<Expr>),
    /// Element of an array or string by number. Out of range gives 0 and a runtime warning.
    Index(Box<Expr>, Box<Expr>),
    /// `++` and `--` on a variable or element; the step is scaled for pointers.
    IncDec {
        /// [`ExprKind::Local`] or [`ExprKind::Map`].
        target: Box<Expr>,
        /// Added; negative for `--`.
        step: i64,
        /// The value is the new one.
        prefix: bool,
    },
    /// Statements, then a value.
    Block(Vec<Stmt>, Box<Expr>),
    /// The argument list, of type struct.
    Args,
    /// The context as a pointer.
    Ctx,
    /// Something about the current task, CPU or time.
    Builtin(Builtin),
    /// A function that runs in the kernel.
    Call(Func, Vec<Expr>),
    /// A subprogram.
    Subprog(SubprogId, Vec<Expr>),
}

/// See [`ExprKind::Builtin`]. Types follow from the name.
#[derive(Clone, Debug, PartialEq)]
pub enum Builtin {
    /// Process id, in the script's own PID namespace unless `init`.
    Pid {
        /// In the first namespace.
        init: bool,
    },
    /// Thread id.
    Tid {
        /// In the first namespace.
        init: bool,
    },
    /// User id.
    Uid,
    /// Group id.
    Gid,
    /// Name of the thread.
    Comm,
    /// CPU number.
    Cpu,
    /// NUMA node.
    NumaNode,
    /// Random number.
    Rand,
    /// Id of the current cgroup.
    Cgroup,
    /// Pointer to the current task.
    Curtask,
    /// Clock in nanoseconds.
    Nsecs(NsecsClock),
    /// Nanoseconds since the start of the run.
    Elapsed,
    /// Timer ticks.
    Jiffies,
    /// Argument of a function by number.
    Arg(u32),
    /// Result of a function.
    Retval,
    /// A register by its offset in the saved registers.
    Reg(u32),
    /// Address of the probed function.
    FuncAddr,
    /// Kernel stack.
    KStack(StackTy),
    /// User stack.
    UStack(StackTy),
    /// 1 when the sampled context is user mode.
    Usermode,
}

/// Clocks of `nsecs`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NsecsClock {
    /// Since boot.
    Boot,
    /// Since boot without suspend.
    Monotonic,
    /// International atomic time.
    Tai,
    /// The same, computed from the boot clock.
    SwTai,
}

/// Functions that run in the kernel. Arguments are in the order of the language unless said.
#[derive(Clone, Debug, PartialEq)]
pub enum Func {
    /// `str(p[, n])`: arguments pointer or string value, and optional length (`uint64`) without the NUL; the
    /// type's capacity bounds it.
    Str,
    /// `buf(p[, n])`: likewise; the pointer may be an array or string value.
    Buf,
    /// `ksym(a)`
    KSym,
    /// `usym(a)`
    USym,
    /// `ntop(family, x)`: `x` an integer, array of 4 or 16 bytes, or pointer to such; family 0 by size.
    Ntop,
    /// `macaddr(p)`
    Macaddr,
    /// `bswap(n)`
    Bswap,
    /// `strlen(s)`
    Strlen,
    /// `strncmp(a, b, n)`: 0 if equal
    Strncmp(u32),
    /// `memcmp(a, b, n)`: 0 if equal
    Memcmp(u32),
    /// `strstr(h, n)`: place or -1
    Strstr,
    /// `str_concat(a, b)`
    StrConcat,
    /// `signal(n)` to the process, or to the thread
    Signal {
        /// To the thread.
        thread: bool,
    },
    /// `override(rc)`
    Override,
    /// `write_user(dst, src, len)`
    WriteUser,
    /// `path(p)`
    Path,
    /// `skboutput(file, skb, len, off)`: the event; arguments skb, len, offset
    SkbOutput(EventId),
    /// `socket_cookie(sk)`
    SocketCookie,
    /// `cgroup_path(id)`: index of the filter
    CgroupPath(u32),
    /// `strftime(fmt, ns)`: index of the format, clock
    Strftime(u32, plan::Clock),
    /// A string from a table by number: error texts, signal names, system call names.
    Table(StringTable),
    /// `delete(@m, k)`: whether it was there
    Delete(MapRef),
    /// `has_key(@m, k)`
    HasKey(MapRef),
    /// `len(@m)`
    MapLen(MapRef),
    /// `len(stack)`
    StackLen,
    /// `comm(pid)`
    CommOf,
    /// `debugf(fmt, ...)`: the format, already checked
    Debugf(String),
    /// `percpu_kaddr(name, cpu)`: arguments the CPU if given; the symbol
    PercpuKaddr(String),
}

/// See [`Func::Table`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StringTable {
    /// `strerror(n)`
    Errors,
    /// `signal_name(n)`
    Signals,
    /// `syscall_name(n)`
    Syscalls,
}

impl Expr {
    /// An expression.
    #[must_use]
    pub fn new(kind: ExprKind, ty: Type, loc: Loc) -> Self {
        Expr { kind, ty, loc }
    }

    /// The constant that it is, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<u64> {
        if let ExprKind::Int(n) = self.kind { Some(n) } else { None }
    }
}

impl Map {
    /// How it collects, if it does.
    #[must_use]
    pub fn agg(&self) -> Option<AggTy> {
        if let Type::Agg(agg) = self.value { Some(agg) } else { None }
    }
}
