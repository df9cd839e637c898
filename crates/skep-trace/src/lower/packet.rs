//! `skboutput`: packets for a pcap file.

use super::function::Fx;
use super::place::Src;
use crate::hir::{EventId, Expr};
use crate::types::Type;
use skep_ir::inst::{BinOp, CmpOp, InstKind, Ledger, Space, Step};
use skep_ir::types::PtrClass;
use skep_ir::{Loc, Ty, Value};

/// Bytes of a packet that are sent where the script does not give a constant.
const SNAPSHOT: u32 = 4096;
/// Bytes of a packet that are sent at most.
const LONGEST: u64 = 16 << 10;
/// Event number, then time and length of the packet.
const HEADER: u32 = 24;

impl<'p> Fx<'_, 'p> {
    /// `skboutput(file, skb, length, offset)`: sends what lies in the packet's linear part.
    pub(super) fn packet(&mut self, event: EventId, args: &'p [Expr], loc: Loc) -> Value {
        let [skb, len, offset] = args else { return self.b.i64(0) };
        let Some(ring) = self.unit.plan.data_ring else { return self.b.i64(0) };
        let max = match len.as_int() {
            Some(n) => n.clamp(1, LONGEST) as u32,
            None => SNAPSHOT,
        };
        let len = self.scalar(len);
        let len = self.number(len);
        let len = self.at_most(len, u64::from(max));
        let offset = self.scalar(offset);
        let offset = self.number(offset);
        let record = self.buffer("packet", HEADER + max);
        let number = self.packet_number(event);
        let number = self.b.i64(number);
        let now = self.boot_time();
        self.b.store(record, 0, number);
        self.b.store(record, 8, now);
        self.b.store(record, 16, len);
        let start = self.packet_data(skb);
        let src = self.b.bin(BinOp::Add, start, offset);
        let dst = self.b.ptr_add(record, HEADER as i32);
        let read = InstKind::ProbeRead { dst, len, max, src, space: Space::Kernel };
        let code = self.b.value(read, Ty::I64);
        self.check_read(code, Space::Kernel, "", loc);
        let full = self.unit.options.full_ledger;
        if full {
            self.b.inst(InstKind::Count(Ledger::Seen), None);
        }
        let header = self.b.i64(i64::from(HEADER));
        let bytes = self.b.bin(BinOp::Add, len, header);
        let output = InstKind::EventOutput { ring, data: record, len: bytes, max: HEADER + max };
        let sent = self.b.value(output, Ty::I64);
        if full {
            let zero = self.b.i64(0);
            let sent = self.b.cmp(CmpOp::Eq, sent, zero);
            self.when(sent, false, |f| {
                f.b.inst(InstKind::Count(Ledger::Committed), None);
            });
        }
        sent
    }

    /// Where the data of a packet begin, as a number.
    fn packet_data(&mut self, skb: &'p Expr) -> Value {
        self.or_zero(|f| {
            let base = f.pointer(skb);
            let base = f.not_null(base);
            let path = vec![Step::Field("data".into())];
            let data = if f.is_kernel_struct(pointee(&skb.ty)) {
                let class = PtrClass::KernelRaw(f.unit.module.types.void());
                f.b.value(InstKind::FieldLoad { base, path, scalar: None }, Ty::ptr(class))
            } else {
                let place = Src::Object { base, path: Vec::new() };
                f.address(&place)
            };
            f.number(data)
        })
    }
}

fn pointee(ty: &Type) -> &Type {
    if let Type::Ptr(to, _) = ty { to } else { ty }
}
