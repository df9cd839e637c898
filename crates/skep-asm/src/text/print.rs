//! Instructions to text.

use super::{Symbols, is_identifier};
use crate::asm::{Code, SymKind, SymRef};
use crate::helpers;
use crate::insn::{Endian, Insn};
use crate::kind::{Callee, Kind, Operand, WideImm, wide};
use crate::op::{AtomicOp, Size, SwapOp, Width};
use crate::reg::Reg;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// What stands around the instructions.
#[derive(Copy, Clone, Debug, Default)]
pub struct Style<'a> {
    /// The number of each instruction's slot before it.
    pub numbers: bool,
    /// The opcode in parentheses before it.
    pub opcodes: bool,
    /// Labels instead of distances.
    pub labels: bool,
    /// Map constants are ids (dumps of loaded programs) instead of descriptors.
    pub map_ids: bool,
    /// References that are printed by name, ascending by instruction.
    pub refs: &'a [SymRef],
    /// Names of references and functions; what has none here gets one from its number.
    pub symbols: Option<&'a Symbols>,
}

/// A program's text, one instruction a line.
#[must_use]
pub fn print(insns: &[Insn], style: &Style<'_>) -> String {
    let labels = if style.labels { place_labels(insns, style.symbols) } else { BTreeMap::new() };
    let printer = Printer { insns, style: *style, labels };
    let mut out = String::with_capacity(insns.len() * 32);
    // A String takes whatever is written to it.
    let _ = printer.program(&mut out);
    out
}

/// The text of assembled code with labels and with the names of references.
#[must_use]
pub fn print_code(code: &Code, symbols: &Symbols) -> String {
    print(&code.insns, &Style { labels: true, refs: &code.refs, symbols: Some(symbols), ..Style::default() })
}

impl fmt::Display for Insn {
    /// The slot by itself. The first slot of a 64-bit constant is printed raw, because half of it is missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = [*self];
        Printer { insns: &slots, style: Style::default(), labels: BTreeMap::new() }.statement(f, 0)
    }
}

/// A name for each jump target and function start, by slot.
fn place_labels(insns: &[Insn], symbols: Option<&Symbols>) -> BTreeMap<usize, String> {
    let mut jumps = BTreeSet::new();
    let mut funcs = BTreeSet::new();
    let mut starts = vec![false; insns.len()];
    let mut at = 0;
    while let Some(&insn) = insns.get(at) {
        starts[at] = true;
        if let Ok(target) = usize::try_from(insn.jump_target(at).unwrap_or(-1)) {
            jumps.insert(target);
        }
        if let Ok(target) = usize::try_from(insn.subprog_target(at).unwrap_or(-1)) {
            funcs.insert(target);
        }
        at += if is_whole(insns, at) { insn.slots() } else { 1 };
    }
    let is_start = |&at: &usize| starts.get(at) == Some(&true);
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (at, name) in symbols.map_or(&[][..], |s| &s.funcs) {
        let at = *at as usize;
        if is_start(&at) && taken.insert(name.clone()) {
            names.entry(at).or_insert_with(|| name.clone());
        }
    }
    let mut generate = |prefix: char, places: BTreeSet<usize>| {
        let mut number = 0;
        for at in places.into_iter().filter(is_start) {
            if names.contains_key(&at) {
                continue;
            }
            let name = loop {
                number += 1;
                let name = format!("{prefix}{number}");
                if taken.insert(name.clone()) {
                    break name;
                }
            };
            names.insert(at, name);
        }
    };
    generate('f', funcs);
    generate('L', jumps);
    names
}

/// Whether the slot is an instruction, with its second slot if it has one.
fn is_whole(insns: &[Insn], at: usize) -> bool {
    insns[at].is_wide() && wide(insns[at], insns.get(at + 1).copied()).is_ok()
}

struct Printer<'a> {
    insns: &'a [Insn],
    style: Style<'a>,
    labels: BTreeMap<usize, String>,
}

impl Printer<'_> {
    fn program(&self, out: &mut impl Write) -> fmt::Result {
        let mut at = 0;
        while at < self.insns.len() {
            if let Some(label) = self.labels.get(&at) {
                writeln!(out, "{}:", Name(label))?;
            }
            if self.style.labels {
                out.write_str("    ")?;
            }
            if self.style.numbers {
                write!(out, "{at:4}: ")?;
            }
            if self.style.opcodes {
                write!(out, "({:02x}) ", self.insns[at].op)?;
            }
            self.statement(out, at)?;
            out.write_char('\n')?;
            at += if is_whole(self.insns, at) { 2 } else { 1 };
        }
        Ok(())
    }

    fn statement(&self, out: &mut impl Write, at: usize) -> fmt::Result {
        let insn = self.insns[at];
        match insn.kind() {
            Ok(Kind::LoadImm { .. }) => match wide(insn, self.insns.get(at + 1).copied()) {
                Ok((dst, imm)) => {
                    write!(out, "{dst} = ")?;
                    self.wide(out, at, imm)
                }
                Err(_) => raw(out, insn),
            },
            Ok(kind) => self.kind(out, at, kind),
            Err(_) => raw(out, insn),
        }
    }

    fn wide(&self, out: &mut impl Write, at: usize, imm: WideImm) -> fmt::Result {
        let place = if self.style.map_ids { "id" } else { "fd" };
        match (self.reference(at), imm) {
            (Some(SymKind::Map(map)), WideImm::MapFd(0)) => {
                write!(out, "map[{}]", self.symbol(map, "map", |s| &s.maps))
            }
            (Some(SymKind::MapValue { map, offset: o }), WideImm::MapValue { fd: 0, offset })
                if o == offset =>
            {
                write!(out, "map[{}][0]+{offset}", self.symbol(map, "map", |s| &s.maps))
            }
            (Some(SymKind::Ksym(ksym)), WideImm::BtfId { id: 0, fd: 0 }) => {
                write!(out, "ksym[{}]", self.symbol(ksym, "ksym", |s| &s.ksyms))
            }
            (_, WideImm::Value(value)) => write!(out, "{value:#x}"),
            (_, WideImm::MapFd(fd)) => write!(out, "map[{place}:{fd}]"),
            (_, WideImm::MapValue { fd, offset }) => write!(out, "map[{place}:{fd}][0]+{offset}"),
            (_, WideImm::MapIdx(index)) => write!(out, "map[idx:{index}]"),
            (_, WideImm::MapIdxValue { index, offset }) => write!(out, "map[idx:{index}][0]+{offset}"),
            (_, WideImm::BtfId { id, fd: 0 }) => write!(out, "btf_id[{id}]"),
            (_, WideImm::BtfId { id, fd }) => write!(out, "btf_id[{id}, fd:{fd}]"),
            (_, WideImm::Func(offset)) => match self.label(self.insns[at].subprog_target(at)) {
                Some(label) => write!(out, "subprog[{}]", Name(label)),
                None => write!(out, "subprog[{offset:+}]"),
            },
        }
    }

    fn kind(&self, out: &mut impl Write, at: usize, kind: Kind) -> fmt::Result {
        match kind {
            Kind::Alu { width, op, dst, rhs } => {
                write!(out, "{} {} ", Half(width, dst), op.symbol())?;
                match rhs {
                    Operand::Reg(src) => write!(out, "{}", Half(width, src)),
                    Operand::Imm(imm) => write!(out, "{imm}"),
                }
            }
            Kind::MovSx { width, size, dst, src } => {
                write!(out, "{} = ({}){}", Half(width, dst), Type(size, true), Half(width, src))
            }
            Kind::Neg { width, dst } => write!(out, "{0} = -{0}", Half(width, dst)),
            Kind::Swap { op, bits, dst } => {
                let name = match op {
                    SwapOp::Le => "le",
                    SwapOp::Be => "be",
                    SwapOp::Bswap => "bswap",
                };
                write!(out, "{dst} = {name}{} {dst}", bits.bits())
            }
            Kind::AddrSpaceCast { dst, src, to, from } => {
                write!(out, "{dst} = addr_space_cast({src}, {to}, {from})")
            }
            Kind::Load { size, signed, dst, base, off } => {
                write!(out, "{dst} = *{}", Place(size, signed, base, off))
            }
            Kind::Store { size, base, off, value: Operand::Reg(src) } => {
                write!(out, "*{} = {src}", Place(size, false, base, off))
            }
            Kind::Store { size, base, off, value: Operand::Imm(imm) } => {
                write!(out, "*{} = {imm}", Place(size, false, base, off))
            }
            Kind::Atomic { width, op, base, off, src } => atomic(out, width, op, base, off, src),
            Kind::LoadAcquire { size, dst, base, off } => {
                write!(out, "{dst} = load_acquire({})", Place(size, false, base, off))
            }
            Kind::StoreRelease { size, base, off, src } => {
                write!(out, "store_release({}, {src})", Place(size, false, base, off))
            }
            // The caller prints it with its second slot.
            Kind::LoadImm { .. } => raw(out, self.insns[at]),
            Kind::LoadPacket { size, index: Some(reg), imm } => {
                write!(out, "r0 = *({} *)skb[{reg} + {imm}]", Type(size, false))
            }
            Kind::LoadPacket { size, index: None, imm } => {
                write!(out, "r0 = *({} *)skb[{imm}]", Type(size, false))
            }
            Kind::Goto { long, .. } => {
                out.write_str(if long { "gotol " } else { "goto " })?;
                self.target(out, at)
            }
            Kind::Branch { width, cond, lhs, rhs, .. } => {
                write!(out, "if {} {} ", Half(width, lhs), cond.symbol())?;
                match rhs {
                    Operand::Reg(src) => write!(out, "{}", Half(width, src))?,
                    Operand::Imm(imm) => write!(out, "{imm:#x}")?,
                }
                out.write_str(" goto ")?;
                self.target(out, at)
            }
            Kind::MayGoto { .. } => {
                out.write_str("may_goto ")?;
                self.target(out, at)
            }
            Kind::GotoX { target } => write!(out, "gotox {target}"),
            Kind::Call(callee) => self.call(out, at, callee),
            Kind::Exit => out.write_str("exit"),
            Kind::Nospec => out.write_str("nospec"),
        }
    }

    fn call(&self, out: &mut impl Write, at: usize, callee: Callee) -> fmt::Result {
        match (self.reference(at), callee) {
            (_, Callee::Helper(id)) => match u32::try_from(id).ok().and_then(helpers::name) {
                Some(name) => write!(out, "call bpf_{name}#{id}"),
                None => write!(out, "call unknown#{id}"),
            },
            (_, Callee::Subprog(distance)) => match self.label(self.insns[at].subprog_target(at)) {
                Some(label) => write!(out, "call {}", Name(label)),
                None => write!(out, "call pc{distance:+}"),
            },
            (Some(SymKind::Kfunc(kfunc)), Callee::Kfunc { btf_id: 0, fd_index: 0 }) => {
                write!(out, "call kfunc:{}", self.symbol(kfunc, "kfunc", |s| &s.kfuncs))
            }
            (_, Callee::Kfunc { btf_id, fd_index: 0 }) => write!(out, "call kernel-function#{btf_id}"),
            (_, Callee::Kfunc { btf_id, fd_index }) => {
                write!(out, "call kernel-function#{btf_id}@{fd_index}")
            }
        }
    }

    fn target(&self, out: &mut impl Write, at: usize) -> fmt::Result {
        let insn = self.insns[at];
        match self.label(insn.jump_target(at)) {
            Some(label) => write!(out, "{}", Name(label)),
            None => write!(out, "pc{:+}", insn.jump_offset().unwrap_or(0)),
        }
    }

    fn label(&self, target: Option<i64>) -> Option<&str> {
        let at = usize::try_from(target?).ok()?;
        self.labels.get(&at).map(String::as_str)
    }

    fn reference(&self, at: usize) -> Option<SymKind> {
        let refs = self.style.refs;
        let index = refs.binary_search_by_key(&at, |r| r.insn as usize).ok()?;
        Some(refs[index].kind)
    }

    fn symbol(&self, index: u32, prefix: &str, table: fn(&Symbols) -> &Vec<String>) -> String {
        let name = self.style.symbols.and_then(|s| table(s).get(index as usize));
        name.map_or_else(|| format!("{prefix}{index}"), |name| Name(name).to_string())
    }
}

fn raw(out: &mut impl Write, insn: Insn) -> fmt::Result {
    out.write_str(".raw")?;
    insn.to_bytes(Endian::Little).iter().try_for_each(|byte| write!(out, " {byte:02x}"))
}

fn atomic(out: &mut impl Write, width: Width, op: AtomicOp, base: Reg, off: i16, src: Reg) -> fmt::Result {
    let place = Place(width.size(), false, base, off);
    let bits = if width == Width::W64 { "64" } else { "" };
    let fetch =
        |out: &mut dyn Write, name: &str| write!(out, "{src} = atomic{bits}_fetch_{name}({place}, {src})");
    match op {
        AtomicOp::Add => write!(out, "lock *{place} += {src}"),
        AtomicOp::Or => write!(out, "lock *{place} |= {src}"),
        AtomicOp::And => write!(out, "lock *{place} &= {src}"),
        AtomicOp::Xor => write!(out, "lock *{place} ^= {src}"),
        AtomicOp::FetchAdd => fetch(out, "add"),
        AtomicOp::FetchOr => fetch(out, "or"),
        AtomicOp::FetchAnd => fetch(out, "and"),
        AtomicOp::FetchXor => fetch(out, "xor"),
        AtomicOp::Xchg => write!(out, "{src} = atomic{bits}_xchg({place}, {src})"),
        AtomicOp::Cmpxchg => write!(out, "r0 = atomic{bits}_cmpxchg({place}, r0, {src})"),
    }
}

/// A register of a width: `w1` or `r1`.
struct Half(Width, Reg);

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.letter(), self.1.number())
    }
}

/// The type of an access: `u32`, sign-extended `s32`.
struct Type(Size, bool);

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.1 { 's' } else { 'u' }, u32::from(self.0.bytes()) * 8)
    }
}

/// What is accessed: `(u32 *)(r1 +4)`.
struct Place(Size, bool, Reg, i16);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} *)({} {:+})", Type(self.0, self.1), self.2, self.3)
    }
}

/// A name, quoted if it is no identifier or would be read as a helper.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let helper = self.0.starts_with("bpf_") && helpers::id(self.0).is_some();
        if is_identifier(self.0) && !helper {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
