//! Types of the language, and how values of them lie in memory.
//!
//! Layout is one contract between generated code, map keys and values, event records and the printer:
//! everything is little endian on the supported targets, aligned as C would, with zeroed padding.

use cranelift_entity::{PrimaryMap, entity_impl};
use std::rc::Rc;

/// A struct, union or argument list of a [`Structs`] table.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StructId(u32);
entity_impl!(StructId, "struct");

/// An enumeration of a [`Structs`] table.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnumId(u32);
entity_impl!(EnumId, "enum");

/// Which memory an address belongs to.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddrSpace {
    /// Not known; read as kernel memory.
    None,
    /// The kernel's.
    Kernel,
    /// The traced process's.
    User,
}

/// An integer type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntTy {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Whether it is signed.
    pub signed: bool,
}

/// How stacks are printed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StackMode {
    /// Symbol and offset.
    Bpftrace,
    /// Address, symbol and offset, file.
    Perf,
    /// Address.
    Raw,
    /// Build id and offset; user stacks only.
    BuildId,
}

impl StackMode {
    /// The mode as scripts and settings name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StackMode::Bpftrace => "bpftrace",
            StackMode::Perf => "perf",
            StackMode::Raw => "raw",
            StackMode::BuildId => "build_id",
        }
    }
}

/// A stack's type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackTy {
    /// How it is printed.
    pub mode: StackMode,
    /// Frames at most.
    pub depth: u32,
}

/// A value that collects numbers; only ever in maps.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum AggTy {
    /// Number of calls.
    Count,
    /// Sum; signed or not.
    Sum(bool),
    /// Smallest; signed or not.
    Min(bool),
    /// Greatest; signed or not.
    Max(bool),
    /// Mean; signed or not.
    Avg(bool),
    /// Count, mean and sum; signed or not.
    Stats(bool),
    /// Histogram of powers of two with 2^bits buckets each.
    Hist {
        /// 0 to 5.
        bits: u8,
    },
    /// Linear histogram.
    Lhist {
        /// Lowest value of the first bucket.
        min: i64,
        /// Where the overflow bucket begins.
        max: i64,
        /// Width of a bucket.
        step: i64,
    },
    /// Series of values over time.
    Tseries {
        /// Length of an interval in nanoseconds.
        interval: u64,
        /// Intervals kept.
        count: u32,
        /// What an interval keeps.
        agg: SeriesAgg,
        /// Whether the values are signed.
        signed: bool,
    },
}

/// What an interval of a time series keeps.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum SeriesAgg {
    /// The last value.
    Last,
    /// The mean.
    Avg,
    /// The greatest.
    Max,
    /// The smallest.
    Min,
    /// The sum.
    Sum,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// No value.
    None,
    /// Truth value, one byte.
    Bool,
    /// Integer.
    Int(IntTy),
    /// String of a capacity in bytes, its NUL included.
    Str(u32),
    /// Bytes: a length of four bytes, then so many bytes of capacity.
    Buf(u32),
    /// Pointer.
    Ptr(Rc<Type>, AddrSpace),
    /// Array.
    Array(Rc<Type>, u32),
    /// Tuple.
    Tuple(Rc<[Type]>),
    /// Tuple with names.
    Record(Rc<[(Rc<str>, Type)]>),
    /// Struct, union or argument list.
    Struct(StructId),
    /// Enumeration.
    Enum(EnumId),
    /// Kernel address to be printed as a symbol.
    KSym,
    /// User address, pid and 4 bytes of padding, to be printed as a symbol.
    USym,
    /// Kernel stack: what identifies it.
    KStack(StackTy),
    /// User stack: what identifies it, pid and 4 bytes of padding.
    UStack(StackTy),
    /// Network address: family in 4 bytes (2 or 10), then 16 bytes in network order.
    Inet,
    /// Hardware address.
    Mac,
    /// User id to be printed as a name.
    Username,
    /// Point in time: nanoseconds, then format number and clock in 4 bytes each.
    Timestamp,
    /// cgroup id and filter number in 8 bytes each, to be printed as paths.
    CgroupPath,
    /// Collected numbers.
    Agg(AggTy),
}

impl Type {
    /// `uint64`
    pub const U64: Type = Type::Int(IntTy { bytes: 8, signed: false });
    /// `int64`
    pub const I64: Type = Type::Int(IntTy { bytes: 8, signed: true });
    /// `uint32`
    pub const U32: Type = Type::Int(IntTy { bytes: 4, signed: false });
    /// `int32`
    pub const I32: Type = Type::Int(IntTy { bytes: 4, signed: true });

    /// An integer type.
    #[must_use]
    pub fn int(bytes: u8, signed: bool) -> Type {
        Type::Int(IntTy { bytes, signed })
    }

    /// Whether a value of it fits a register.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        matches!(
            self,
            Type::Bool
                | Type::Int(_)
                | Type::Ptr(..)
                | Type::Enum(_)
                | Type::KSym
                | Type::KStack(_)
                | Type::Username
        )
    }

    /// Whether it stands only in maps.
    #[must_use]
    pub fn is_agg(&self) -> bool {
        matches!(self, Type::Agg(_))
    }

    /// Bytes of a value and its alignment.
    #[must_use]
    pub fn layout(&self, structs: &Structs) -> (u32, u32) {
        match self {
            Type::None => (0, 1),
            Type::Bool => (1, 1),
            Type::Int(i) => (u32::from(i.bytes), u32::from(i.bytes)),
            Type::Str(cap) => (*cap, 1),
            Type::Buf(cap) => ((4 + cap).next_multiple_of(4), 4),
            Type::Ptr(..) | Type::KSym | Type::KStack(_) | Type::Username => (8, 8),
            Type::USym | Type::UStack(_) | Type::Timestamp | Type::CgroupPath => (16, 8),
            Type::Inet => (20, 4),
            Type::Mac => (6, 1),
            Type::Array(elem, len) => {
                let (size, align) = elem.layout(structs);
                (size.saturating_mul(*len), align)
            }
            Type::Tuple(elems) => {
                let fields = sequence(elems.iter(), structs);
                (fields.size, fields.align)
            }
            Type::Record(elems) => {
                let fields = sequence(elems.iter().map(|(_, t)| t), structs);
                (fields.size, fields.align)
            }
            Type::Struct(id) => {
                let def = &structs.structs[*id];
                (def.size, def.align)
            }
            Type::Enum(id) => {
                let bytes = u32::from(structs.enums[*id].repr.bytes);
                (bytes, bytes)
            }
            Type::Agg(agg) => match agg {
                AggTy::Count | AggTy::Sum(_) | AggTy::Hist { .. } | AggTy::Lhist { .. } => (8, 8),
                AggTy::Min(_) | AggTy::Max(_) | AggTy::Avg(_) | AggTy::Stats(_) => (16, 8),
                // Value, second number (count, set flag or time of the last value), interval.
                AggTy::Tseries { .. } => (24, 8),
            },
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub fn size(&self, structs: &Structs) -> u32 {
        self.layout(structs).0
    }

    /// The type as messages show it.
    #[must_use]
    pub fn name(&self, structs: &Structs) -> String {
        let list = |parts: Vec<String>| format!("({})", parts.join(","));
        match self {
            Type::None => "void".into(),
            Type::Bool => "bool".into(),
            Type::Int(i) => format!("{}int{}", if i.signed { "" } else { "u" }, u32::from(i.bytes) * 8),
            Type::Str(cap) => format!("string[{cap}]"),
            Type::Buf(cap) => format!("buffer[{}]", cap.saturating_add(4)),
            Type::Ptr(to, _) if **to == Type::None => "void *".into(),
            Type::Ptr(to, _) => format!("{} *", to.name(structs)),
            Type::Array(elem, len) => format!("{}[{len}]", elem.name(structs)),
            Type::Tuple(elems) => list(elems.iter().map(|t| t.name(structs)).collect()),
            Type::Record(elems) => {
                let fields = elems.iter().map(|(n, t)| format!(".{n} = {}", t.name(structs)));
                format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            Type::Struct(id) => structs.structs[*id].name.clone(),
            Type::Enum(id) => structs.enums[*id].name.clone(),
            Type::KSym => "ksym_t".into(),
            Type::USym => "usym_t".into(),
            Type::KStack(s) => format!("kstack_{}_{}", s.mode.name(), s.depth),
            Type::UStack(s) => format!("ustack_{}_{}", s.mode.name(), s.depth),
            Type::Inet => "inet".into(),
            Type::Mac => "mac_address".into(),
            Type::Username => "username_t".into(),
            Type::Timestamp => "timestamp".into(),
            Type::CgroupPath => "cgroup_path_t".into(),
            Type::Agg(agg) => agg.name().into(),
        }
    }
}

impl AggTy {
    /// The type as messages show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AggTy::Count => "count_t",
            AggTy::Sum(true) => "sum_t",
            AggTy::Sum(false) => "usum_t",
            AggTy::Min(true) => "min_t",
            AggTy::Min(false) => "umin_t",
            AggTy::Max(true) => "max_t",
            AggTy::Max(false) => "umax_t",
            AggTy::Avg(true) => "avg_t",
            AggTy::Avg(false) => "uavg_t",
            AggTy::Stats(true) => "stats_t",
            AggTy::Stats(false) => "ustats_t",
            AggTy::Hist { .. } => "hist_t",
            AggTy::Lhist { .. } => "lhist_t",
            AggTy::Tseries { .. } => "tseries_t",
        }
    }
}

/// Offsets of values laid one behind the other as a C struct would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Offset of each.
    pub offsets: Vec<u32>,
    /// Bytes in all, padding at the end included.
    pub size: u32,
    /// Alignment, at least 1.
    pub align: u32,
}

/// Lays values one behind the other as a C struct would.
pub fn sequence<'a>(types: impl Iterator<Item = &'a Type>, structs: &Structs) -> Sequence {
    let mut out = Sequence { offsets: Vec::new(), size: 0, align: 1 };
    for ty in types {
        let (size, align) = ty.layout(structs);
        let align = align.max(1);
        let offset = out.size.next_multiple_of(align);
        out.offsets.push(offset);
        out.size = offset.saturating_add(size);
        out.align = out.align.max(align);
    }
    out.size = out.size.next_multiple_of(out.align);
    out
}

/// Where a struct's layout comes from; it decides how its fields are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The running kernel's types: BTF id. Fields stay symbolic until code is lowered.
    Kernel {
        /// Name of the module; empty for the kernel itself.
        module: String,
        /// Type id in that BTF.
        id: u32,
    },
    /// The script's C part.
    Script,
    /// Debug data of a user program.
    Dwarf,
    /// The record of a tracepoint: fields are offsets into the context.
    TracepointRecord,
    /// Arguments of a function or raw tracepoint: field n is the nth argument. Its offset is 8 times the number
    /// of the register or context word where it begins (a struct of up to 16 bytes may take two).
    Arguments,
}

/// A struct, union or argument list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructDef {
    /// As messages show it, e.g. `struct task_struct`.
    pub name: String,
    /// Bytes.
    pub size: u32,
    /// Alignment.
    pub align: u32,
    /// Where it comes from.
    pub origin: Origin,
    /// Fields with those of anonymous members among them. Filled when the first field is asked for: a
    /// kernel struct that is only pointed to is never looked into.
    pub fields: Option<Rc<[FieldDef]>>,
}

/// A field of a [`StructDef`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDef {
    /// Name.
    pub name: Rc<str>,
    /// Type.
    pub ty: Type,
    /// Bytes from the start.
    pub offset: u32,
    /// Bits of a bit-field: from the field's offset, and how many.
    pub bits: Option<(u32, u32)>,
    /// How tracepoints store data of variable length.
    pub data_loc: DataLoc,
}

/// Indirection of a tracepoint's field. A field of type string holds the text itself, cut to the type's
/// capacity; one of type pointer is the address of the data in the record.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataLoc {
    /// The value is here.
    Direct,
    /// Here are 4 bytes: length in the upper half, offset from the record's start in the lower.
    FromRecord,
    /// Here are 4 bytes: length in the upper half, offset from the end of these 4 bytes in the lower.
    FromField,
}

/// An enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumDef {
    /// As messages show it, e.g. `enum pid_type`.
    pub name: String,
    /// Integer that holds it.
    pub repr: IntTy,
    /// Enumerators.
    pub variants: Rc<[(String, i64)]>,
}

/// Structs and enumerations that a script uses.
#[derive(Clone, Debug, Default)]
pub struct Structs {
    /// Structs.
    pub structs: PrimaryMap<StructId, StructDef>,
    /// Enumerations.
    pub enums: PrimaryMap<EnumId, EnumDef>,
}
