//! Programs that make sense: typed, bounded, and free of what the kernel's verifier would refuse.

use super::entropy::Entropy;
use super::world;
use skep_ir::func::{Linkage, LoopHead, Storage};
use skep_ir::inst::{Agg, AtomicOp, BinOp, CmpOp, Fact, InstKind as I, Ledger, Scalar, Space, Step, Target};
use skep_ir::module::{Global, Map, MapKind, Prog, Section, Set};
use skep_ir::types::{PtrClass, Ty};
use skep_ir::{
    Block, Func, FuncBuilder, FuncId, GlobalId, MapId, Module, ProgKind, SetId, Slot, TypeId, Value,
};

pub const CTX: u32 = 64;
/// BTF of the kernel that generated programs know.
pub const BTF: &str = "INT \"unsigned int\" size=4
INT long size=8 SIGNED
INT short size=2 SIGNED
INT char size=1 SIGNED
ARRAY 4[16] index=1
STRUCT inner size=16 { a: 1 @0; b: 2 @64 }
STRUCT obj size=64 { id: 1 @0; flag: 1 @32:3; mode: 3 @37:5; n: 2 @64; name: 5 @128; in: 6 @256; next: 8 @384 }
PTR -> 7
";

/// The items of every generated module.
struct Items {
    hash: MapId,
    percpu: MapId,
    array: MapId,
    ring: MapId,
    stacks: MapId,
    data: GlobalId,
    consts: GlobalId,
    ints: SetId,
    many: SetId,
    texts: SetId,
    nets: SetId,
    bytes: TypeId,
    object: TypeId,
}

pub struct Generator<'b> {
    pub e: Entropy<'b>,
    pub module: Module,
    items: Items,
    helpers: Vec<FuncId>,
    /// Statements still to be made, all functions together.
    budget: u32,
}

/// What is in scope.
struct Scope<'f> {
    b: FuncBuilder<'f>,
    values: Vec<Value>,
    vars: Vec<(Slot, Ty)>,
    /// Zero-filled buffers of 40 bytes.
    buffers: Vec<Value>,
    ctx: Option<Value>,
    depth: u32,
    ret: Ty,
}

const BUFFER: u32 = 40;

pub fn generate(bytes: &[u8]) -> Module {
    let mut e = Entropy::new(bytes);
    let mut module = Module { license: "GPL".to_owned(), ..Module::default() };
    let items = items(&mut module);
    let budget = 6 + e.below(40) as u32;
    let mut g = Generator { e, module, items, helpers: Vec::new(), budget };
    for n in 0..g.e.below(3) {
        let linkage = g.e.pick(&[Linkage::Inline, Linkage::Static]);
        let mut f = Func::new(format!("h{n}"), linkage, &[("a", Ty::I64), ("b", Ty::I32)], Some(Ty::I64));
        g.body(&mut f, 1);
        let id = g.module.funcs.push(f);
        g.helpers.push(id);
    }
    let mut f = Func::new("main", Linkage::Entry, &[("ctx", Ty::ptr(PtrClass::Ctx))], Some(Ty::I64));
    g.body(&mut f, 0);
    let func = g.module.funcs.push(f);
    let kind = g.e.pick(&[ProgKind::Kprobe, ProgKind::Xdp, ProgKind::TpBtf]);
    g.module.progs.push(Prog { name: "main".to_owned(), func, kind, attach: Vec::new(), sleepable: false });
    g.module
}

fn items(m: &mut Module) -> Items {
    let mut map = |name: &str, kind, key_size, value_size, max_entries| {
        let (name, key, value, inner, pin) = (name.to_owned(), None, None, None, None);
        let contents = Vec::new();
        m.maps.push(Map {
            name,
            kind,
            key,
            value,
            key_size,
            value_size,
            max_entries,
            flags: 0,
            inner,
            contents,
            pin,
        })
    };
    let hash = map("hash", MapKind::Hash, 8, 24, 4);
    let percpu = map("percpu", MapKind::PercpuHash, 12, 16, 4);
    let array = map("array", MapKind::Array, 4, 16, 3);
    let ring = map("ring", MapKind::RingBuf, 0, 0, 4096);
    let stacks = map("stacks", MapKind::Hash, 8, 32, 8);
    let ledger = map("ledger", MapKind::PercpuArray, 4, 48, 1);
    m.ledger = Some(ledger);
    let bytes = m.types.bytes(16);
    let object = m.types.kernel("struct obj", 0);
    let mut global = |name: &str, section, init: Vec<u8>| {
        m.globals.push(Global { name: name.to_owned(), section, ty: bytes, size: 16, align: 8, init })
    };
    let data = global("data", Section::Data, vec![1, 2, 3]);
    let consts = global("consts", Section::Rodata, (1..=16).collect());
    let ints = m.sets.push(Set::Ints(vec![0, 1, -1, 7, 64]));
    let many = m.sets.push(Set::Ints((-20..20).map(|n| n * 3).collect()));
    let texts =
        m.sets.push(Set::Strings(["", "a", "abc", "bcda", "xyz"].map(|s| s.as_bytes().to_vec()).to_vec()));
    let prefix = |bytes: [u8; 4], bits| (bytes.to_vec(), bits);
    let list =
        vec![prefix([10, 0, 0, 0], 8), prefix([10, 1, 0, 0], 16), prefix([0; 4], 1), prefix([97; 4], 32)];
    let nets = m.sets.push(Set::Prefixes { bytes: 4, list });
    Items { hash, percpu, array, ring, stacks, data, consts, ints, many, texts, nets, bytes, object }
}

impl Generator<'_> {
    fn body(&mut self, func: &mut Func, depth: u32) {
        let params: Vec<Value> = func.params().to_vec();
        let ret = func.ret.expect("every generated function returns something");
        let captures = func.captures.clone();
        let types = [Ty::I64, Ty::I32, Ty::I16, Ty::I8, Ty::I64];
        let vars: Vec<(Slot, Ty)> = types
            .iter()
            .take(1 + self.e.below(5))
            .map(|&ty| {
                (func.add_slot(format!("var{}", ty.bits()), ty.bytes(), ty.bytes(), Storage::Auto), ty)
            })
            .collect();
        let slots: Vec<Slot> =
            (0..2).map(|n| func.add_slot(format!("buf{n}"), BUFFER, 8, Storage::Auto)).collect();
        let mut s = Scope {
            b: FuncBuilder::new(func),
            values: Vec::new(),
            vars,
            buffers: Vec::new(),
            ctx: None,
            depth,
            ret,
        };
        for &p in &params {
            match s.b.func.ty(p) {
                ty if ty.is_int() => s.values.push(p),
                Ty::Ptr(ptr) if ptr.class == PtrClass::Ctx => {
                    s.ctx = Some(p);
                    for off in [0, 8] {
                        let n = s.b.value(I::CtxLoad { ctx: p, off }, Ty::I64);
                        s.values.push(n);
                    }
                }
                Ty::Ptr(_) => {
                    let n = s.b.load(p, 0, Ty::I32);
                    s.values.push(n);
                }
                _ => {}
            }
        }
        for slot in slots {
            let at = s.b.slot_addr(slot);
            s.b.inst(I::MemSet { dst: at, byte: 0, len: BUFFER }, None);
            s.buffers.push(at);
        }
        for i in 0..s.vars.len() {
            let (slot, ty) = s.vars[i];
            let at = s.b.slot_addr(slot);
            let n = s.b.iconst(ty, self.e.i64());
            s.b.store(at, 0, n);
        }
        for (n, ty) in captures.into_iter().enumerate() {
            let v = s.b.value(I::Capture(n as u32), ty);
            match ty {
                Ty::Ptr(p) if p.class == PtrClass::Frame => s.buffers.push(v),
                Ty::Ptr(p) if p.class == PtrClass::Ctx => s.ctx = Some(v),
                ty if ty.is_int() => s.values.push(v),
                _ => {
                    let n = s.b.load(v, 8, Ty::I64);
                    s.values.push(n);
                }
            }
        }
        let n = s.b.i64(self.e.i64());
        s.values.push(n);
        self.statements(&mut s);
        let value = self.result(&mut s);
        s.b.ret(Some(value));
    }

    /// What a function returns: every variable has a part in it, so that a lost store shows.
    fn result(&mut self, s: &mut Scope<'_>) -> Value {
        let mut sum = self.value(s, Ty::I64);
        for i in 0..s.vars.len() {
            let n = self.load_var(s, i);
            let n = s.b.resize(n, Ty::I64, true);
            sum = s.b.bin(BinOp::Xor, sum, n);
        }
        if s.depth > 0 {
            // Closures go on now and then, and what they return is not always 0 or 1.
            let mask = s.b.i64(3);
            sum = s.b.bin(BinOp::And, sum, mask);
        }
        s.b.resize(sum, s.ret, false)
    }

    fn statements(&mut self, s: &mut Scope<'_>) {
        let scope = s.values.len();
        let most = if s.depth == 0 { 9 } else { 5 };
        for _ in 0..1 + self.e.below(most) {
            if self.budget == 0 || self.e.is_spent() || s.b.is_closed() {
                break;
            }
            self.budget -= 1;
            self.statement(s);
        }
        s.values.truncate(scope.max(1));
    }

    /// A value of a type.
    fn value(&mut self, s: &mut Scope<'_>, ty: Ty) -> Value {
        if s.values.is_empty() || self.e.once_in(5) {
            let n = self.e.i64();
            return s.b.iconst(ty, n);
        }
        let v = s.values[self.e.below(s.values.len())];
        let signed = self.e.flip();
        s.b.resize(v, ty, signed)
    }

    /// An `i64` between two numbers, in a way that shows.
    fn between(&mut self, s: &mut Scope<'_>, lo: u32, mask: u32) -> Value {
        let n = self.value(s, Ty::I64);
        let mask = s.b.i64(i64::from(mask));
        let n = s.b.bin(BinOp::And, n, mask);
        if lo == 0 {
            return n;
        }
        let lo = s.b.i64(i64::from(lo));
        s.b.bin(BinOp::Add, n, lo)
    }

    fn load_var(&mut self, s: &mut Scope<'_>, i: usize) -> Value {
        let (slot, ty) = s.vars[i];
        let at = s.b.slot_addr(slot);
        s.b.load(at, 0, ty)
    }

    fn buffer(&mut self, s: &Scope<'_>) -> Value {
        s.buffers[self.e.below(s.buffers.len())]
    }

    /// A buffer with a number at its beginning, as a key.
    fn key(&mut self, s: &mut Scope<'_>) -> Value {
        let at = self.buffer(s);
        let n = self.between(s, 0, 7);
        s.b.store(at, 0, n);
        let n = s.b.iconst(Ty::I32, 0);
        s.b.store(at, 8, n);
        at
    }

    fn condition(&mut self, s: &mut Scope<'_>) -> Value {
        let ty = self.e.pick(&[Ty::I64, Ty::I32, Ty::I8]);
        let (a, b) = (self.value(s, ty), self.value(s, ty));
        use CmpOp as C;
        let all = [C::Eq, C::Ne, C::ULt, C::ULe, C::UGt, C::UGe, C::SLt, C::SLe, C::SGt, C::SGe];
        let op = self.e.pick(&all);
        s.b.cmp(op, a, b)
    }

    fn statement(&mut self, s: &mut Scope<'_>) {
        match self.e.below(24) {
            0..=3 => self.arithmetic(s),
            4 | 5 => {
                let i = self.e.below(s.vars.len());
                let n = self.value(s, s.vars[i].1);
                let at = s.b.slot_addr(s.vars[i].0);
                s.b.store(at, 0, n);
            }
            6 => {
                let i = self.e.below(s.vars.len());
                let n = self.load_var(s, i);
                s.values.push(n);
            }
            7 | 8 => self.choice(s),
            9 => self.switch(s),
            10 => self.bounded_loop(s),
            11 => self.lookup(s),
            12 => self.aggregate(s),
            13 => self.update(s),
            14 => self.event(s),
            15 => self.for_range(s),
            16 => self.for_each(s),
            17 => self.call(s),
            18 => self.memory(s),
            19 => self.string(s),
            20 => self.member(s),
            21 => self.probe(s),
            22 => self.global(s),
            _ => self.other(s),
        }
    }

    fn arithmetic(&mut self, s: &mut Scope<'_>) {
        use BinOp as B;
        let ty = self.e.pick(&[Ty::I64, Ty::I64, Ty::I32, Ty::I16, Ty::I8]);
        let a = self.value(s, ty);
        let n = match self.e.below(18) {
            n @ 0..=12 => {
                let all = [
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
                let b = self.value(s, ty);
                s.b.bin(all[n], a, b)
            }
            13 => s.b.value(I::Neg(a), ty),
            14 if ty != Ty::I8 => s.b.value(I::Bswap(a), ty),
            15 => {
                let c = self.condition(s);
                let b = self.value(s, ty);
                s.b.value(I::Select(c, a, b), ty)
            }
            16 => {
                let bits = self.e.below(6) as u8;
                let a = self.value(s, Ty::I64);
                s.b.value(I::HistBucket { val: a, bits }, Ty::I64)
            }
            17 => {
                let (min, step) = (self.e.below(20) as i64 - 10, 1 + self.e.below(9) as i64);
                let a = self.value(s, Ty::I64);
                s.b.value(I::LinearBucket { val: a, min, max: min + 7 * step, step }, Ty::I64)
            }
            _ => {
                let c = self.condition(s);
                s.b.resize(c, ty, false)
            }
        };
        s.values.push(n);
        if self.e.flip() {
            self.mix(s, n);
        }
    }

    fn choice(&mut self, s: &mut Scope<'_>) {
        let cond = self.condition(s);
        let (then, other, join) = (s.b.new_block(), s.b.new_block(), s.b.new_block());
        let param = s.b.func.add_param(join, Ty::I64);
        s.b.cond_br(cond, then, other);
        for block in [then, other] {
            s.b.switch_to(block);
            self.statements(s);
            if self.e.once_in(8) {
                let value = self.result(s);
                s.b.ret(Some(value));
            }
            let n = self.value(s, Ty::I64);
            s.b.br(Target { block: join, args: vec![n] });
        }
        s.b.switch_to(join);
        s.values.push(param);
    }

    fn switch(&mut self, s: &mut Scope<'_>) {
        let val = self.value(s, Ty::I32);
        let blocks: Vec<Block> = (0..3).map(|_| s.b.new_block()).collect();
        let join = s.b.new_block();
        let cases = vec![(0, blocks[0].into()), (1, blocks[1].into()), (-1, blocks[0].into())];
        s.b.inst(I::Switch { val, cases, default: blocks[2].into() }, None);
        for block in blocks {
            s.b.switch_to(block);
            self.statements(s);
            s.b.br(join);
        }
        s.b.switch_to(join);
    }

    fn bounded_loop(&mut self, s: &mut Scope<'_>) {
        let times = 1 + self.e.below(5) as i64;
        let (head, body, exit) = (s.b.new_block(), s.b.new_block(), s.b.new_block());
        s.b.func.blocks[head].loop_head = Some(LoopHead { bound: Some(times as u32) });
        let i = s.b.func.add_param(head, Ty::I64);
        let zero = s.b.i64(0);
        s.b.br(Target { block: head, args: vec![zero] });
        s.b.switch_to(head);
        let end = s.b.i64(times);
        let more = s.b.cmp(CmpOp::ULt, i, end);
        s.b.cond_br(more, body, exit);
        s.b.switch_to(body);
        s.values.push(i);
        self.statements(s);
        let one = s.b.i64(1);
        let next = s.b.bin(BinOp::Add, i, one);
        s.b.br(Target { block: head, args: vec![next] });
        s.b.switch_to(exit);
        s.values.retain(|&v| v != i);
    }

    fn lookup(&mut self, s: &mut Scope<'_>) {
        let map = self.e.pick(&[self.items.hash, self.items.percpu, self.items.array]);
        let key = self.key(s);
        let ty = Ty::nullable(PtrClass::MapValue(map));
        let kind = match self.e.below(3) {
            0 if map == self.items.percpu => I::MapLookupPercpu { map, key, cpu: self.between(s, 0, 1) },
            1 => I::MapUpsert { map, key },
            _ => I::MapLookup { map, key },
        };
        let found = s.b.value(kind, ty);
        let out = s.b.new_block();
        let at = s.b.unless_null(found, out);
        let n = s.b.load(at, 8, Ty::I64);
        let one = self.value(s, Ty::I64);
        if self.e.flip() {
            s.b.store(at, 0, n);
        }
        match self.e.below(4) {
            0 => {
                s.b.inst(I::Atomic { op: AtomicOp::Add, ptr: at, off: 8, val: one }, None);
            }
            1 => {
                let op = self.e.pick(&[AtomicOp::Or, AtomicOp::And, AtomicOp::Xor, AtomicOp::Xchg]);
                let old = s.b.value(I::Atomic { op, ptr: at, off: 8, val: one }, Ty::I64);
                self.keep(s, old);
            }
            2 => {
                let old = s.b.value(I::CmpXchg { ptr: at, off: 8, expected: n, new: one }, Ty::I64);
                self.keep(s, old);
            }
            _ => {
                let by = self.between(s, 0, 7);
                let p = s.b.value(I::PtrAdd(at, 8, Some(by)), Ty::ptr(PtrClass::MapValue(map)));
                let n = self.value(s, Ty::I8);
                s.b.store(p, 0, n);
            }
        }
        self.keep(s, n);
        s.b.br(out);
        s.b.switch_to(out);
    }

    /// Stores a number in a variable.
    fn keep(&mut self, s: &mut Scope<'_>, n: Value) {
        let i = self.e.below(s.vars.len());
        let n = s.b.resize(n, s.vars[i].1, false);
        let at = s.b.slot_addr(s.vars[i].0);
        s.b.store(at, 0, n);
    }

    /// Works a number into a variable, so that it has a part in the result.
    fn mix(&mut self, s: &mut Scope<'_>, n: Value) {
        let i = self.e.below(s.vars.len());
        let old = self.load_var(s, i);
        let n = s.b.resize(n, s.vars[i].1, true);
        let n = s.b.bin(BinOp::Xor, old, n);
        let at = s.b.slot_addr(s.vars[i].0);
        s.b.store(at, 0, n);
    }

    fn aggregate(&mut self, s: &mut Scope<'_>) {
        let signed = self.e.flip();
        let per_cpu = [Agg::Count, Agg::Sum, Agg::Min { signed }, Agg::Max { signed }, Agg::Stats];
        let (map, agg) = if self.e.flip() {
            (self.items.percpu, self.e.pick(&per_cpu))
        } else {
            (self.items.hash, self.e.pick(&per_cpu[..2]))
        };
        let key = self.key(s);
        let found = s.b.value(I::MapUpsert { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        let out = s.b.new_block();
        let cell = s.b.unless_null(found, out);
        let val = if agg == Agg::Count { None } else { Some(self.value(s, Ty::I64)) };
        s.b.inst(I::Agg { agg, cell, val }, None);
        s.b.br(out);
        s.b.switch_to(out);
    }

    fn update(&mut self, s: &mut Scope<'_>) {
        let map = self.e.pick(&[self.items.hash, self.items.percpu, self.items.array]);
        let key = self.key(s);
        let result = if self.e.once_in(3) {
            s.b.value(I::MapDelete { map, key }, Ty::I64)
        } else {
            let val = self.buffer(s);
            let flags = self.e.below(3) as u64;
            s.b.value(I::MapUpdate { map, key, val, flags }, Ty::I64)
        };
        s.values.push(result);
    }

    fn event(&mut self, s: &mut Scope<'_>) {
        let ring = self.items.ring;
        if self.e.once_in(3) {
            let (data, len) = (self.buffer(s), self.between(s, 1, 31));
            let kind = I::EventOutput { ring, data, len, max: BUFFER };
            let n = s.b.value(kind, Ty::I64);
            s.values.push(n);
            return;
        }
        let size = 24;
        let rec = s.b.value(I::EventReserve { ring, size }, Ty::nullable(PtrClass::Record(size)));
        let out = s.b.new_block();
        let rec = s.b.unless_null(rec, out);
        let n = self.value(s, Ty::I64);
        s.b.store(rec, 0, n);
        let from = self.buffer(s);
        let dst = s.b.ptr_add(rec, 8);
        s.b.inst(I::StrCopy { dst, dst_cap: 16, src: from, src_cap: 20 }, None);
        if self.e.once_in(4) {
            s.b.inst(I::EventDiscard { rec }, None);
        } else {
            let wake = self.e.flip();
            s.b.inst(I::EventSubmit { rec, wake }, None);
        }
        s.b.br(out);
        s.b.switch_to(out);
    }

    fn closure(&mut self, s: &Scope<'_>, params: &[(&str, Ty)]) -> (FuncId, Vec<Value>) {
        let mut captures = Vec::new();
        for _ in 0..self.e.below(3) {
            captures.push(self.buffer(s));
        }
        captures.extend(s.ctx.filter(|_| self.e.once_in(3)));
        if self.e.once_in(3) && !s.values.is_empty() {
            captures.push(s.values[self.e.below(s.values.len())]);
        }
        let name = format!("closure{}", self.module.funcs.len());
        let mut f = Func::new(name, Linkage::Closure, params, Some(Ty::I64));
        f.captures = captures.iter().map(|&v| s.b.func.ty(v)).collect();
        self.body(&mut f, s.depth + 1);
        (self.module.funcs.push(f), captures)
    }

    fn for_range(&mut self, s: &mut Scope<'_>) {
        if s.depth > 2 {
            return self.arithmetic(s);
        }
        let (body, captures) = self.closure(s, &[("i", Ty::I64)]);
        let (start, end) = if self.e.flip() {
            let start = self.e.below(5) as i64 - 2;
            (s.b.i64(start), s.b.i64(start + self.e.below(25) as i64 - 1))
        } else {
            (self.between(s, 0, 3), self.between(s, 0, 7))
        };
        s.b.inst(I::ForRange { start, end, body, captures }, None);
    }

    fn for_each(&mut self, s: &mut Scope<'_>) {
        if s.depth > 2 {
            return self.arithmetic(s);
        }
        let map = self.e.pick(&[self.items.hash, self.items.percpu, self.items.array]);
        let params = [("k", Ty::ptr(PtrClass::MapKey(map))), ("v", Ty::ptr(PtrClass::MapValue(map)))];
        let (body, captures) = self.closure(s, &params);
        let n = s.b.value(I::ForEach { map, body, captures }, Ty::I64);
        s.values.push(n);
    }

    fn call(&mut self, s: &mut Scope<'_>) {
        if self.helpers.is_empty() || s.depth > 0 {
            return self.arithmetic(s);
        }
        let func = self.e.pick(&self.helpers);
        let args = vec![self.value(s, Ty::I64), self.value(s, Ty::I32)];
        let n = s.b.value(I::Call(func, args), Ty::I64);
        s.values.push(n);
    }

    fn memory(&mut self, s: &mut Scope<'_>) {
        let (a, b) = (self.buffer(s), self.buffer(s));
        match self.e.below(5) {
            0 if a != b => {
                // Not overlapping: captured buffers may be the same one.
                let frame = |v: Value| matches!(s.b.func.def(v), Some(I::SlotAddr(_)));
                if frame(a) && frame(b) {
                    let len = 1 + self.e.below(BUFFER as usize) as u32;
                    s.b.inst(I::MemCopy { dst: a, src: b, len }, None);
                }
            }
            1 => {
                let (byte, len) = (self.e.byte(), self.e.below(BUFFER as usize + 1) as u32);
                s.b.inst(I::MemSet { dst: a, byte, len }, None);
            }
            2 => {
                let len = self.e.below(BUFFER as usize + 1) as u32;
                let n = s.b.value(I::MemEq { a, b, len }, Ty::I1);
                let n = s.b.resize(n, Ty::I64, false);
                s.values.push(n);
            }
            3 => {
                let by = self.between(s, 0, 31);
                let p = s.b.value(I::PtrAdd(a, 1, Some(by)), Ty::ptr(PtrClass::Frame));
                let n = self.value(s, Ty::I8);
                s.b.store(p, 0, n);
            }
            _ => {
                let ty = self.e.pick(&[Ty::I64, Ty::I32, Ty::I16, Ty::I8]);
                let off = (self.e.below(5) as u32 * ty.bytes()) as i32;
                if self.e.flip() {
                    let n = self.value(s, ty);
                    s.b.store(a, off, n);
                } else {
                    let n = s.b.load(a, off, ty);
                    s.values.push(n);
                }
            }
        }
    }

    fn string(&mut self, s: &mut Scope<'_>) {
        let texts: [&[u8]; 6] = [b"", b"a", b"abc", b"bcda", b"abcdefgh", b"abcdabcdabcdabcdabcd"];
        let (a, b) = (self.buffer(s), self.buffer(s));
        let mut cap = || 1 + self.e.below(BUFFER as usize) as u32;
        let (a_cap, b_cap) = (cap(), cap());
        let text = self.e.pick(&texts).to_vec();
        let kind = match self.e.below(8) {
            0 | 1 => {
                s.b.inst(I::StrConst { dst: a, text, cap: a_cap }, None);
                return;
            }
            2 => {
                let slot = |v: Value| match s.b.func.def(v) {
                    Some(I::SlotAddr(slot)) => Some(*slot),
                    _ => None,
                };
                if let (Some(x), Some(y)) = (slot(a), slot(b))
                    && x != y
                {
                    s.b.inst(I::StrCopy { dst: a, dst_cap: a_cap, src: b, src_cap: b_cap }, None);
                }
                return;
            }
            3 => I::StrEq { a, a_cap, b, b_cap },
            4 => I::StrEqConst { a, cap: a_cap, text },
            5 => I::StrEqN { a, a_cap, b, b_cap, n: 1 + self.e.below(12) as u32 },
            6 => I::StrLen { ptr: a, cap: a_cap },
            _ => I::StrFind { hay: a, hay_cap: a_cap, needle: b, needle_cap: b_cap.min(9) },
        };
        let is_bool = matches!(kind, I::StrEq { .. } | I::StrEqConst { .. } | I::StrEqN { .. });
        let n = s.b.value(kind, if is_bool { Ty::I1 } else { Ty::I64 });
        let n = s.b.resize(n, Ty::I64, false);
        s.values.push(n);
    }

    fn member(&mut self, s: &mut Scope<'_>) {
        let n = match self.e.below(4) {
            0 => {
                let val = self.value(s, Ty::I64);
                s.b.value(I::SetMember { val, set: self.items.ints }, Ty::I1)
            }
            1 => {
                let val = self.value(s, Ty::I64);
                s.b.value(I::SetMember { val, set: self.items.many }, Ty::I1)
            }
            2 => {
                let ptr = self.buffer(s);
                let cap = 1 + self.e.below(BUFFER as usize) as u32;
                s.b.value(I::StrMember { ptr, cap, set: self.items.texts }, Ty::I1)
            }
            _ => {
                let ptr = self.buffer(s);
                s.b.value(I::PrefixMatch { ptr, set: self.items.nets }, Ty::I64)
            }
        };
        let n = s.b.resize(n, Ty::I64, false);
        s.values.push(n);
    }

    fn probe(&mut self, s: &mut Scope<'_>) {
        let space = self.e.pick(&[Space::Kernel, Space::User]);
        let base = if space == Space::Kernel { world::KERNEL } else { world::USER };
        let off = self.between(s, 0, 511);
        let base = s.b.i64(base as i64);
        let src = s.b.bin(BinOp::Add, base, off);
        let dst = self.buffer(s);
        let n = match self.e.below(6) {
            0 => {
                let len = s.b.i64(1 + self.e.below(BUFFER as usize) as i64);
                s.b.value(I::ProbeRead { dst, len, max: BUFFER, src, space }, Ty::I64)
            }
            1 => {
                let len = self.between(s, 0, 31);
                s.b.value(I::ProbeRead { dst, len, max: BUFFER, src, space }, Ty::I64)
            }
            2 => s.b.value(I::ProbeReadStr { dst, cap: BUFFER, len: None, src, space }, Ty::I64),
            3 => {
                let len = self.between(s, 1, 31);
                s.b.value(I::ProbeReadStr { dst, cap: BUFFER, len: Some(len), src, space }, Ty::I64)
            }
            4 => {
                let class = match space {
                    Space::Kernel | Space::Any => PtrClass::KernelRaw(self.items.bytes),
                    Space::User => PtrClass::User(self.items.bytes),
                };
                let base = s.b.value(I::IntToPtr(src), Ty::ptr(class));
                let bits = self.e.flip().then(|| (self.e.below(4) as u32, 1 + self.e.below(4) as u32));
                let scalar = Scalar { bytes: self.e.pick(&[1, 2, 4, 8]), signed: self.e.flip(), bits };
                let path = vec![Step::Offset(self.e.below(16) as i32)];
                s.b.value(I::FieldLoad { base, path, scalar: Some(scalar) }, Ty::I64)
            }
            _ => self.field(s),
        };
        s.values.push(n);
    }

    /// A field of a kernel object that is known by type information.
    fn field(&mut self, s: &mut Scope<'_>) -> Value {
        let at = s.b.i64(world::KERNEL as i64 + 64 * self.e.below(4) as i64);
        let class = PtrClass::KernelRaw(self.items.object);
        let base = s.b.value(I::IntToPtr(at), Ty::ptr(class));
        let field = |name: &str| Step::Field(name.to_owned());
        let path = match self.e.below(7) {
            0 => vec![field("id")],
            1 => vec![field("flag")],
            2 => vec![field("mode")],
            3 => vec![field("n")],
            4 => vec![field("name"), Step::Index(self.e.below(16) as u32)],
            5 => vec![field("name"), Step::IndexBy(self.between(s, 0, 15), 1)],
            _ => vec![field("in"), field("b")],
        };
        s.b.value(I::FieldLoad { base, path, scalar: None }, Ty::I64)
    }

    fn global(&mut self, s: &mut Scope<'_>) {
        let data = s.b.value(I::GlobalAddr(self.items.data), Ty::ptr(PtrClass::Global(self.items.data)));
        let ty = self.e.pick(&[Ty::I64, Ty::I32, Ty::I8]);
        let off = (self.e.below(2) as u32 * ty.bytes()) as i32;
        match self.e.below(3) {
            0 => {
                let n = self.value(s, ty);
                s.b.store(data, off, n);
            }
            1 => {
                let n = s.b.load(data, off, ty);
                s.values.push(n);
            }
            _ => {
                let consts = self.items.consts;
                let at = s.b.value(I::GlobalAddr(consts), Ty::ptr(PtrClass::Global(consts)));
                let n = s.b.load(at, off, ty);
                s.values.push(n);
            }
        }
    }

    fn other(&mut self, s: &mut Scope<'_>) {
        match self.e.below(4) {
            0 => {
                s.b.inst(I::Count(Ledger::Filtered), None);
            }
            1 => {
                let Some(ctx) = s.ctx else { return };
                let ty = self.e.pick(&[Ty::I64, Ty::I32]);
                let off = (self.e.below((CTX / 8) as usize) * 8) as i32;
                let n = s.b.value(I::CtxLoad { ctx, off }, ty);
                s.values.push(n);
            }
            2 => {
                let Some(ctx) = s.ctx else { return };
                let user = self.e.flip();
                let kind = I::StackId { ctx, map: self.items.stacks, user, depth: 4, build_id: false };
                let n = s.b.value(kind, Ty::I64);
                s.values.push(n);
            }
            _ => {
                let n = self.value(s, Ty::I64);
                let mask = s.b.i64(15);
                let n = s.b.bin(BinOp::And, n, mask);
                let n = s.b.value(I::Refine(n, Fact::Unsigned(0, 15)), Ty::I64);
                s.values.push(n);
            }
        }
    }
}
