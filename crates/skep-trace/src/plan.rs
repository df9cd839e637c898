//! What user space needs to know to turn records and maps of a running script into output.
//!
//! A plan is plain data: it refers to neither the tree nor the kernel's types, so that output can be produced
//! (and tested) without either. Compilation makes it, [`crate::output`] follows it.
//!
//! # Records
//! A record in the data ring begins with a `u64` event number (index into [`Plan::events`]); its arguments
//! follow at the offsets that the event gives, counted from the start of the record. A record in the control
//! ring has a second `u64` behind the number: how many bytes had ever been reserved in the data ring when the
//! record was made. It is handled once that much of the data ring has been handled, which keeps the order of
//! the script without letting a flood of data push control records out.

use crate::types::{AggTy, FieldDef, SeriesAgg, StackMode, Structs, Type, sequence};
use skep_ir::{Loc, MapId};
use std::rc::Rc;
use std::sync::Arc;

/// How the bytes of a value read.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// No bytes.
    None,
    /// One byte.
    Bool,
    /// Integer.
    Int {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// Address.
    Ptr,
    /// String with a capacity.
    Str(u32),
    /// Length in 4 bytes, then bytes up to a capacity.
    Buf(u32),
    /// Equal elements.
    Array {
        /// One element.
        elem: Box<Layout>,
        /// Its bytes.
        size: u32,
        /// How many.
        len: u32,
    },
    /// Elements at offsets.
    Tuple(Vec<(u32, Layout)>),
    /// Named elements: records and structs.
    Record(Vec<Field>),
    /// Enumeration: an integer and the names of its values.
    Enum {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Whether it is signed.
        signed: bool,
        /// Names.
        names: Arc<[(i64, String)]>,
    },
    /// Kernel address.
    KSym,
    /// User address (8), pid (4).
    USym,
    /// Stack id (8).
    KStack(StackMode),
    /// Stack id (8), pid (4).
    UStack(StackMode),
    /// Family (4), address (16).
    Inet,
    /// Hardware address (6).
    Mac,
    /// User id (8).
    Username,
    /// Nanoseconds (8), index into [`Plan::time_formats`] (4), [`Clock`] (4).
    Timestamp,
    /// cgroup id (8), index into [`Plan::cgroup_filters`] (8).
    CgroupPath,
}

impl Layout {
    /// How values of a type read.
    ///
    /// Collected numbers read as they are sent by value: the integer that they amount to, and for statistics the
    /// record of count, average and total.
    #[must_use]
    pub fn of(ty: &Type, structs: &Structs) -> Layout {
        match ty {
            Type::None => Layout::None,
            Type::Bool => Layout::Bool,
            Type::Int(i) => Layout::Int { bytes: i.bytes, signed: i.signed },
            Type::Str(cap) => Layout::Str(*cap),
            Type::Buf(cap) => Layout::Buf(*cap),
            Type::Ptr(..) => Layout::Ptr,
            Type::Array(elem, len) => Layout::Array {
                elem: Box::new(Layout::of(elem, structs)),
                size: elem.size(structs),
                len: *len,
            },
            Type::Tuple(elems) => {
                let offsets = sequence(elems.iter(), structs).offsets;
                Layout::Tuple(offsets.into_iter().zip(elems.iter().map(|t| Layout::of(t, structs))).collect())
            }
            Type::Record(elems) => {
                let offsets = sequence(elems.iter().map(|(_, t)| t), structs).offsets;
                let field = |(offset, (name, ty)): (u32, &(Rc<str>, Type))| Field {
                    name: name.to_string(),
                    offset,
                    bits: None,
                    layout: Layout::of(ty, structs),
                };
                Layout::Record(offsets.into_iter().zip(elems.iter()).map(field).collect())
            }
            Type::Struct(id) => {
                let fields = structs.structs[*id].fields.iter().flat_map(|f| f.iter());
                let field = |f: &FieldDef| Field {
                    name: f.name.to_string(),
                    offset: f.offset,
                    bits: f.bits,
                    layout: Layout::of(&f.ty, structs),
                };
                Layout::Record(fields.map(field).collect())
            }
            Type::Enum(id) => {
                let def = &structs.enums[*id];
                Layout::Enum {
                    bytes: def.repr.bytes,
                    signed: def.repr.signed,
                    names: def.variants.iter().map(|(name, value)| (*value, name.clone())).collect(),
                }
            }
            Type::KSym => Layout::KSym,
            Type::USym => Layout::USym,
            Type::KStack(stack) => Layout::KStack(stack.mode),
            Type::UStack(stack) => Layout::UStack(stack.mode),
            Type::Inet => Layout::Inet,
            Type::Mac => Layout::Mac,
            Type::Username => Layout::Username,
            Type::Timestamp => Layout::Timestamp,
            Type::CgroupPath => Layout::CgroupPath,
            Type::Agg(agg) => agg.value_layout(),
        }
    }
}

impl AggTy {
    /// How it reads when it is sent by value, see [`Layout::of`]. Histograms and series have no such form; their
    /// layout is empty.
    #[must_use]
    pub fn value_layout(self) -> Layout {
        let int = |signed| Layout::Int { bytes: 8, signed };
        match self {
            AggTy::Count => int(false),
            AggTy::Sum(signed) | AggTy::Min(signed) | AggTy::Max(signed) | AggTy::Avg(signed) => int(signed),
            AggTy::Stats(signed) => {
                let field = |name: &str, offset, signed| Field {
                    name: name.to_owned(),
                    offset,
                    bits: None,
                    layout: int(signed),
                };
                Layout::Record(vec![
                    field("count", 0, false),
                    field("average", 8, signed),
                    field("total", 16, signed),
                ])
            }
            AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Tseries { .. } => Layout::None,
        }
    }
}

/// An element of [`Layout::Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Bytes from the start of the record.
    pub offset: u32,
    /// For a bit-field: bits from there, and bits.
    pub bits: Option<(u32, u32)>,
    /// Value.
    pub layout: Layout,
}

/// Clock of a timestamp, as stored.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Clock {
    /// Since boot.
    Boot = 0,
    /// International atomic time.
    Tai = 1,
    /// Since boot without suspend.
    Monotonic = 2,
}

/// A value inside a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Bytes from the start of the record.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// How it reads.
    pub layout: Layout,
}

/// One conversion of a format, or the text between two.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text, `%%` already single.
    Text(Vec<u8>),
    /// A conversion; takes the next argument.
    Conv(Conversion),
}

/// `%[flags][width][.precision][length]conv`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    /// `-`
    pub left: bool,
    /// `+`
    pub plus: bool,
    /// blank
    pub space: bool,
    /// `#`
    pub alternate: bool,
    /// `0`
    pub zero: bool,
    /// Least width; `*` counts as none.
    pub width: u32,
    /// Precision, which has no effect on integers and strings.
    pub precision: Option<u32>,
    /// Bytes that the value is cut to: 1, 2, 4 or 8.
    pub bytes: u8,
    /// What it is shown as.
    pub kind: ConvKind,
}

/// See [`Conversion`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum ConvKind {
    /// `d`, `i`
    #[default]
    Signed,
    /// `u`
    Unsigned,
    /// `o`
    Octal,
    /// `x`
    Hex,
    /// `X`
    UpperHex,
    /// `c`
    Char,
    /// `p`
    Pointer,
    /// `s`
    Text,
    /// `r`
    Bytes,
    /// `rx`
    BytesHex,
    /// `rh`
    BytesSpacedHex,
    /// `gr`
    GfpFlags,
}

/// A parsed format.
pub type Format = Vec<Piece>;

/// What a record asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `printf`
    Printf {
        /// The format.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `print(x)`
    Value(Arg),
    /// `print(@m, top, div)`: control record without arguments, or with two `u64` if they are not constant.
    PrintMap {
        /// Index into [`Plan::maps`].
        map: usize,
        /// Only so many of the highest; 0 for all.
        top: u64,
        /// Integer values are divided by it; 0 and 1 for none.
        div: u64,
    },
    /// `clear(@m)`
    Clear(usize),
    /// `zero(@m)`
    Zero(usize),
    /// `exit()`: the code is an `i64` at offset 16 of the control record.
    Exit,
    /// `time(fmt)`
    Time(String),
    /// `system(fmt, ...)`
    System {
        /// The command.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `cat(fmt, ...)`
    Cat {
        /// The path.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `join(argv, sep)`: a `u32` count at `offset`, then strings of `size` bytes each from `offset` + 8.
    Join {
        /// Offset of the count.
        offset: u32,
        /// Bytes of each string.
        size: u32,
        /// Between them.
        separator: String,
    },
    /// `errorf` and `warnf`
    Message {
        /// Counts as an error.
        error: bool,
        /// The format.
        format: Format,
        /// Its arguments.
        args: Vec<Arg>,
        /// Where the call stands.
        loc: Loc,
    },
    /// A warning about an operation that failed: an `i64` return code at offset 16 of the control record.
    Runtime {
        /// What failed.
        what: RuntimeError,
        /// Where it stands.
        loc: Loc,
    },
    /// `skboutput(file, ...)`: `u64` time and `u32` length at `offset`, then the packet from `offset` + 16.
    Packet {
        /// pcap file.
        path: String,
        /// Offset of the time.
        offset: u32,
    },
}

/// What a script can be warned of while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeError {
    /// Division by zero; the result is 1.
    DivisionByZero,
    /// Index out of range; the result is 0.
    OutOfBounds,
    /// A comm for a pid that no task has.
    NoSuchTask,
    /// A helper failed: its name without `bpf_`.
    Helper(&'static str),
}

/// A map of the script as user space prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPlan {
    /// Name with `@`.
    pub name: String,
    /// The kernel's map.
    pub id: MapId,
    /// Key; `None` for a scalar map.
    pub key: Option<Layout>,
    /// Bytes of the key as the script sees it, without what the storage adds.
    pub key_size: u32,
    /// Value.
    pub value: MapValue,
    /// How elements are stored.
    pub storage: Storage,
}

/// See [`MapPlan`].
#[derive(Clone, Debug, PartialEq)]
pub enum MapValue {
    /// An ordinary value.
    Plain(Layout),
    /// Collected numbers.
    Agg(AggTy),
}

/// How the elements of a map are stored in the kernel.
///
/// Values are in memory as [`Layout`] and [`AggTy`] say, with two additions. An integer, pointer or other number
/// takes 8 bytes whatever its own width, extended by its sign, so that it can be updated atomically: its low
/// bytes are its value. And what has no key has been *written* or not, which decides whether it is printed at
/// the end: see [`Storage::Single`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Element 0 of an array of one. Behind the value, at the next multiple of 8, is a `u64` that is not 0 once
    /// the value has been written (on any CPU). Setting the value to zero leaves it, removing it clears it.
    Single {
        /// One value for each CPU.
        per_cpu: bool,
    },
    /// Elements by key in a hash.
    Hash {
        /// One value for each CPU.
        per_cpu: bool,
    },
    /// Per-CPU array: element n is bucket (or slot) n of the only histogram (or series). There is one if any
    /// element is not zero.
    Buckets,
    /// Per-CPU hash: the key is followed, at the next multiple of 8, by a `u64` bucket or slot number. Buckets
    /// of one key are separate elements.
    KeyedBuckets,
}

/// An option that the script asks for with `getopt`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptOption {
    /// Name without dashes.
    pub name: String,
    /// Help text.
    pub help: String,
}

/// A probe for tests and benchmarks, and for the count of attached ones.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePlan {
    /// Full name, e.g. `tracepoint:syscalls:sys_enter_execve`.
    pub name: String,
    /// Index into the module's programs.
    pub program: usize,
}

/// Everything that user space needs to run a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Events by number.
    pub events: Vec<Event>,
    /// Maps in order of name.
    pub maps: Vec<MapPlan>,
    /// Probes in source order, one for each attach point after wildcards.
    pub probes: Vec<ProbePlan>,
    /// Formats of timestamps.
    pub time_formats: Vec<String>,
    /// Filters of `cgroup_path`.
    pub cgroup_filters: Vec<String>,
    /// Ring of data records, if there are any.
    pub data_ring: Option<MapId>,
    /// Ring of control records, if there are any.
    pub control_ring: Option<MapId>,
    /// Stacks by id, if there are any: key `u64` id, value `u64` frames ended by a 0 or by the size.
    pub stacks: Option<MapId>,
    /// Stacks of [`StackMode::BuildId`] by id: frames are `struct bpf_stack_build_id` of 32 bytes (`linux/bpf.h`),
    /// ended by a `status` of 0 or by the size.
    pub build_id_stacks: Option<MapId>,
    /// Array with one `u64` for the state of `exit()`: 0 while running, else 1 + the code. It is set before
    /// the record is made, so that an exit is seen even if there was no room for the record.
    pub exit_state: Option<MapId>,
    /// Array with the start of the run for `elapsed`: nanoseconds of the boot clock, written before attaching.
    pub start_time: Option<MapId>,
}

/// What a time series keeps for an interval, as printed; see [`AggTy::Tseries`].
pub type Series = SeriesAgg;
