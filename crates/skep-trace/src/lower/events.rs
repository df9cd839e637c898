//! Records for user space.
//!
//! A record is reserved first and its arguments are written into it, but for those that have effects or take long:
//! they are evaluated before, because a record that finds no room must not change what the script computes, and
//! because nothing behind a record can be read before it is submitted.

use super::Wake;
use super::function::Fx;
use super::helper;
use super::place::Src;
use super::store::{Dest, Fill};
use super::unit::{event_number, is_control};
use super::visit::has_effects;
use crate::hir::{EventId, Expr};
use crate::plan::{Arg, Event, RuntimeError};
use crate::types::{AggTy, Type};
use skep_ir::inst::{BinOp, CmpOp, InstKind, Ledger};
use skep_ir::types::PtrClass;
use skep_ir::{Feature, Loc, MapId, Ty, Value};

/// Where arguments begin: behind the event number, and in control records the position of the data ring.
const DATA_HEADER: u32 = 8;
const CONTROL_HEADER: u32 = 16;

/// Strings that `join` sends at most, and bytes of each.
pub(super) const JOIN_STRINGS: u32 = 16;

/// An argument that was evaluated before the record was reserved.
enum Made {
    Scalar(Value),
    Memory(Value),
}

impl<'p> Fx<'_, 'p> {
    /// Sends a record.
    pub(super) fn emit(&mut self, id: EventId, args: &'p [Expr], loc: Loc) {
        let Some(event) = self.unit.program.events.get(id) else { return };
        match event {
            Event::Message { error: false, .. } if self.unit.options.no_warnings => {}
            Event::Exit => self.exit(id, args.first()),
            Event::Join { size, .. } => self.emit_join(id, args.first(), *size, loc),
            event => self.emit_args(id, event, args),
        }
    }

    fn emit_args(&mut self, id: EventId, event: &'p Event, args: &'p [Expr]) {
        let control = is_control(event);
        let (offsets, size) = self.arrange(args, if control { CONTROL_HEADER } else { DATA_HEADER });
        self.note_offsets(id, args, &offsets);
        let first = |arg: &Expr| has_effects(arg) || self.unit.reads_collected(arg);
        let effects = args.iter().rposition(first).map_or(0, |last| last + 1);
        let made: Vec<_> = args[..effects].iter().map(|arg| self.make_before(arg)).collect();
        let number = event_number(id);
        let fill = |f: &mut Self, rec: Value| {
            for (n, arg) in args.iter().enumerate() {
                let to = Dest { ptr: rec, off: offsets[n] as i32, fill: Fill::Loose };
                match made.get(n) {
                    Some(Made::Scalar(value)) => f.put_scalar(*value, &arg.ty, to),
                    Some(Made::Memory(ptr)) if arg.ty.is_agg() => {
                        let (dst, len) = (f.dest_ptr(to), f.record_layout(&arg.ty).0);
                        f.b.inst(InstKind::MemCopy { dst, src: *ptr, len }, None);
                    }
                    Some(Made::Memory(ptr)) => {
                        let place = Src::Memory { ptr: *ptr, off: 0 };
                        f.copy(&place, &arg.ty, to, arg.loc);
                    }
                    None => f.put(arg, to),
                }
            }
        };
        if control {
            self.send_control(number, size, fill);
        } else {
            self.send_data(number, size, fill);
        }
    }

    fn make_before(&mut self, arg: &'p Expr) -> Made {
        if arg.ty.is_scalar() {
            return Made::Scalar(self.scalar(arg));
        }
        let ptr = self.buffer("argument", self.record_layout(&arg.ty).0);
        self.put(arg, Dest { ptr, off: 0, fill: Self::fill_of(&arg.ty) });
        Made::Memory(ptr)
    }

    /// Offsets of arguments laid one behind the other behind a header, and bytes of the record.
    fn arrange(&self, args: &[Expr], header: u32) -> (Vec<u32>, u32) {
        let mut offset = header;
        let mut offsets = Vec::with_capacity(args.len());
        for arg in args {
            let (size, align) = self.record_layout(&arg.ty);
            offset = offset.next_multiple_of(align.max(1));
            offsets.push(offset);
            offset = offset.saturating_add(size);
        }
        (offsets, offset)
    }

    /// Bytes of a value in a record and its alignment. Collected numbers are sent as what they amount to.
    fn record_layout(&self, ty: &Type) -> (u32, u32) {
        match ty {
            Type::Agg(AggTy::Stats(_)) => (24, 8),
            Type::Agg(_) => (8, 8),
            ty => self.unit.layout(ty),
        }
    }

    /// Tells the plan where arguments stand.
    fn note_offsets(&mut self, id: EventId, args: &[Expr], offsets: &[u32]) {
        let sizes: Vec<_> = args.iter().map(|arg| self.record_layout(&arg.ty).0).collect();
        let Some(event) = self.unit.plan.events.get_mut(event_number(id) as usize) else { return };
        let list: &mut [Arg] = match event {
            Event::Printf { args, .. }
            | Event::System { args, .. }
            | Event::Cat { args, .. }
            | Event::Message { args, .. } => args,
            Event::Value(arg) => std::slice::from_mut(arg),
            _ => &mut [],
        };
        for ((arg, offset), size) in list.iter_mut().zip(offsets).zip(sizes) {
            (arg.offset, arg.size) = (*offset, size);
        }
    }

    /// Sends a data record of a constant size.
    fn send_data(&mut self, number: i64, size: u32, fill: impl FnOnce(&mut Self, Value)) {
        let Some(ring) = self.unit.plan.data_ring else { return };
        self.send(ring, number, size, |f, rec| {
            fill(f, rec);
            f.submit(rec, ring);
        });
    }

    /// Sends a control record of a constant size.
    fn send_control(&mut self, number: i64, size: u32, fill: impl FnOnce(&mut Self, Value)) {
        let ring = self.unit.control_ring();
        let position = self.data_position();
        self.send(ring, number, size, |f, rec| {
            f.b.store(rec, 8, position);
            fill(f, rec);
            f.b.inst(InstKind::EventSubmit { rec, wake: true }, None);
        });
    }

    fn send(&mut self, ring: MapId, number: i64, size: u32, fill: impl FnOnce(&mut Self, Value)) {
        let full = self.unit.options.full_ledger;
        if full {
            self.b.inst(InstKind::Count(Ledger::Seen), None);
        }
        let class = Ty::nullable(PtrClass::Record(size));
        let rec = self.b.value(InstKind::EventReserve { ring, size }, class);
        let done = self.b.new_block();
        let rec = self.b.unless_null(rec, done);
        let number = self.b.i64(number);
        self.b.store(rec, 0, number);
        self.scoped(|f| fill(f, rec));
        if full {
            self.b.inst(InstKind::Count(Ledger::Committed), None);
        }
        self.jump(done, None);
        self.b.switch_to(done);
    }

    /// Hands a data record over, and wakes the reader as the options say.
    fn submit(&mut self, rec: Value, ring: MapId) {
        let wake = match self.unit.options.wake {
            Wake::ByProbe => self.site.is_rare(),
            Wake::Always => true,
            Wake::Never => false,
            Wake::Watermark if self.unit.env.has(Feature::RingBuffer) => {
                let waiting = self.query(ring, helper::RB_AVAIL_DATA);
                let limit = self.b.i64(i64::from(self.unit.module.maps[ring].max_entries / 8));
                let full = self.b.cmp(CmpOp::UGe, waiting, limit);
                let (yes, no, join) = (self.b.new_block(), self.b.new_block(), self.b.new_block());
                self.b.cond_br(full, yes, no);
                for (block, wake) in [(yes, true), (no, false)] {
                    self.b.switch_to(block);
                    self.b.inst(InstKind::EventSubmit { rec, wake }, None);
                    self.jump(join, None);
                }
                self.b.switch_to(join);
                return;
            }
            Wake::Watermark => true,
        };
        self.b.inst(InstKind::EventSubmit { rec, wake }, None);
    }

    /// How many bytes have ever been reserved in the data ring.
    fn data_position(&mut self) -> Value {
        match self.unit.plan.data_ring {
            Some(ring) if self.unit.env.has(Feature::RingBuffer) => self.query(ring, helper::RB_PROD_POS),
            _ => self.b.i64(0),
        }
    }

    fn query(&mut self, ring: MapId, what: i64) -> Value {
        let ring = self.b.value(InstKind::MapRef(ring), Ty::ptr(PtrClass::MapRef(ring)));
        let what = self.b.i64(what);
        self.b.value(InstKind::Helper(helper::RINGBUF_QUERY, vec![ring, what]), Ty::I64)
    }

    /// `exit(code)`: the state first, so that it is seen even if there is no room for the record.
    fn exit(&mut self, id: EventId, code: Option<&'p Expr>) {
        let code = match code {
            Some(code) => {
                let code = self.scalar(code);
                self.number(code)
            }
            None => self.b.i64(0),
        };
        let state = self.unit.exit_state();
        let one = self.b.i64(1);
        let value = self.b.bin(BinOp::Add, code, one);
        let key = self.zero_key();
        let class = Ty::nullable(PtrClass::MapValue(state));
        let ptr = self.b.value(InstKind::MapLookup { map: state, key }, class);
        let done = self.b.new_block();
        let ptr = self.b.unless_null(ptr, done);
        self.b.store(ptr, 0, value);
        self.jump(done, None);
        self.b.switch_to(done);
        self.send_control(event_number(id), CONTROL_HEADER + 8, |f, rec| {
            f.b.store(rec, CONTROL_HEADER as i32, code);
        });
        self.leave_program();
    }

    /// `join(argv)`: the strings up to the first null pointer, each in a field of its own.
    fn emit_join(&mut self, id: EventId, argv: Option<&'p Expr>, size: u32, loc: Loc) {
        let Some(argv) = argv else { return };
        let count_at = DATA_HEADER;
        if let Some(Event::Join { offset, .. }) = self.unit.plan.events.get_mut(event_number(id) as usize) {
            *offset = count_at;
        }
        let list = self.or_zero(|f| f.pointer(argv));
        let bytes = count_at + 8 + JOIN_STRINGS.saturating_mul(size);
        self.send_data(event_number(id), bytes, |f, rec| {
            let done = f.b.new_block();
            let mut count = f.b.iconst(Ty::I32, 0);
            f.b.store(rec, count_at as i32, count);
            for n in 0..JOIN_STRINGS {
                let string = f.read_pointer(list, n * 8);
                let zero = f.b.i64(0);
                let end = f.b.cmp(CmpOp::Eq, string, zero);
                let next = f.b.new_block();
                f.b.cond_br(end, done, next);
                f.b.switch_to(next);
                let off = (count_at + 8 + n * size) as i32;
                let space = f.space_of(list);
                f.read_str(string, space, None, size, Dest { ptr: rec, off, fill: Fill::Loose }, loc);
                count = f.b.iconst(Ty::I32, i64::from(n) + 1);
                f.b.store(rec, count_at as i32, count);
            }
            f.jump(done, None);
            f.b.switch_to(done);
        });
    }

    // ---- warnings at run time ----

    /// Tells the user that something went wrong at a place. `code` is what a helper returned.
    pub(super) fn warn(&mut self, what: RuntimeError, code: Option<Value>, loc: Loc) {
        if self.unit.options.no_warnings {
            return;
        }
        let number = self.unit.warning(what, loc) as i64;
        let code = code.unwrap_or_else(|| self.b.i64(0));
        self.send_control(number, CONTROL_HEADER + 8, |f, rec| {
            f.b.store(rec, CONTROL_HEADER as i32, code);
        });
    }

    /// Whether a helper's result is an error.
    pub(super) fn is_negative(&mut self, code: Value) -> Value {
        let zero = self.b.i64(0);
        self.b.cmp(CmpOp::SLt, code, zero)
    }

    /// Warns if a helper's result is an error.
    pub(super) fn warn_if_negative(&mut self, what: RuntimeError, code: Value, loc: Loc) {
        if self.unit.options.no_warnings {
            return;
        }
        let failed = self.is_negative(code);
        self.when(failed, true, |f| f.warn(what, Some(code), loc));
    }

    /// Reports an element that is missing, if that is wanted.
    pub(super) fn note_missing(&mut self, ptr: Value, loc: Loc) {
        if !self.unit.options.report_failures {
            return;
        }
        let missing = self.b.value(InstKind::IsNull(ptr), Ty::I1);
        self.when(missing, true, |f| f.warn(RuntimeError::Helper("map_lookup_elem"), None, loc));
    }

    /// Number of a packet's event, whose arguments begin behind the header.
    pub(super) fn packet_number(&mut self, id: EventId) -> i64 {
        if let Some(Event::Packet { offset, .. }) = self.unit.plan.events.get_mut(event_number(id) as usize) {
            *offset = DATA_HEADER;
        }
        event_number(id)
    }
}
