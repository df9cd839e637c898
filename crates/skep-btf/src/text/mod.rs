//! BTF as text, one type a line: for golden tests and for writing small kernels into tests.
//!
//! ```text
//! [1] INT int size=4 SIGNED
//! [2] INT "unsigned int" size=4
//! [3] PTR -> 6
//! [4] ARRAY 1[16] index=2
//! [5] TYPEDEF pid_t -> 1
//! [6] STRUCT task size=24 { pid: 5 @0; next: 3 @64; "": 7 @128; busy: 2 @160:1 }
//! [7] UNION "" size=4 { a: 1 @0; b: 2 @0 }
//! [8] ENUM color size=4 SIGNED { RED = 0; NONE = -1 }
//! [9] FWD struct sock
//! [10] CONST -> 5
//! [11] FUNC_PROTO (task: 3, flags: 2) -> 1
//! [12] FUNC wake -> 11 static
//! [13] VAR jiffies -> 2 global
//! [14] DATASEC .data size=4 { 13 @0 size=4 }
//! [15] FLOAT double size=8
//! [16] DECL_TAG bpf_kfunc -> 12
//! [17] DECL_TAG nullable -> 12 component=0
//! [18] TYPE_TAG user -> 1
//! [19] TYPE_TAG "address_space(1)" -> 1 attribute
//! ```
//!
//! Members are `name: type @bit offset`, with `:width` for bit-fields. A name that is not made of letters,
//! digits, `_`, `.` and `$` is quoted, with `\"`, `\\` and `\xNN` in it; an empty one is `""`. Integers say
//! `bits=` and `offset=` where these are not the obvious ones. Lines that are empty or begin with `#` are
//! skipped, and the number in front may be left out when reading.

mod parse;

pub use parse::TextError;

use crate::{Btf, Datasec, Enum, IntEncoding, Linkage, Type, TypeId};
use std::fmt::{self, Write};

impl Btf {
    /// Writes every type, one a line, those of the base left out.
    ///
    /// # Errors
    /// Only those of the writer.
    pub fn dump(&self, out: &mut impl Write) -> fmt::Result {
        for i in self.first_id().0..self.id_count() {
            self.dump_type(out, TypeId(i))?;
            out.write_char('\n')?;
        }
        Ok(())
    }

    /// Writes one type without a newline.
    ///
    /// # Errors
    /// Only those of the writer.
    pub fn dump_type(&self, out: &mut impl Write, id: TypeId) -> fmt::Result {
        let Some(ty) = self.ty(id) else { return write!(out, "{id} (no such type)") };
        write!(out, "{id} {}", ty.kind())?;
        let name = Name(ty.name());
        match ty {
            Type::Void => Ok(()),
            Type::Int(i) => {
                write!(out, " {name} size={}", i.size())?;
                if u32::from(i.bits()) != i.size().saturating_mul(8) {
                    write!(out, " bits={}", i.bits())?;
                }
                if i.bit_offset() != 0 {
                    write!(out, " offset={}", i.bit_offset())?;
                }
                match i.encoding() {
                    IntEncoding::Unsigned => Ok(()),
                    IntEncoding::Signed => out.write_str(" SIGNED"),
                    IntEncoding::Char => out.write_str(" CHAR"),
                    IntEncoding::Bool => out.write_str(" BOOL"),
                    IntEncoding::Mixed(n) => write!(out, " encoding={n}"),
                }
            }
            Type::Float(f) => write!(out, " {name} size={}", f.size()),
            Type::Ptr(r) | Type::Const(r) | Type::Volatile(r) | Type::Restrict(r) => {
                write!(out, " -> {}", r.target().0)
            }
            Type::Typedef(r) => write!(out, " {name} -> {}", r.target().0),
            Type::Array(a) => write!(out, " {}[{}] index={}", a.element().0, a.len(), a.index().0),
            Type::Struct(c) | Type::Union(c) => {
                write!(out, " {name} size={}", c.size())?;
                braces(out, c.members(), |out, m| {
                    write!(out, "{}: {} @{}", Name(m.name()), m.type_id().0, m.bit_offset())?;
                    m.bit_size().map_or(Ok(()), |bits| write!(out, ":{bits}"))
                })
            }
            Type::Enum(e) | Type::Enum64(e) => dump_enum(out, e),
            Type::Fwd(f) => write!(out, " {} {name}", if f.is_union() { "union" } else { "struct" }),
            Type::FuncProto(p) => {
                out.write_str(" (")?;
                for (i, p) in p.params().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(out, "{comma}{}: {}", Name(p.name()), p.type_id().0)?;
                }
                write!(out, ") -> {}", p.ret().0)
            }
            Type::Func(f) => write!(out, " {name} -> {} {}", f.proto().0, LinkageWord(f.linkage())),
            Type::Var(v) => write!(out, " {name} -> {} {}", v.target().0, LinkageWord(v.linkage())),
            Type::Datasec(d) => dump_datasec(out, d),
            Type::DeclTag(t) => {
                write!(out, " {name} -> {}", t.target().0)?;
                t.component().map_or(Ok(()), |i| write!(out, " component={i}"))?;
                out.write_str(if t.is_attribute() { " attribute" } else { "" })
            }
            Type::TypeTag(t) => {
                write!(out, " {name} -> {}", t.target().0)?;
                out.write_str(if t.is_attribute() { " attribute" } else { "" })
            }
            Type::Unknown(u) => write!(out, " {name} kind={}", u.raw_kind()),
        }
    }
}

fn dump_enum(out: &mut impl Write, e: Enum<'_>) -> fmt::Result {
    let sign = if e.is_signed() { " SIGNED" } else { "" };
    write!(out, " {} size={}{sign}", Name(e.name()), e.size())?;
    braces(out, e.variants(), |out, v| match e.is_signed() {
        true => write!(out, "{} = {}", Name(v.name()), v.value()),
        false => write!(out, "{} = {}", Name(v.name()), v.value() as u64),
    })
}

fn dump_datasec(out: &mut impl Write, d: Datasec<'_>) -> fmt::Result {
    write!(out, " {} size={}", Name(d.name()), d.size())?;
    braces(out, d.vars(), |out, v| write!(out, "{} @{} size={}", v.type_id.0, v.offset, v.size))
}

fn braces<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    out.write_str(" {")?;
    for (i, item) in items.enumerate() {
        out.write_str(if i == 0 { " " } else { "; " })?;
        each(out, item)?;
    }
    out.write_str(" }")
}

/// Whether a character stands in a name without quotes.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$')
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

struct LinkageWord(Linkage);

impl fmt::Display for LinkageWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Linkage::Static => f.write_str("static"),
            Linkage::Global => f.write_str("global"),
            Linkage::Extern => f.write_str("extern"),
            Linkage::Other(n) => write!(f, "linkage={n}"),
        }
    }
}
