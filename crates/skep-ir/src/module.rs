//! A module: everything that one compilation loads together.

use crate::func::Func;
use crate::kinds::ProgKind;
use crate::source::SourceMap;
use crate::spec::Attach;
use crate::types::{TypeId, Types};
use cranelift_entity::{PrimaryMap, entity_impl};

/// A function of a module.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FuncId(u32);
entity_impl!(FuncId, "fn");

/// A map of a module.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapId(u32);
entity_impl!(MapId, "map");

/// A global of a module.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GlobalId(u32);
entity_impl!(GlobalId, "global");

/// A set of constants of a module.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(u32);
entity_impl!(SetId, "set");

/// Map types, as the kernel numbers them (`enum bpf_map_type` of `linux/bpf.h`).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PercpuHash = 5,
    PercpuArray = 6,
    StackTrace = 7,
    CgroupArray = 8,
    LruHash = 9,
    LruPercpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
    Devmap = 14,
    Sockmap = 15,
    Cpumap = 16,
    Xskmap = 17,
    Sockhash = 18,
    CgroupStorage = 19,
    ReuseportSockarray = 20,
    PercpuCgroupStorage = 21,
    Queue = 22,
    Stack = 23,
    SkStorage = 24,
    DevmapHash = 25,
    StructOps = 26,
    RingBuf = 27,
    InodeStorage = 28,
    TaskStorage = 29,
    BloomFilter = 30,
    UserRingBuf = 31,
    CgrpStorage = 32,
    Arena = 33,
    InsnArray = 34,
}

impl MapKind {
    /// Whether each CPU has a value of its own.
    #[must_use]
    pub fn is_per_cpu(self) -> bool {
        use MapKind::{LruPercpuHash, PercpuArray, PercpuCgroupStorage, PercpuHash};
        matches!(self, PercpuHash | PercpuArray | LruPercpuHash | PercpuCgroupStorage)
    }

    /// Whether keys are the numbers below `max_entries`, all of them present.
    #[must_use]
    pub fn is_array(self) -> bool {
        matches!(self, MapKind::Array | MapKind::PercpuArray)
    }
}

/// A map.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Full name; the kernel shows the first 15 bytes.
    pub name: String,
    /// Kind.
    pub kind: MapKind,
    /// Key type for readable dumps; `None` for rings and the like.
    pub key: Option<TypeId>,
    /// Value type.
    pub value: Option<TypeId>,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (of one CPU's value in per-CPU maps).
    pub value_size: u32,
    /// Elements, or bytes of a ring.
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Inner map of map-in-map kinds.
    pub inner: Option<MapId>,
    /// Elements to write before programs load: key and value bytes.
    pub contents: Vec<(Vec<u8>, Vec<u8>)>,
    /// Name under which it is pinned, if it is.
    pub pin: Option<String>,
}

/// Where a global lives.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Constants: frozen before programs load, so that the verifier and the compiler may fold them.
    Rodata,
    /// Initialised variables.
    Data,
    /// Zeroed variables.
    Bss,
    /// A value of the kernel's configuration.
    Kconfig,
    /// The address of a kernel symbol.
    Ksym,
}

/// A global variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// Name.
    pub name: String,
    /// Section.
    pub section: Section,
    /// Type.
    pub ty: TypeId,
    /// Bytes.
    pub size: u32,
    /// Alignment, a power of two.
    pub align: u32,
    /// Initial bytes; empty means zero.
    pub init: Vec<u8>,
}

/// Constants to test values against.
#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    /// Integers.
    Ints(Vec<i64>),
    /// Whole strings.
    Strings(Vec<Vec<u8>>),
    /// Leading bits: bytes in network order and the number of bits that count. All have `bytes` bytes.
    Prefixes {
        /// Bytes of the values that are tested, e.g. 4 for IPv4.
        bytes: u32,
        /// The prefixes.
        list: Vec<(Vec<u8>, u32)>,
    },
}

/// A program: a function that the kernel can run, and where it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct Prog {
    /// Name; the kernel shows the first 15 bytes.
    pub name: String,
    /// The function. Its only parameter is the context, its result an `i32` or `i64`.
    pub func: FuncId,
    /// What the kernel runs it as.
    pub kind: ProgKind,
    /// Where it is attached; several places may share one program.
    pub attach: Vec<Attach>,
    /// Whether it may sleep.
    pub sleepable: bool,
}

/// One compilation.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Licence that the kernel is told; GPL-compatible ones open all helpers.
    pub license: String,
    /// The texts that locations refer to.
    pub sources: SourceMap,
    /// Memory types.
    pub types: Types,
    /// Maps.
    pub maps: PrimaryMap<MapId, Map>,
    /// Globals.
    pub globals: PrimaryMap<GlobalId, Global>,
    /// Sets.
    pub sets: PrimaryMap<SetId, Set>,
    /// Functions, programs' and others.
    pub funcs: PrimaryMap<FuncId, Func>,
    /// Programs.
    pub progs: Vec<Prog>,
    /// The ledger, if losses are counted: a per-CPU array with one row per program, see [`crate::inst::Ledger`].
    pub ledger: Option<MapId>,
}
