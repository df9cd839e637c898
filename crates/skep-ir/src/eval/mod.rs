//! Runs functions of a module as they stand, before and after lowering: the oracle for passes and for
//! generated code.
//!
//! A [`Machine`] has memory of its own for slots, map values, globals and records, at made-up addresses; the
//! kernel's and the process's memory, and helpers that ask about the world, belong to a [`Host`]. What the
//! kernel's verifier would refuse is a [`Trap`].

mod helpers;
mod maps;
mod memory;
mod objects;
mod script;
mod strings;

pub use memory::Memory;

use crate::arith::{self, low_bits, signed};
use crate::func::{Block, Func, Inst, Value};
use crate::inst::{AtomicOp, Fact, InstKind, Ledger, Space, Target};
use crate::kernel::KernelInfo;
use crate::module::{FuncId, GlobalId, MapId, Module};
use crate::types::{PtrClass, Ty};
use cranelift_entity::{EntityRef, SecondaryMap};
use maps::MapState;
use memory::Object;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a run was given up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Trap {
    /// Memory that is not there, or too short, or gone.
    #[error("{len} bytes at {at:#x} are not accessible")]
    Access {
        /// Address.
        at: u64,
        /// Bytes.
        len: u64,
    },
    /// Memory that may not be written.
    #[error("the memory at {0:#x} is read-only")]
    ReadOnly(u64),
    /// A refinement that is not true.
    #[error("a refinement does not hold")]
    Refinement,
    /// A length beyond what the instruction says.
    #[error("a length of {len} where {max} is the most")]
    Length {
        /// Length.
        len: u64,
        /// Most that is allowed.
        max: u64,
    },
    /// A record that is not open, or still open at the end.
    #[error("a record was not given back exactly once")]
    Record,
    /// More steps than allowed.
    #[error("the run took too many steps")]
    Fuel,
    /// `unreachable` was reached.
    #[error("unreachable code was reached")]
    Unreachable,
    /// Something that the evaluator does not know.
    #[error("{0} is not known to the evaluator")]
    Unknown(String),
}

/// The world around a run.
pub trait Host {
    /// Reads memory that is not the machine's; false if it cannot be read. Never asked for any of the two.
    fn read(&mut self, space: Space, address: u64, to: &mut [u8]) -> bool;

    /// Addresses of the current stack, innermost first.
    fn stack(&mut self, user: bool) -> Vec<u64>;

    /// A helper that the machine does not know; `None` if the host does not know it either.
    fn helper(&mut self, id: u32, args: &[u64], memory: &mut Memory) -> Option<u64>;

    /// A kernel function.
    fn kfunc(&mut self, name: &str, args: &[u64], memory: &mut Memory) -> Option<u64>;
}

/// A record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Ring.
    pub ring: MapId,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Values of a map by key and CPU.
pub type Elements = BTreeMap<(Vec<u8>, u32), Vec<u8>>;

/// What a run leaves behind, as far as others can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Elements of each map.
    pub maps: Vec<Elements>,
    /// Bytes of each global.
    pub globals: Vec<Vec<u8>>,
    /// Records in the order in which they were handed over.
    pub events: Vec<Event>,
}

/// Runs functions.
pub struct Machine<'m> {
    module: &'m Module,
    kernel: &'m dyn KernelInfo,
    host: &'m mut dyn Host,
    /// Memory.
    pub memory: Memory,
    /// CPU that the program runs on.
    pub cpu: u32,
    /// Steps left.
    pub fuel: u64,
    /// Bytes that rings still take; nobody reads them.
    pub ring_room: u64,
    maps: SecondaryMap<MapId, MapState>,
    globals: SecondaryMap<GlobalId, u64>,
    events: Vec<Event>,
    /// Records that were reserved and not given back: ring and size by address.
    open: BTreeMap<u64, MapId>,
    ctx: u64,
    packet: u64,
    row: u32,
}

/// Calls inside each other at most.
const MAX_DEPTH: u32 = 32;

/// The addresses of maps and functions, which are only passed on.
const MAPS: u64 = 0x7f00_0000_0000_0000;
const FUNCS: u64 = 0x7e00_0000_0000_0000;

/// A call in progress.
struct Frame<'m, 'c> {
    func: &'m Func,
    values: SecondaryMap<Value, u64>,
    slots: Vec<u64>,
    captures: &'c [u64],
}

impl<'m> Machine<'m> {
    /// A machine with the maps and globals of a module as they are when it is loaded.
    pub fn new(module: &'m Module, kernel: &'m dyn KernelInfo, host: &'m mut dyn Host) -> Self {
        let mut machine = Machine {
            module,
            kernel,
            host,
            memory: Memory::default(),
            cpu: 0,
            fuel: 1_000_000,
            ring_room: u64::MAX,
            maps: SecondaryMap::new(),
            globals: SecondaryMap::new(),
            events: Vec::new(),
            open: BTreeMap::new(),
            ctx: 0,
            packet: 0,
            row: 0,
        };
        for (id, global) in &module.globals {
            let mut bytes = global.init.clone();
            bytes.resize(global.size as usize, 0);
            machine.globals[id] = machine.memory.add(Object::new(bytes));
        }
        for (id, map) in &module.maps {
            for (key, value) in &map.contents {
                machine.preload(id, key, value);
            }
        }
        machine
    }

    /// Runs a program with a context and, for programs that see one, a packet.
    ///
    /// # Errors
    /// Says why the run was given up; what it did until then stays done.
    pub fn run_prog(&mut self, prog: usize, ctx: &[u8], packet: &[u8]) -> Result<u64, Trap> {
        self.row = prog as u32;
        self.ctx = self.memory.add(Object::new(ctx.to_vec()));
        self.packet = self.memory.add(Object::new(packet.to_vec()));
        let func = self.module.progs.get(prog).map(|p| p.func);
        let func = func.ok_or_else(|| Trap::Unknown(format!("program {prog}")))?;
        let result = self.call(func, &[self.ctx], &[], 0)?.unwrap_or(0);
        if self.open.is_empty() { Ok(result) } else { Err(Trap::Record) }
    }

    /// Calls a function that takes integers.
    ///
    /// # Errors
    /// As [`Machine::run_prog`].
    pub fn run(&mut self, func: FuncId, args: &[u64]) -> Result<Option<u64>, Trap> {
        let result = self.call(func, args, &[], 0)?;
        if self.open.is_empty() { Ok(result) } else { Err(Trap::Record) }
    }

    /// What is visible from outside of the first `maps` maps and `globals` globals: passes add others behind.
    #[must_use]
    pub fn snapshot(&self, maps: usize, globals: usize) -> Snapshot {
        let bytes = |&at: &u64| self.memory.object(at).map(|o| o.bytes.clone()).unwrap_or_default();
        Snapshot {
            maps: self.module.maps.keys().take(maps).map(|id| self.contents(id)).collect(),
            globals: self.module.globals.keys().take(globals).map(|id| bytes(&self.globals[id])).collect(),
            events: self.events.clone(),
        }
    }

    fn call(&mut self, id: FuncId, args: &[u64], captures: &[u64], depth: u32) -> Result<Option<u64>, Trap> {
        if depth > MAX_DEPTH {
            return Err(Trap::Fuel);
        }
        let func = &self.module.funcs[id];
        let slots: Vec<u64> =
            func.slots.values().map(|s| self.memory.add(Object::new(vec![0; s.size as usize]))).collect();
        let mut frame =
            Frame { func, values: SecondaryMap::with_capacity(func.values.len()), slots, captures };
        for (&param, &arg) in func.params().iter().zip(args) {
            frame.values[param] = low_bits(arg, func.ty(param));
        }
        let result = self.blocks(&mut frame, depth);
        for &slot in &frame.slots {
            self.memory.remove(slot);
        }
        result
    }

    fn blocks(&mut self, frame: &mut Frame<'m, '_>, depth: u32) -> Result<Option<u64>, Trap> {
        let func = frame.func;
        let mut block = func.entry();
        loop {
            let mut next = None;
            for &inst in &func.blocks[block].insts {
                self.fuel = self.fuel.checked_sub(1).ok_or(Trap::Fuel)?;
                let data = &func.insts[inst];
                match &data.kind {
                    InstKind::Ret(value) => return Ok(value.map(|v| frame.values[v])),
                    InstKind::Unreachable => return Err(Trap::Unreachable),
                    InstKind::Br(target) => next = Some(target),
                    InstKind::CondBr { cond, then, other } => {
                        next = Some(if frame.values[*cond] != 0 { then } else { other });
                    }
                    InstKind::Switch { val, cases, default } => {
                        let ty = func.ty(*val);
                        let n = frame.values[*val];
                        let case = cases.iter().find(|(k, _)| low_bits(*k as u64, ty) == n);
                        next = Some(case.map_or(default, |(_, t)| t));
                    }
                    _ => {
                        let n = self.inst(frame, inst, depth)?;
                        if let Some(result) = data.result.expand() {
                            frame.values[result] = low_bits(n, func.ty(result));
                        }
                    }
                }
            }
            let Some(target) = next else { return Err(Trap::Unreachable) };
            block = self.jump(frame, target);
        }
    }

    fn jump(&self, frame: &mut Frame<'m, '_>, target: &Target) -> Block {
        // All at once: a parameter may be passed to another one of the same block.
        let args: Vec<u64> = target.args.iter().map(|&v| frame.values[v]).collect();
        for (&param, arg) in frame.func.blocks[target.block].params.iter().zip(args) {
            frame.values[param] = arg;
        }
        target.block
    }

    /// Does an instruction that does not end a block.
    fn inst(&mut self, frame: &Frame<'m, '_>, inst: Inst, depth: u32) -> Result<u64, Trap> {
        use InstKind as I;
        let data = &frame.func.insts[inst];
        let v = |v: Value| frame.values[v];
        let ty = |v: Value| frame.func.ty(v);
        let result = data.result.expand().map(ty);
        let own = result.unwrap_or(Ty::I64);
        Ok(match &data.kind {
            I::Const(n) => *n as u64,
            I::Null => 0,
            I::Bin(op, a, b) => arith::bin(*op, own, v(*a), v(*b)),
            I::Neg(a) => v(*a).wrapping_neg(),
            I::Bswap(a) => arith::bswap(v(*a), own),
            I::Cmp(op, a, b) => u64::from(arith::cmp(*op, ty(*a), v(*a), v(*b))),
            I::IsNull(a) => u64::from(v(*a) == 0),
            I::Zext(a) | I::Trunc(a) | I::PtrToInt(a) | I::IntToPtr(a) => v(*a),
            I::Sext(a) if ty(*a) == Ty::I1 => v(*a).wrapping_neg(),
            I::Sext(a) => signed(v(*a), ty(*a)) as u64,
            I::Select(c, a, b) => v(if v(*c) != 0 { *a } else { *b }),
            I::Refine(a, fact) => {
                let n = v(*a);
                let holds = match fact {
                    Fact::Unsigned(lo, hi) => (*lo..=*hi).contains(&n),
                    Fact::Signed(lo, hi) => (*lo..=*hi).contains(&signed(n, ty(*a))),
                    Fact::NonNull => n != 0,
                    Fact::PacketRange(len) => self.memory.bytes(n, u64::from(*len)).is_ok(),
                };
                if !holds {
                    return Err(Trap::Refinement);
                }
                n
            }
            I::SlotAddr(slot) => frame.slots[slot.index()],
            I::Capture(n) => frame.captures.get(*n as usize).copied().unwrap_or(0),
            I::GlobalAddr(global) => self.globals[*global],
            I::MapRef(map) => MAPS + u64::from(map.as_u32()),
            I::FuncRef(func) => FUNCS + u64::from(func.as_u32()),
            I::PtrAdd(p, off, by) => v(*p).wrapping_add_signed(i64::from(*off)).wrapping_add(by.map_or(0, v)),
            I::Load { ptr, off, .. } => self.load(ty(*ptr), v(*ptr), *off, own)?,
            I::Store { ptr, off, val } => {
                let at = v(*ptr).wrapping_add_signed(i64::from(*off));
                self.memory.write_int(at, v(*val), ty(*val).bytes())?;
                0
            }
            I::CtxLoad { off, .. } => match own.as_ptr().map(|p| p.class) {
                Some(PtrClass::Packet | PtrClass::PacketMeta) => self.packet,
                Some(PtrClass::PacketEnd) => self.packet + self.memory.size(self.packet),
                _ => self.memory.read_int(self.ctx.wrapping_add_signed(i64::from(*off)), own.bytes())?,
            },
            I::CtxStore { off, val, .. } => {
                let at = self.ctx.wrapping_add_signed(i64::from(*off));
                self.memory.write_int(at, v(*val), ty(*val).bytes())?;
                0
            }
            I::PacketCheck { ptr, end, len } => u64::from(v(*ptr).saturating_add(u64::from(*len)) <= v(*end)),
            I::Atomic { op, ptr, off, val } => {
                let at = v(*ptr).wrapping_add_signed(i64::from(*off));
                let (width, n) = (ty(*val), v(*val));
                let old = self.memory.read_int(at, width.bytes())?;
                let new = match op {
                    AtomicOp::Add => old.wrapping_add(n),
                    AtomicOp::And => old & n,
                    AtomicOp::Or => old | n,
                    AtomicOp::Xor => old ^ n,
                    AtomicOp::Xchg => n,
                };
                self.memory.write_int(at, new, width.bytes())?;
                old
            }
            I::CmpXchg { ptr, off, expected, new } => {
                let at = v(*ptr).wrapping_add_signed(i64::from(*off));
                let old = self.memory.read_int(at, own.bytes())?;
                if old == v(*expected) {
                    self.memory.write_int(at, v(*new), own.bytes())?;
                }
                old
            }
            I::Call(func, args) => {
                let args: Vec<u64> = args.iter().map(|&a| v(a)).collect();
                self.call(*func, &args, &[], depth + 1)?.unwrap_or(0)
            }
            I::ForEach { map, body, captures } => {
                let captures: Vec<u64> = captures.iter().map(|&c| v(c)).collect();
                self.for_each(*map, &mut |m, key, value| {
                    Ok(m.call(*body, &[key, value], &captures, depth + 1)?.unwrap_or(0))
                })?
            }
            I::ForRange { start, end, body, captures } => {
                let captures: Vec<u64> = captures.iter().map(|&c| v(c)).collect();
                let (start, end) = (v(*start) as i64, v(*end) as i64);
                for i in start..end {
                    self.fuel = self.fuel.checked_sub(1).ok_or(Trap::Fuel)?;
                    if self.call(*body, &[i as u64], &captures, depth + 1)?.unwrap_or(0) != 0 {
                        break;
                    }
                }
                0
            }
            I::Helper(id, args) => {
                let args: Vec<u64> = args.iter().map(|&a| v(a)).collect();
                self.helper(*id, &args, depth)?
            }
            I::Kfunc(name, args) => {
                let args: Vec<u64> = args.iter().map(|&a| v(a)).collect();
                let result = self.host.kfunc(name, &args, &mut self.memory);
                result.ok_or_else(|| Trap::Unknown(format!("the kernel function {name}")))?
            }
            // Without a program array of the module's own programs a tail call falls through.
            I::TailCall { .. } => 0,
            kind => match self.composed(kind, frame)? {
                Some(n) => n,
                None => self.objects(kind, frame, own)?,
            },
        })
    }

    fn load(&mut self, ptr: Ty, at: u64, off: i32, ty: Ty) -> Result<u64, Trap> {
        let at = at.wrapping_add_signed(i64::from(off));
        match ptr.as_ptr().map(|p| p.class) {
            // Faults of loads from kernel objects read zeros (`ex_handler_bpf` of arch/x86/net/bpf_jit_comp.c).
            Some(PtrClass::KernelTrusted(_) | PtrClass::KernelUntrusted(_)) => {
                Ok(self.external(Space::Kernel, at, ty.bytes()).unwrap_or(0))
            }
            _ => self.memory.read_int(at, ty.bytes()),
        }
    }

    /// An integer of the kernel's or the process's memory.
    fn external(&mut self, space: Space, at: u64, bytes: u32) -> Option<u64> {
        let mut buf = [0; 8];
        let part = buf.get_mut(..bytes as usize)?;
        self.read_external(space, at, part).then(|| u64::from_le_bytes(buf))
    }

    /// Bytes of any memory: the helpers that read the kernel's read the machine's, too.
    fn read_external(&mut self, space: Space, at: u64, to: &mut [u8]) -> bool {
        match self.memory.bytes(at, to.len() as u64) {
            Ok(bytes) if space != Space::User => {
                to.copy_from_slice(bytes);
                true
            }
            _ if space == Space::Any => {
                self.host.read(Space::Kernel, at, to) || self.host.read(Space::User, at, to)
            }
            _ => self.host.read(space, at, to),
        }
    }

    /// Adds one to a counter of the running program's row, if losses are counted.
    fn count(&mut self, counter: Ledger) -> Result<(), Trap> {
        let Some(ledger) = self.module.ledger else { return Ok(()) };
        let row = self.lookup(ledger, &self.row.to_le_bytes(), self.cpu);
        if row != 0 {
            let at = row + 8 * counter as u64;
            let n = self.memory.read_int(at, 8)?;
            self.memory.write_int(at, n + 1, 8)?;
        }
        Ok(())
    }
}
