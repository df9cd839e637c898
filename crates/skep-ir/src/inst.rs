//! Instructions.
//!
//! High-level operations (events, aggregation cells, field reads, strings, sets, closures) stay whole until
//! [lowering](crate::passes) chooses how the target kernel can do them; what code generation accepts is the
//! subset for which [`InstKind::is_low_level`] holds.

use crate::func::{Block, Slot, Value};
use crate::module::{FuncId, GlobalId, MapId, SetId};
use crate::types::Ty;

/// Arithmetic on two integers of one type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// Wrapping addition.
    Add,
    /// Wrapping subtraction.
    Sub,
    /// Wrapping multiplication.
    Mul,
    /// Unsigned division; by zero gives 0.
    UDiv,
    /// Signed division, truncating; by zero gives 0, `MIN / -1` gives `MIN`.
    SDiv,
    /// Unsigned remainder; by zero gives the dividend.
    URem,
    /// Signed remainder with the sign of the dividend; by zero gives the dividend, `MIN % -1` gives 0.
    SRem,
    /// Bits set in both.
    And,
    /// Bits set in either.
    Or,
    /// Bits set in one.
    Xor,
    /// Left shift; the amount is taken modulo the width.
    Shl,
    /// Right shift with zeros.
    LShr,
    /// Right shift with copies of the sign.
    AShr,
}

/// Comparison of two values of one type; the result is an `i1`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the usual names: u is unsigned, s signed")]
pub enum CmpOp {
    Eq,
    Ne,
    ULt,
    ULe,
    UGt,
    UGe,
    SLt,
    SLe,
    SGt,
    SGe,
}

/// What a comparison has proved about a value.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Unsigned value between the two, both included.
    Unsigned(u64, u64),
    /// Signed value between the two, both included.
    Signed(i64, i64),
    /// Not null.
    NonNull,
    /// At least this many bytes of packet follow.
    PacketRange(u32),
}

/// Which memory a helper reads.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// The kernel's.
    Kernel,
    /// The current process's.
    User,
    /// That of which the address is, where it tells: the two have no address in common on x86.
    Any,
}

/// One step from an object to a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A field by name, found through anonymous members. On a kernel type it stays symbolic until lowering.
    Field(String),
    /// An element of an array by number.
    Index(u32),
    /// An element by a value (`i64`) that the front end has bounded, and the bytes of one element.
    IndexBy(Value, u32),
    /// A number of bytes, for layouts that the front end knows.
    Offset(i32),
}

/// A cell that collects numbers. Its memory starts as zeros.
///
/// | kind | layout |
/// |---|---|
/// | `Count`, `Sum` | `u64` |
/// | `Min`, `Max` | `u64` value, `u64` set flag |
/// | `Stats` | `u64` total, `u64` count |
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Agg {
    /// Adds one; takes no value.
    Count,
    /// Adds the value.
    Sum,
    /// Keeps the smallest value.
    Min {
        /// Compare as signed.
        signed: bool,
    },
    /// Keeps the greatest value.
    Max {
        /// Compare as signed.
        signed: bool,
    },
    /// Adds the value to the total and one to the count.
    Stats,
}

/// Counters of a row of the ledger (`u64` each, per CPU); rows are numbered as the module's programs are.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ledger {
    /// Events that a program decided to send.
    Seen = 0,
    /// Records submitted.
    Committed = 1,
    /// Records for which there was no room in a ring.
    LostRing = 2,
    /// Updates that a map refused.
    LostMap = 3,
    /// Events that found no free scratch memory.
    LostScratch = 4,
    /// Events that the script's own filter turned away; counted only on request.
    Filtered = 5,
}

impl Ledger {
    /// Counters in a row.
    pub const COLUMNS: u32 = 6;
}

/// Read-modify-write of memory that others may write.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the usual names")]
pub enum AtomicOp {
    Add,
    And,
    Or,
    Xor,
    /// Exchange; always returns the old value.
    Xchg,
}

/// Questions about the running kernel's types, folded when its BTF is known and relocations otherwise.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Core {
    /// Byte offset of a field.
    FieldOffset,
    /// Bytes of a field.
    FieldSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// Whether a type exists.
    TypeExists,
    /// Bytes of a type.
    TypeSize,
    /// Type id in the running kernel.
    TypeId,
    /// Whether an enumerator exists; the step names it.
    EnumExists,
    /// Value of an enumerator.
    EnumValue,
}

/// One instruction. Results are described at each; the type of an integer result is that of the value.
#[derive(Clone, Debug, PartialEq)]
pub enum InstKind {
    // ---- values ----
    /// An integer.
    Const(i64),
    /// A null pointer of the result's type.
    Null,
    /// Arithmetic.
    Bin(BinOp, Value, Value),
    /// Negation.
    Neg(Value),
    /// Reverses the bytes of an `i16`, `i32` or `i64`.
    Bswap(Value),
    /// Comparison of integers, or of a pointer with another of its class. Result `i1`.
    Cmp(CmpOp, Value, Value),
    /// Whether a pointer is null. Result `i1`.
    IsNull(Value),
    /// To a wider integer, with zeros.
    Zext(Value),
    /// To a wider integer, with copies of the sign.
    Sext(Value),
    /// To a narrower integer.
    Trunc(Value),
    /// The second where the first is true, else the third; integers only.
    Select(Value, Value, Value),
    /// The same value under a name that knows more about it. A nullable pointer becomes one that is not.
    Refine(Value, Fact),

    // ---- pointers ----
    /// Address of a slot.
    SlotAddr(Slot),
    /// In a closure: the pointer or slot that the creator listed at this place of the captures.
    Capture(u32),
    /// Address of a global.
    GlobalAddr(GlobalId),
    /// A map, to be passed to a helper.
    MapRef(MapId),
    /// A function, to be passed to a helper.
    FuncRef(FuncId),
    /// A pointer moved by a constant number of bytes and, where given, by an `i64` that is provably in range.
    PtrAdd(Value, i32, Option<Value>),
    /// The address as an `i64`.
    PtrToInt(Value),
    /// An `i64` as an address of class `KernelRaw` or `User`.
    IntToPtr(Value),

    // ---- memory ----
    /// Reads a value of the result's type at pointer + offset. The pointer is of a memory class.
    Load {
        /// Pointer.
        ptr: Value,
        /// Bytes added to it.
        off: i32,
        /// Must stay one load and stay where it is.
        volatile: bool,
    },
    /// Writes a value at pointer + offset.
    Store {
        /// Pointer.
        ptr: Value,
        /// Bytes added to it.
        off: i32,
        /// What is written.
        val: Value,
    },
    /// Copies bytes between two memory pointers that do not overlap.
    MemCopy {
        /// To.
        dst: Value,
        /// From.
        src: Value,
        /// Bytes.
        len: u32,
    },
    /// Sets bytes.
    MemSet {
        /// To.
        dst: Value,
        /// Value of each byte.
        byte: u8,
        /// Bytes.
        len: u32,
    },
    /// Whether bytes are equal. Result `i1`.
    MemEq {
        /// One.
        a: Value,
        /// Other.
        b: Value,
        /// Bytes.
        len: u32,
    },

    // ---- strings: NUL-terminated within a capacity ----
    /// Writes a constant and zeros up to the capacity.
    StrConst {
        /// To.
        dst: Value,
        /// The bytes, without NUL.
        text: Vec<u8>,
        /// Bytes written.
        cap: u32,
    },
    /// Copies up to the NUL or `src_cap`, then zeros up to `dst_cap`; a string that fills `dst_cap` has no NUL.
    StrCopy {
        /// To.
        dst: Value,
        /// Its capacity.
        dst_cap: u32,
        /// From.
        src: Value,
        /// Its capacity.
        src_cap: u32,
    },
    /// Whether two strings are equal, compared up to the shorter capacity or the first NUL. Result `i1`.
    StrEq {
        /// One.
        a: Value,
        /// Its capacity.
        a_cap: u32,
        /// Other.
        b: Value,
        /// Its capacity.
        b_cap: u32,
    },
    /// Whether a string equals a constant. Result `i1`.
    StrEqConst {
        /// The string.
        a: Value,
        /// Its capacity.
        cap: u32,
        /// The constant, without NUL.
        text: Vec<u8>,
    },
    /// Whether the first `n` bytes are equal, up to a NUL in both. Result `i1`.
    StrEqN {
        /// One.
        a: Value,
        /// Its capacity.
        a_cap: u32,
        /// Other.
        b: Value,
        /// Its capacity.
        b_cap: u32,
        /// Bytes at most.
        n: u32,
    },
    /// Bytes before the NUL, at most the capacity. Result `i64`.
    StrLen {
        /// The string.
        ptr: Value,
        /// Its capacity.
        cap: u32,
    },
    /// Place of the first occurrence of a needle in a haystack, or -1. Result `i64`.
    StrFind {
        /// Where.
        hay: Value,
        /// Its capacity.
        hay_cap: u32,
        /// What.
        needle: Value,
        /// Its capacity.
        needle_cap: u32,
    },

    // ---- context ----
    /// Reads a value of the result's type at an offset of the context.
    CtxLoad {
        /// The context.
        ctx: Value,
        /// Offset in bytes.
        off: i32,
    },
    /// Writes a value at an offset of the context.
    CtxStore {
        /// The context.
        ctx: Value,
        /// Offset in bytes.
        off: i32,
        /// What is written.
        val: Value,
    },

    // ---- kernel and user objects ----
    /// Reads a scalar field of an object behind a pointer of a kernel or user class. The result is an `i64`
    /// extended by the field's own sign (bit-fields too), or a pointer. What cannot be read is 0.
    FieldLoad {
        /// The object.
        base: Value,
        /// The way to the field.
        path: Vec<Step>,
        /// For fields whose layout the front end knows; otherwise it is looked up.
        scalar: Option<Scalar>,
    },
    /// Address of a field of an object behind a pointer of a kernel or user class; nothing is read.
    FieldAddr {
        /// The object.
        base: Value,
        /// The way to the field.
        path: Vec<Step>,
    },
    /// Copies bytes from kernel or user memory (the source's class decides); what cannot be read is zeros.
    /// Result `i64`: 0 or a negative error.
    ProbeRead {
        /// To.
        dst: Value,
        /// Bytes: an `i64` between 0 and `max`.
        len: Value,
        /// Bytes at most, the size of the destination.
        max: u32,
        /// From: an `i64` or a pointer of class `KernelRaw` or `User`.
        src: Value,
        /// Which memory.
        space: Space,
    },
    /// Copies a string of at most `cap` bytes with its NUL. Result `i64`: bytes copied with the NUL, or a
    /// negative error; then the destination is an empty string.
    ProbeReadStr {
        /// To.
        dst: Value,
        /// Capacity of the destination.
        cap: u32,
        /// Bytes to read at most if fewer than `cap`: an `i64` between 1 and `cap`.
        len: Option<Value>,
        /// From.
        src: Value,
        /// Which memory.
        space: Space,
    },
    /// An answer about the running kernel's types. Result `i64`.
    Core {
        /// The question.
        what: Core,
        /// A type of class [`crate::types::Type::Kernel`].
        ty: crate::types::TypeId,
        /// The way to a field, or the enumerator.
        path: Vec<Step>,
    },

    // ---- maps ----
    /// Finds a value. Result: nullable pointer into the map.
    MapLookup {
        /// Map.
        map: MapId,
        /// Pointer to the key.
        key: Value,
    },
    /// Finds a value of another CPU. Result: nullable pointer into the map.
    MapLookupPercpu {
        /// Map.
        map: MapId,
        /// Pointer to the key.
        key: Value,
        /// CPU number, `i64`.
        cpu: Value,
    },
    /// Finds a value, or makes one of zeros. Result: pointer into the map, null if there is no room.
    MapUpsert {
        /// Map.
        map: MapId,
        /// Pointer to the key.
        key: Value,
    },
    /// Writes a value. Result `i64`: 0 or a negative error.
    MapUpdate {
        /// Map.
        map: MapId,
        /// Pointer to the key.
        key: Value,
        /// Pointer to the value.
        val: Value,
        /// `BPF_ANY`, `BPF_NOEXIST` or `BPF_EXIST`.
        flags: u64,
    },
    /// Removes an element. Result `i64`: 0 or a negative error.
    MapDelete {
        /// Map.
        map: MapId,
        /// Pointer to the key.
        key: Value,
    },
    /// Runs a closure for every element: `fn(key, value) -> i64`, 0 goes on and 1 stops. Result `i64`: elements
    /// visited, or a negative error.
    ForEach {
        /// Map.
        map: MapId,
        /// The closure.
        body: FuncId,
        /// What it uses of this function, see [`InstKind::Capture`]: pointers to slots or into maps.
        captures: Vec<Value>,
    },
    /// Runs a closure for every number from `start` up to but without `end`: `fn(i64) -> i64`, 0 goes on and 1
    /// stops. No result.
    ForRange {
        /// First number, `i64`.
        start: Value,
        /// One past the last number, `i64`, compared as signed.
        end: Value,
        /// The closure.
        body: FuncId,
        /// What it uses of this function.
        captures: Vec<Value>,
    },

    // ---- script operations ----
    /// Adds to the cell behind a pointer into a map or global.
    Agg {
        /// How.
        agg: Agg,
        /// The cell.
        cell: Value,
        /// The number, `i64`; none for a count.
        val: Option<Value>,
    },
    /// Number of the bucket of a power-of-two histogram (`i64`), with 2^`bits` buckets per power.
    HistBucket {
        /// The number, `i64`, signed.
        val: Value,
        /// 0 to 5.
        bits: u8,
    },
    /// Number of the bucket of a linear histogram (`i64`).
    LinearBucket {
        /// The number, `i64`, signed.
        val: Value,
        /// Lowest value of the first bucket.
        min: i64,
        /// Where the overflow bucket begins.
        max: i64,
        /// Width of a bucket, positive.
        step: i64,
    },
    /// Reserves a record. Result: nullable pointer of class `Record`; null has been counted as lost.
    EventReserve {
        /// Ring buffer (or perf event array on kernels without one).
        ring: MapId,
        /// Bytes.
        size: u32,
    },
    /// Hands a record over to user space.
    EventSubmit {
        /// The record.
        rec: Value,
        /// Wake the reader up now and not when it next looks.
        wake: bool,
    },
    /// Gives a record back unused.
    EventDiscard {
        /// The record.
        rec: Value,
    },
    /// Sends bytes of variable length. Result `i64`: 0, or negative and counted as lost.
    EventOutput {
        /// Ring.
        ring: MapId,
        /// Pointer to the bytes.
        data: Value,
        /// How many: an `i64` between 1 and `max`.
        len: Value,
        /// Size of the memory behind `data`.
        max: u32,
    },
    /// Adds one to a counter of the running program's row in the ledger.
    Count(Ledger),
    /// Remembers the current stack and returns what identifies it (`i64`); negative if there is none.
    StackId {
        /// The context, whose registers the walk begins with.
        ctx: Value,
        /// Map that keeps stacks: key `u64` id, value `u64` frames ended by a 0 or by the size. With `build_id`
        /// a frame is a `struct bpf_stack_build_id` of 32 bytes (`linux/bpf.h`) and a zero `status` ends them.
        map: MapId,
        /// User stack, not kernel stack.
        user: bool,
        /// Frames by build id and offset instead of address; user stacks only.
        build_id: bool,
        /// Frames at most.
        depth: u32,
    },

    // ---- rule operations ----
    /// Whether an `i64` is in a set of integers. Result `i1`.
    SetMember {
        /// The value.
        val: Value,
        /// The set.
        set: SetId,
    },
    /// Whether a string is in a set of strings. Result `i1`.
    StrMember {
        /// The string.
        ptr: Value,
        /// Its capacity.
        cap: u32,
        /// The set.
        set: SetId,
    },
    /// Whether bytes in network order match a prefix of a set. Result `i64`: place of the longest one in the
    /// set's list, or -1.
    PrefixMatch {
        /// The bytes, as many as the set says.
        ptr: Value,
        /// The set.
        set: SetId,
    },

    // ---- packets ----
    /// Whether `len` bytes follow a packet pointer. Result `i1`; the true edge refines the pointer.
    PacketCheck {
        /// Pointer.
        ptr: Value,
        /// End of the packet.
        end: Value,
        /// Bytes.
        len: u32,
    },

    // ---- calls ----
    /// A helper by its number. Result `i64`, or a pointer as the value's type says.
    Helper(u32, Vec<Value>),
    /// A kernel function by name. Result as the value's type says.
    Kfunc(String, Vec<Value>),
    /// A function of the module. Result as it returns.
    Call(FuncId, Vec<Value>),
    /// Jumps to a program of a program array; goes on if there is none.
    TailCall {
        /// The context.
        ctx: Value,
        /// Program array.
        map: MapId,
        /// Place, `i32`.
        index: Value,
    },
    /// Read-modify-write at pointer + offset of the value's type. The result, if there is one, is the old value.
    Atomic {
        /// Operation.
        op: AtomicOp,
        /// Pointer.
        ptr: Value,
        /// Bytes added to it.
        off: i32,
        /// Operand, `i32` or `i64`.
        val: Value,
    },
    /// Stores `new` if the memory holds `expected`. Result: the old value.
    CmpXchg {
        /// Pointer.
        ptr: Value,
        /// Bytes added to it.
        off: i32,
        /// Compared.
        expected: Value,
        /// Stored.
        new: Value,
    },

    // ---- ends of blocks ----
    /// To a block, with its parameters.
    Br(Target),
    /// To one of two blocks by an `i1`.
    CondBr {
        /// The condition.
        cond: Value,
        /// Where if true.
        then: Target,
        /// Where if false.
        other: Target,
    },
    /// To a block by an integer.
    Switch {
        /// The integer.
        val: Value,
        /// Values and blocks.
        cases: Vec<(i64, Target)>,
        /// Where else.
        default: Target,
    },
    /// Leaves the function, with a value unless it has none.
    Ret(Option<Value>),
    /// Never reached: what comes before does not return.
    Unreachable,
}

/// A block and what its parameters get.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The block.
    pub block: Block,
    /// One value for each parameter.
    pub args: Vec<Value>,
}

impl From<Block> for Target {
    fn from(block: Block) -> Self {
        Target { block, args: Vec::new() }
    }
}

/// Layout of a scalar that the front end knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// Bytes to read: 1, 2, 4 or 8.
    pub bytes: u32,
    /// Extend with copies of the sign.
    pub signed: bool,
    /// For a bit-field: bits from the start of those bytes, and bits.
    pub bits: Option<(u32, u32)>,
}

/// Visits the operands of an instruction, for reading or for changing them: one list serves both.
macro_rules! each_operand {
    ($kind:expr, $each:ident) => {{
        use InstKind as I;
        macro_rules! all {
            ($list:expr) => {
                for v in $list {
                    $each(v);
                }
            };
        }
        match $kind {
            I::Const(_)
            | I::Null
            | I::SlotAddr(_)
            | I::Capture(_)
            | I::GlobalAddr(_)
            | I::MapRef(_)
            | I::FuncRef(_)
            | I::EventReserve { .. }
            | I::Count(_)
            | I::Ret(None)
            | I::Unreachable => {}
            I::Neg(a)
            | I::Bswap(a)
            | I::IsNull(a)
            | I::Zext(a)
            | I::Sext(a)
            | I::Trunc(a)
            | I::Refine(a, _)
            | I::PtrToInt(a)
            | I::IntToPtr(a)
            | I::Ret(Some(a))
            | I::PtrAdd(a, _, None)
            | I::Load { ptr: a, .. }
            | I::MemSet { dst: a, .. }
            | I::StrConst { dst: a, .. }
            | I::StrEqConst { a, .. }
            | I::StrLen { ptr: a, .. }
            | I::StrMember { ptr: a, .. }
            | I::PrefixMatch { ptr: a, .. }
            | I::CtxLoad { ctx: a, .. }
            | I::StackId { ctx: a, .. }
            | I::MapLookup { key: a, .. }
            | I::MapUpsert { key: a, .. }
            | I::MapDelete { key: a, .. }
            | I::HistBucket { val: a, .. }
            | I::LinearBucket { val: a, .. }
            | I::SetMember { val: a, .. }
            | I::EventSubmit { rec: a, .. }
            | I::EventDiscard { rec: a } => $each(a),
            I::Bin(_, a, b)
            | I::Cmp(_, a, b)
            | I::PtrAdd(a, _, Some(b))
            | I::Store { ptr: a, val: b, .. }
            | I::MemCopy { dst: a, src: b, .. }
            | I::StrCopy { dst: a, src: b, .. }
            | I::MemEq { a, b, .. }
            | I::StrEq { a, b, .. }
            | I::StrEqN { a, b, .. }
            | I::StrFind { hay: a, needle: b, .. }
            | I::CtxStore { ctx: a, val: b, .. }
            | I::MapLookupPercpu { key: a, cpu: b, .. }
            | I::MapUpdate { key: a, val: b, .. }
            | I::EventOutput { data: a, len: b, .. }
            | I::PacketCheck { ptr: a, end: b, .. }
            | I::TailCall { ctx: a, index: b, .. }
            | I::Atomic { ptr: a, val: b, .. } => {
                $each(a);
                $each(b);
            }
            I::Select(a, b, c)
            | I::ProbeRead { dst: a, len: b, src: c, .. }
            | I::CmpXchg { ptr: a, expected: b, new: c, .. } => {
                $each(a);
                $each(b);
                $each(c);
            }
            I::FieldLoad { base, path, .. } | I::FieldAddr { base, path } => {
                $each(base);
                for step in path {
                    if let Step::IndexBy(index, _) = step {
                        $each(index);
                    }
                }
            }
            I::Core { path, .. } => {
                for step in path {
                    if let Step::IndexBy(index, _) = step {
                        $each(index);
                    }
                }
            }
            I::ProbeReadStr { dst, len, src, .. } => {
                $each(dst);
                if let Some(len) = len {
                    $each(len);
                }
                $each(src);
            }
            I::ForEach { captures, .. } => all!(captures),
            I::ForRange { start, end, captures, .. } => {
                $each(start);
                $each(end);
                all!(captures);
            }
            I::Agg { cell, val, .. } => {
                $each(cell);
                if let Some(val) = val {
                    $each(val);
                }
            }
            I::Helper(_, args) | I::Kfunc(_, args) | I::Call(_, args) | I::Br(Target { args, .. }) => {
                all!(args)
            }
            I::CondBr { cond, then: Target { args: then, .. }, other: Target { args: other, .. } } => {
                $each(cond);
                all!(then);
                all!(other);
            }
            I::Switch { val, cases, default: Target { args: default, .. } } => {
                $each(val);
                for (_, Target { args, .. }) in cases {
                    all!(args);
                }
                all!(default);
            }
        }
    }};
}

impl InstKind {
    /// Whether it ends a block.
    #[must_use]
    pub fn is_terminator(&self) -> bool {
        use InstKind::{Br, CondBr, Ret, Switch, Unreachable};
        matches!(self, Br(_) | CondBr { .. } | Switch { .. } | Ret(_) | Unreachable)
    }

    /// Whether code generation accepts it: no choice between ways to do it is left.
    #[must_use]
    pub fn is_low_level(&self) -> bool {
        use InstKind as I;
        matches!(
            self,
            I::Const(_)
                | I::Null
                | I::Bin(..)
                | I::Neg(_)
                | I::Bswap(_)
                | I::Cmp(..)
                | I::IsNull(_)
                | I::Zext(_)
                | I::Sext(_)
                | I::Trunc(_)
                | I::Select(..)
                | I::Refine(..)
                | I::SlotAddr(_)
                | I::GlobalAddr(_)
                | I::MapRef(_)
                | I::FuncRef(_)
                | I::PtrAdd(..)
                | I::PtrToInt(_)
                | I::IntToPtr(_)
                | I::Load { .. }
                | I::Store { .. }
                | I::CtxLoad { .. }
                | I::CtxStore { .. }
                | I::Helper(..)
                | I::Kfunc(..)
                | I::Call(..)
                | I::TailCall { .. }
                | I::Atomic { .. }
                | I::CmpXchg { .. }
        ) || self.is_terminator()
    }

    /// Calls `f` with every value that the instruction uses, block arguments included.
    pub fn for_each_use(&self, mut f: impl FnMut(Value)) {
        let mut each = |v: &Value| f(*v);
        each_operand!(self, each);
    }

    /// Replaces every value that the instruction uses.
    pub fn map_uses(&mut self, mut f: impl FnMut(Value) -> Value) {
        let mut each = |v: &mut Value| *v = f(*v);
        each_operand!(self, each);
    }

    /// The blocks that it may go to, with repetitions.
    #[must_use]
    pub fn targets(&self) -> Vec<&Target> {
        match self {
            InstKind::Br(target) => vec![target],
            InstKind::CondBr { then, other, .. } => vec![then, other],
            InstKind::Switch { cases, default, .. } => {
                cases.iter().map(|(_, t)| t).chain(std::iter::once(default)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many blocks it may go to, with repetitions.
    #[must_use]
    pub fn target_count(&self) -> usize {
        match self {
            InstKind::Br(_) => 1,
            InstKind::CondBr { .. } => 2,
            InstKind::Switch { cases, .. } => cases.len() + 1,
            _ => 0,
        }
    }

    /// One of the blocks that it may go to, by its place in [`InstKind::targets`].
    #[must_use]
    pub fn target(&self, place: usize) -> Option<&Target> {
        match (self, place) {
            (InstKind::Br(target), 0) => Some(target),
            (InstKind::CondBr { then, .. }, 0) => Some(then),
            (InstKind::CondBr { other, .. }, 1) => Some(other),
            (InstKind::Switch { cases, default, .. }, _) => match cases.get(place) {
                Some((_, target)) => Some(target),
                None => (place == cases.len()).then_some(default),
            },
            _ => None,
        }
    }

    /// The blocks that it may go to, to be changed.
    pub fn targets_mut(&mut self) -> Vec<&mut Target> {
        match self {
            InstKind::Br(target) => vec![target],
            InstKind::CondBr { then, other, .. } => vec![then, other],
            InstKind::Switch { cases, default, .. } => {
                cases.iter_mut().map(|(_, t)| t).chain(std::iter::once(default)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it can be dropped when its result is not used, and done again elsewhere: it neither writes
    /// anything nor depends on what others write.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        use InstKind as I;
        matches!(
            self,
            I::Const(_)
                | I::Null
                | I::Bin(..)
                | I::Neg(_)
                | I::Bswap(_)
                | I::Cmp(..)
                | I::IsNull(_)
                | I::Zext(_)
                | I::Sext(_)
                | I::Trunc(_)
                | I::Select(..)
                | I::Refine(..)
                | I::SlotAddr(_)
                | I::Capture(_)
                | I::GlobalAddr(_)
                | I::MapRef(_)
                | I::FuncRef(_)
                | I::PtrAdd(..)
                | I::PtrToInt(_)
                | I::IntToPtr(_)
                | I::FieldAddr { .. }
                | I::Core { .. }
                | I::HistBucket { .. }
                | I::LinearBucket { .. }
                | I::SetMember { .. }
                | I::PacketCheck { .. }
        )
    }

    /// Whether it can be dropped when its result is not used: it writes nothing that anybody sees.
    #[must_use]
    pub fn is_removable(&self) -> bool {
        use InstKind as I;
        self.is_pure()
            || matches!(
                self,
                I::Load { volatile: false, .. }
                    | I::CtxLoad { .. }
                    | I::FieldLoad { .. }
                    | I::MemEq { .. }
                    | I::StrEq { .. }
                    | I::StrEqConst { .. }
                    | I::StrEqN { .. }
                    | I::StrLen { .. }
                    | I::StrFind { .. }
                    | I::MapLookup { .. }
                    | I::MapLookupPercpu { .. }
                    | I::StrMember { .. }
                    | I::PrefixMatch { .. }
            )
    }
}

/// The type of a result that follows from the instruction alone; `None` where the creator says it.
pub(crate) fn fixed_result(kind: &InstKind) -> Option<Ty> {
    use InstKind as I;
    Some(match kind {
        I::Cmp(..)
        | I::IsNull(_)
        | I::MemEq { .. }
        | I::StrEq { .. }
        | I::StrEqConst { .. }
        | I::StrEqN { .. }
        | I::SetMember { .. }
        | I::StrMember { .. }
        | I::PacketCheck { .. } => Ty::I1,
        I::PtrToInt(_)
        | I::StrLen { .. }
        | I::StrFind { .. }
        | I::ProbeRead { .. }
        | I::ProbeReadStr { .. }
        | I::Core { .. }
        | I::MapUpdate { .. }
        | I::MapDelete { .. }
        | I::ForEach { .. }
        | I::HistBucket { .. }
        | I::LinearBucket { .. }
        | I::EventOutput { .. }
        | I::StackId { .. }
        | I::PrefixMatch { .. } => Ty::I64,
        _ => return None,
    })
}
