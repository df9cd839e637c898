//! Modules that have every shape that the data structures allow, sensible or not: what the text form must carry.

use super::entropy::Entropy;
use cranelift_entity::EntityRef;
use skep_ir::func::{Def, InstData, Linkage, LoopHead, SlotData, Storage, ValueData};
use skep_ir::inst::{
    Agg, AtomicOp, BinOp, CmpOp, Core, Fact, InstKind as I, Ledger, Scalar, Space, Step, Target,
};
use skep_ir::kinds::ProgKind;
use skep_ir::module::{Global, Map, MapKind, Prog, Section, Set};
use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample, When};
use skep_ir::types::{IntKind, Member, PtrClass, PtrTy, Qualifier, Ty, Type, TypeId};
use skep_ir::{Block, Func, FuncId, GlobalId, MapId, Module, SetId, Slot, Value};

/// Variants that [`kind`] makes.
pub const KINDS: usize = 72;

pub fn module(e: &mut Entropy<'_>) -> Module {
    let mut m = Module { license: e.name(), ..Module::default() };
    types(&mut m, e);
    let (maps, globals, sets, funcs) = (1 + e.below(3), 1 + e.below(3), 1 + e.below(3), 1 + e.below(3));
    let counts = Counts { types: m.types.iter().count(), maps, globals, sets, funcs };
    for _ in 0..maps {
        let map = map(e, &counts);
        m.maps.push(map);
    }
    for _ in 0..globals {
        m.globals.push(Global {
            name: e.name(),
            section: e.pick(&[Section::Rodata, Section::Data, Section::Bss, Section::Kconfig, Section::Ksym]),
            ty: counts.ty(e),
            size: e.u32(),
            align: e.u32(),
            init: e.text(),
        });
    }
    for _ in 0..sets {
        m.sets.push(match e.below(3) {
            0 => Set::Ints((0..e.below(4)).map(|_| e.i64()).collect()),
            1 => Set::Strings((0..e.below(4)).map(|_| e.text()).collect()),
            _ => {
                Set::Prefixes { bytes: e.u32(), list: (0..e.below(3)).map(|_| (e.text(), e.u32())).collect() }
            }
        });
    }
    for _ in 0..funcs {
        let f = func(e, &counts);
        m.funcs.push(f);
    }
    for _ in 0..e.below(3) {
        m.progs.push(Prog {
            name: e.name(),
            func: counts.func(e),
            kind: e.pick(ProgKind::ALL),
            attach: (0..e.below(3)).map(|_| attach(e)).collect(),
            sleepable: e.flip(),
        });
    }
    m.ledger = e.flip().then(|| counts.map(e));
    m
}

struct Counts {
    types: usize,
    maps: usize,
    globals: usize,
    sets: usize,
    funcs: usize,
}

impl Counts {
    fn ty(&self, e: &mut Entropy<'_>) -> TypeId {
        TypeId::new(e.below(self.types))
    }

    fn map(&self, e: &mut Entropy<'_>) -> MapId {
        MapId::new(e.below(self.maps))
    }

    fn global(&self, e: &mut Entropy<'_>) -> GlobalId {
        GlobalId::new(e.below(self.globals))
    }

    fn set(&self, e: &mut Entropy<'_>) -> SetId {
        SetId::new(e.below(self.sets))
    }

    fn func(&self, e: &mut Entropy<'_>) -> FuncId {
        FuncId::new(e.below(self.funcs))
    }

    fn value_ty(&self, e: &mut Entropy<'_>) -> Ty {
        let class = match e.below(20) {
            0 | 1 => return Ty::I64,
            2 => return Ty::I32,
            3 => return Ty::I16,
            4 => return Ty::I8,
            5 => return Ty::I1,
            6 => PtrClass::Ctx,
            7 => PtrClass::Frame,
            8 => PtrClass::MapValue(self.map(e)),
            9 => PtrClass::MapKey(self.map(e)),
            10 => PtrClass::Global(self.global(e)),
            11 => PtrClass::MapRef(self.map(e)),
            12 => PtrClass::Func(self.func(e)),
            13 => e.pick(&[PtrClass::Packet, PtrClass::PacketMeta, PtrClass::PacketEnd]),
            14 => PtrClass::KernelTrusted(self.ty(e)),
            15 => PtrClass::KernelUntrusted(self.ty(e)),
            16 => PtrClass::KernelRaw(self.ty(e)),
            17 => PtrClass::User(self.ty(e)),
            18 => PtrClass::Record(e.u32()),
            _ => PtrClass::Memory(e.u32()),
        };
        Ty::Ptr(PtrTy { class, nullable: e.flip() })
    }
}

fn types(m: &mut Module, e: &mut Entropy<'_>) {
    let void = m.types.void();
    let mut ids = vec![void];
    for _ in 0..e.below(12) {
        let inner = e.pick(&ids);
        let kind = e.pick(&[IntKind::Unsigned, IntKind::Signed, IntKind::Bool, IntKind::Char]);
        let qualifiers =
            [Qualifier::Const, Qualifier::Volatile, Qualifier::User, Qualifier::Rcu, Qualifier::PerCpu];
        ids.push(match e.below(13) {
            0 => {
                let bytes = e.pick(&[1, 2, 4, 8]);
                m.types.int(bytes, e.flip())
            }
            1 => m.types.add(Type::Int { name: e.name(), bytes: e.u32(), kind }),
            2 => m.types.add(Type::Float { name: e.name(), bytes: e.u32() }),
            3 => m.types.ptr(inner),
            4 => m.types.array(inner, e.u32()),
            5 => {
                let members = (0..e.below(3))
                    .map(|_| Member {
                        name: e.name(),
                        ty: e.pick(&ids),
                        bit_offset: e.u32(),
                        bit_size: e.u32() % 3,
                    })
                    .collect();
                m.types.add(Type::Composite { name: e.name(), union: e.flip(), size: e.u32(), members })
            }
            6 => {
                let variants = (0..e.below(3)).map(|_| (e.name(), e.i64())).collect();
                m.types.add(Type::Enum { name: e.name(), bytes: e.u32(), variants })
            }
            7 => m.types.kernel(e.name(), e.u32() % 3),
            8 => m.types.add(Type::Forward { name: e.name(), union: e.flip() }),
            9 => m.types.add(Type::Typedef { name: e.name(), to: inner }),
            10 => m.types.add(Type::Qualified(e.pick(&qualifiers), inner)),
            11 => {
                let params = (0..e.below(3)).map(|_| (e.name(), e.pick(&ids))).collect();
                m.types.add(Type::FuncProto { params, ret: inner })
            }
            _ => m.types.add(Type::Int { name: "char".to_owned(), bytes: 1, kind }),
        });
    }
}

fn map(e: &mut Entropy<'_>, counts: &Counts) -> Map {
    let kinds =
        [MapKind::Hash, MapKind::PercpuArray, MapKind::RingBuf, MapKind::LpmTrie, MapKind::HashOfMaps];
    Map {
        name: e.name(),
        kind: e.pick(&kinds),
        key: e.flip().then(|| counts.ty(e)),
        value: e.flip().then(|| counts.ty(e)),
        key_size: e.u32(),
        value_size: e.u32(),
        max_entries: e.u32(),
        flags: e.u32(),
        inner: e.flip().then(|| counts.map(e)),
        contents: (0..e.below(3)).map(|_| (e.text(), e.text())).collect(),
        pin: e.flip().then(|| e.name()),
    }
}

fn attach(e: &mut Entropy<'_>) -> Attach {
    let pid = e.flip().then(|| e.u32());
    let mut numbers = || (0..e.below(3)).map(|_| e.u64()).collect::<Vec<_>>();
    let (offsets, semaphores, cookies) = (numbers(), numbers(), numbers());
    match e.below(11) {
        0 => Attach::Once(e.pick(&[When::Begin, When::End, When::Manual])),
        1 => Attach::Signal(e.u32() as i32),
        2 => Attach::Tracepoint { category: e.name(), event: e.name() },
        3 => Attach::RawTracepoint { event: e.name() },
        4 => Attach::Kprobe { symbol: e.name(), offset: e.u64(), ret: e.flip() },
        5 => Attach::KprobeMulti { symbols: (0..e.below(3)).map(|_| e.name()).collect(), ret: e.flip() },
        6 => Attach::Trampoline { function: e.name(), module: e.name() },
        7 => {
            let (path, offset, semaphore, cookie) = (e.name(), e.u64(), e.u64(), e.u64());
            Attach::Uprobe { path, offset, semaphore, ret: e.flip(), pid, cookie }
        }
        8 => Attach::UprobeMulti { path: e.name(), offsets, semaphores, cookies, ret: e.flip(), pid },
        9 => Attach::Perf(PerfEvent {
            perf_type: e.u32(),
            config: e.u64(),
            sample: if e.flip() { Sample::Period(e.u64()) } else { Sample::Frequency(e.u64()) },
            bp_len: e.u32(),
            bp_type: e.u32(),
            cpus: e.pick(&[Cpus::One, Cpus::Online]),
            pid,
        }),
        _ => Attach::Iter { target: e.name(), pin: e.flip().then(|| e.name()) },
    }
}

fn func(e: &mut Entropy<'_>, counts: &Counts) -> Func {
    let linkages = [Linkage::Entry, Linkage::Inline, Linkage::Static, Linkage::Global, Linkage::Closure];
    let names: Vec<String> = (0..e.below(4)).map(|_| e.name()).collect();
    let params: Vec<(&str, Ty)> = names.iter().map(|n| (n.as_str(), counts.value_ty(e))).collect();
    let ret = e.flip().then(|| counts.value_ty(e));
    let mut f = Func::new(e.name(), e.pick(&linkages), &params, ret);
    f.captures = (0..e.below(3)).map(|_| counts.value_ty(e)).collect();
    for _ in 0..e.below(3) {
        f.slots.push(SlotData {
            name: e.name(),
            size: e.u32(),
            align: e.u32(),
            storage: e.pick(&[Storage::Auto, Storage::Stack, Storage::Scratch]),
            ty: e.flip().then(|| counts.ty(e)),
        });
    }
    // A first value and a first slot, so that there is always something to refer to.
    f.slots.push(SlotData { name: "s".to_owned(), size: 8, align: 8, storage: Storage::Auto, ty: None });
    let entry = f.entry();
    let zero = f.make_inst(I::Const(0), Some(Ty::I64), None);
    f.blocks[entry].insts.push(zero);
    for _ in 0..e.below(4) {
        let block = f.add_block();
        for _ in 0..e.below(3) {
            let ty = counts.value_ty(e);
            f.add_param(block, ty);
        }
        f.blocks[block].loop_head = e.flip().then(|| LoopHead { bound: e.flip().then(|| e.u32()) });
        f.blocks[block].cold = e.flip();
    }
    let layout = f.layout.clone();
    for &block in &layout {
        for _ in 0..e.below(8) {
            let kind = kind(e, &f, counts, None);
            let result = e.flip().then(|| counts.value_ty(e));
            push(&mut f, block, kind, result);
        }
    }
    f.compact();
    f
}

/// Appends an instruction, also behind the end of a block.
pub fn push(f: &mut Func, block: Block, kind: I, result: Option<Ty>) {
    let inst = f.insts.push(InstData { kind, result: None.into(), loc: None });
    if let Some(ty) = result {
        f.insts[inst].result = f.values.push(ValueData { ty, def: Def::Inst(inst) }).into();
    }
    f.blocks[block].insts.push(inst);
}

/// A module of one function that has every kind of instruction.
pub fn one_of_each(e: &mut Entropy<'_>) -> Module {
    let mut m = module(e);
    let counts = Counts {
        types: m.types.iter().count(),
        maps: m.maps.len(),
        globals: m.globals.len(),
        sets: m.sets.len(),
        funcs: m.funcs.len() + 1,
    };
    let mut f = func(e, &counts);
    let entry = f.entry();
    for n in 0..KINDS {
        let kind = kind(e, &f, &counts, Some(n));
        push(&mut f, entry, kind, None);
    }
    f.compact();
    m.funcs.push(f);
    m
}

fn kind(e: &mut Entropy<'_>, f: &Func, counts: &Counts, which: Option<usize>) -> I {
    let v = |e: &mut Entropy<'_>| Value::new(e.below(f.values.len()));
    let off = e.u32() as i32;
    let (cap, cap2, n) = (e.u32(), e.u32(), e.u32());
    let (a, b, c) = (v(e), v(e), v(e));
    let args: Vec<Value> = (0..e.below(4)).map(|_| v(e)).collect();
    let maybe = e.flip().then(|| v(e));
    let map = counts.map(e);
    let set = counts.set(e);
    let space = e.pick(&[Space::Kernel, Space::User]);
    let signed = e.flip();
    let path: Vec<Step> = (0..e.below(4))
        .map(|_| match e.below(4) {
            0 => Step::Field(e.name()),
            1 => Step::Index(e.u32()),
            2 => Step::IndexBy(a, e.u32()),
            _ => Step::Offset(e.u32() as i32),
        })
        .collect();
    let target = |e: &mut Entropy<'_>| {
        let block = f.layout[e.below(f.layout.len())];
        Target { block, args: (0..e.below(3)).map(|_| Value::new(e.below(f.values.len()))).collect() }
    };
    use BinOp as B;
    let bins = [
        B::Add,
        B::Sub,
        B::Mul,
        B::UDiv,
        B::SDiv,
        B::URem,
        B::SRem,
        B::And,
        B::Or,
        B::Xor,
        B::Shl,
        B::LShr,
        B::AShr,
    ];
    use CmpOp as C;
    let cmps = [C::Eq, C::Ne, C::ULt, C::ULe, C::UGt, C::UGe, C::SLt, C::SLe, C::SGt, C::SGe];
    let which = which.unwrap_or_else(|| e.below(KINDS));
    match which {
        0 => I::Const(e.i64()),
        1 => I::Null,
        2 => I::Bin(e.pick(&bins), a, b),
        3 => I::Neg(a),
        4 => I::Bswap(a),
        5 => I::Cmp(e.pick(&cmps), a, b),
        6 => I::IsNull(a),
        7 => I::Zext(a),
        8 => I::Sext(a),
        9 => I::Trunc(a),
        10 => I::Select(a, b, c),
        11 => I::Refine(
            a,
            match e.below(4) {
                0 => Fact::Unsigned(e.u64(), e.u64()),
                1 => Fact::Signed(e.i64(), e.i64()),
                2 => Fact::NonNull,
                _ => Fact::PacketRange(n),
            },
        ),
        12 => I::SlotAddr(Slot::new(e.below(f.slots.len()))),
        13 => I::Capture(n),
        14 => I::GlobalAddr(counts.global(e)),
        15 => I::MapRef(map),
        16 => I::FuncRef(counts.func(e)),
        17 => I::PtrAdd(a, off, maybe),
        18 => I::PtrToInt(a),
        19 => I::IntToPtr(a),
        20 => I::Load { ptr: a, off, volatile: signed },
        21 => I::Store { ptr: a, off, val: b },
        22 => I::MemCopy { dst: a, src: b, len: n },
        23 => I::MemSet { dst: a, byte: e.byte(), len: n },
        24 => I::MemEq { a, b, len: n },
        25 => I::StrConst { dst: a, text: e.text(), cap },
        26 => I::StrCopy { dst: a, dst_cap: cap, src: b, src_cap: cap2 },
        27 => I::StrEq { a, a_cap: cap, b, b_cap: cap2 },
        28 => I::StrEqConst { a, cap, text: e.text() },
        29 => I::StrEqN { a, a_cap: cap, b, b_cap: cap2, n },
        30 => I::StrLen { ptr: a, cap },
        31 => I::StrFind { hay: a, hay_cap: cap, needle: b, needle_cap: cap2 },
        32 => I::CtxLoad { ctx: a, off },
        33 => I::CtxStore { ctx: a, off, val: b },
        34 => {
            let bits = e.flip().then(|| (e.u32(), e.u32()));
            let scalar = e.flip().then_some(Scalar { bytes: n, signed, bits });
            I::FieldLoad { base: a, path, scalar }
        }
        35 => I::FieldAddr { base: a, path },
        36 => I::ProbeRead { dst: a, len: b, max: n, src: c, space },
        37 => I::ProbeReadStr { dst: a, cap, len: maybe, src: c, space },
        38 => {
            let all = [
                Core::FieldOffset,
                Core::FieldSize,
                Core::FieldExists,
                Core::FieldSigned,
                Core::TypeExists,
                Core::TypeSize,
                Core::TypeId,
                Core::EnumExists,
                Core::EnumValue,
            ];
            I::Core { what: e.pick(&all), ty: counts.ty(e), path }
        }
        39 => I::MapLookup { map, key: a },
        40 => I::MapLookupPercpu { map, key: a, cpu: b },
        41 => I::MapUpsert { map, key: a },
        42 => I::MapUpdate { map, key: a, val: b, flags: e.u64() },
        43 => I::MapDelete { map, key: a },
        44 => I::ForEach { map, body: counts.func(e), captures: args },
        45 => I::ForRange { start: a, end: b, body: counts.func(e), captures: args },
        46 => {
            let all = [Agg::Count, Agg::Sum, Agg::Min { signed }, Agg::Max { signed }, Agg::Stats];
            I::Agg { agg: e.pick(&all), cell: a, val: maybe }
        }
        47 => I::HistBucket { val: a, bits: e.byte() },
        48 => I::LinearBucket { val: a, min: e.i64(), max: e.i64(), step: e.i64() },
        49 => I::EventReserve { ring: map, size: n },
        50 => I::EventSubmit { rec: a, wake: signed },
        51 => I::EventDiscard { rec: a },
        52 => I::EventOutput { ring: map, data: a, len: b, max: n },
        53 => {
            use Ledger as L;
            I::Count(e.pick(&[L::Seen, L::Committed, L::LostRing, L::LostMap, L::LostScratch, L::Filtered]))
        }
        54 => I::StackId { ctx: a, map, user: signed, depth: n, build_id: e.flip() },
        55 => I::SetMember { val: a, set },
        56 => I::StrMember { ptr: a, cap, set },
        57 => I::PrefixMatch { ptr: a, set },
        58 => I::PacketCheck { ptr: a, end: b, len: n },
        59 | 60 => I::Helper(e.u32() % 300, args),
        61 => I::Kfunc(e.name(), args),
        62 => I::Call(counts.func(e), args),
        63 => I::TailCall { ctx: a, map, index: b },
        64 => {
            use AtomicOp as A;
            I::Atomic { op: e.pick(&[A::Add, A::And, A::Or, A::Xor, A::Xchg]), ptr: a, off, val: b }
        }
        65 => I::CmpXchg { ptr: a, off, expected: b, new: c },
        66 => I::Br(target(e)),
        67 => I::CondBr { cond: a, then: target(e), other: target(e) },
        68 => I::Switch {
            val: a,
            cases: (0..e.below(3)).map(|_| (e.i64(), target(e))).collect(),
            default: target(e),
        },
        69 => I::Ret(None),
        70 => I::Ret(Some(a)),
        _ => I::Unreachable,
    }
}
