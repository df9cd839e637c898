//! Format files of tracepoints.
//!
//! `/sys/kernel/tracing/events/CATEGORY/EVENT/format` describes the record of a tracepoint, one field a line:
//! `field:TYPE NAME[LEN]; offset:N; size:N; signed:N;` (`kernel/trace/trace_events.c`, `f_show`).

use super::{TypeDb, field};
use crate::types::{AddrSpace, DataLoc, FieldDef, IntTy, Origin, StructId, Type};
use std::rc::Rc;

/// A field as the format file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawField {
    /// Type as written, without the name and a length.
    pub(crate) ty: String,
    /// Name.
    pub(crate) name: String,
    /// What stands in brackets behind the name.
    pub(crate) len: Option<String>,
    /// Bytes from the start of the record.
    pub(crate) offset: u32,
    /// Bytes.
    pub(crate) size: u32,
    /// Whether it is a signed number.
    pub(crate) signed: bool,
}

/// Reads the fields of a format file; lines that are none are passed over.
pub(crate) fn parse(text: &str) -> Vec<RawField> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<RawField> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?.trim();
    let mut number = |key: &str| -> Option<u32> { parts.next()?.strip_prefix(key)?.trim().parse().ok() };
    let (offset, size, signed) = (number("offset:")?, number("size:")?, number("signed:").unwrap_or(0) != 0);
    // Function pointers are the only declarations whose name is not at the end.
    if let Some((before, rest)) = declaration.split_once("(*") {
        let name = rest.split(')').next()?.trim();
        return Some(RawField {
            ty: format!("{} *", before.trim()),
            name: name.to_owned(),
            len: None,
            offset,
            size,
            signed,
        });
    }
    // The brackets of `__data_loc char[] name` belong to the type, those behind the name to the name.
    let (declaration, len) = match declaration.strip_suffix(']').and_then(|d| d.rsplit_once('[')) {
        Some((rest, len)) => (rest.trim_end(), Some(len.trim().to_owned())),
        None => (declaration, None),
    };
    let split = declaration.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))? + 1;
    let (ty, name) = declaration.split_at(split);
    (!name.is_empty()).then(|| RawField {
        ty: ty.trim().to_owned(),
        name: name.to_owned(),
        len,
        offset,
        size,
        signed,
    })
}

/// Whether scripts may read a field: the first eight bytes of the record are not visible to BPF programs
/// (`kernel/trace/bpf_trace.c`, `tp_prog_is_valid_access`).
pub(crate) fn is_common(name: &str) -> bool {
    matches!(
        name,
        "common_type" | "common_flags" | "common_preempt_count" | "common_pid" | "common_migrate_disable"
    )
}

impl TypeDb<'_> {
    /// The record of a tracepoint as a struct.
    pub(crate) fn tracepoint_record(&mut self, category: &str, event: &str, format: &str) -> StructId {
        let raw = parse(format);
        let space = if category == "syscalls" { AddrSpace::User } else { AddrSpace::Kernel };
        let fields: Rc<[FieldDef]> = raw.iter().map(|f| self.record_field(f, space)).collect();
        let size = raw.iter().map(|f| f.offset.saturating_add(f.size)).max().unwrap_or(8);
        let name = format!("struct tracepoint:{category}:{event}_args");
        self.add_struct(
            name,
            size.checked_next_multiple_of(8).unwrap_or(size),
            8,
            Origin::TracepointRecord,
            Some(fields),
        )
    }

    fn record_field(&mut self, raw: &RawField, space: AddrSpace) -> FieldDef {
        let direct = |ty| field(raw.name.as_str(), ty, raw.offset);
        for (prefix, data_loc) in [("__data_loc ", DataLoc::FromRecord), ("__rel_loc ", DataLoc::FromField)] {
            if let Some(elem) = raw.ty.strip_prefix(prefix) {
                let elem = elem.trim().trim_end_matches("[]").trim();
                let ty = if elem == "char" {
                    Type::Str(self.max_strlen)
                } else {
                    let elem = self.record_type(elem).unwrap_or(Type::int(1, false));
                    Type::Ptr(Rc::new(elem), AddrSpace::Kernel)
                };
                return FieldDef { data_loc, ..direct(ty) };
            }
        }
        let int = |bytes: u32, signed| match bytes {
            1 | 2 | 4 | 8 => Some(Type::Int(IntTy { bytes: bytes as u8, signed })),
            _ => None,
        };
        let opaque = || Type::Array(Rc::new(Type::int(1, false)), raw.size);
        if raw.len.is_some() {
            if raw.ty == "char" && raw.size > 0 {
                return direct(Type::Str(raw.size));
            }
            // The length may be a constant's name; the size of the whole tells how many there are.
            let elem = self.record_type(&raw.ty);
            let bytes = elem.as_ref().map_or(1, |t| self.size_of(t)).max(1);
            return direct(match elem {
                Some(elem) if raw.size.is_multiple_of(bytes) => Type::Array(Rc::new(elem), raw.size / bytes),
                _ => opaque(),
            });
        }
        if raw.ty.ends_with('*') {
            return direct(self.record_pointer(&raw.ty, space));
        }
        let named = match self.record_type(&raw.ty) {
            // Arguments of system calls are stored in 8 bytes whatever their type says.
            Some(Type::Int(_)) | None => None,
            Some(ty) if self.size_of(&ty) == raw.size => Some(ty),
            Some(_) => None,
        };
        direct(named.or_else(|| int(raw.size, raw.signed)).unwrap_or_else(opaque))
    }

    fn record_pointer(&mut self, text: &str, space: AddrSpace) -> Type {
        let stars = text.chars().filter(|&c| c == '*').count().min(8);
        let base = text.split('*').next().unwrap_or("");
        let mut ty = self.record_type(base).unwrap_or(Type::None);
        for _ in 0..stars {
            ty = Type::Ptr(Rc::new(ty), space);
        }
        ty
    }

    /// A type as format files write it: C without its pointers.
    fn record_type(&mut self, text: &str) -> Option<Type> {
        let words: Vec<&str> = text
            .split_whitespace()
            .filter(|w| !matches!(*w, "const" | "volatile" | "__user" | "__attribute__((user))"))
            .collect();
        let int = |bytes, signed| Some(Type::int(bytes, signed));
        match *words.as_slice() {
            ["struct", name] => Some(Type::Struct(self.forward(super::Keyword::Struct, name))),
            ["union", name] => Some(Type::Struct(self.forward(super::Keyword::Union, name))),
            ["enum", name] => self.enum_named(name).map(Type::Enum),
            ["void"] | [] => None,
            ["bool" | "_Bool"] => Some(Type::Bool),
            ["char"] | ["signed", "char"] | ["s8" | "__s8" | "int8_t"] => int(1, true),
            ["unsigned", "char"] | ["u8" | "__u8" | "uint8_t"] => int(1, false),
            ["short"] | ["s16" | "__s16" | "int16_t"] => int(2, true),
            ["unsigned", "short"] | ["u16" | "__u16" | "uint16_t"] => int(2, false),
            ["int"] | ["s32" | "__s32" | "int32_t" | "pid_t"] => int(4, true),
            ["unsigned"] | ["unsigned", "int"] | ["u32" | "__u32" | "uint32_t"] => int(4, false),
            ["long"] | ["long", "long"] | ["s64" | "__s64" | "int64_t"] => int(8, true),
            ["unsigned", "long"]
            | ["unsigned", "long", "long"]
            | ["u64" | "__u64" | "uint64_t" | "size_t"] => int(8, false),
            // Other names would open the kernel's type information for the sake of a number whose size and sign
            // the format file has.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_format_files() {
        let text = "name: x\nID: 1\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
            \tfield:__data_loc char[] filename;\toffset:24;\tsize:4;\tsigned:0;\n\
            \tfield:const char * name;\toffset:32;\tsize:8;\tsigned:0;\n\
            \tfield:void (*fn)(int);\toffset:40;\tsize:8;\tsigned:0;\n\
            \tfield:unsigned long args[6];\toffset:48;\tsize:48;\tsigned:0;\n\nprint fmt: \"\"\n";
        let fields = parse(text);
        let names: Vec<_> =
            fields.iter().map(|f| (f.ty.as_str(), f.name.as_str(), f.len.as_deref())).collect();
        assert_eq!(
            names,
            [
                ("unsigned short", "common_type", None),
                ("char", "comm", Some("16")),
                ("__data_loc char[]", "filename", None),
                ("const char *", "name", None),
                ("void *", "fn", None),
                ("unsigned long", "args", Some("6")),
            ]
        );
        assert!(!fields[1].signed && fields[5].offset == 48 && fields[5].size == 48);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for line in
            ["field:;", "field: offset:1;", "field:x;offset:a;size:1;", "]", "field:[];offset:1;size:1;"]
        {
            assert_eq!(parse(line), [], "{line}");
        }
    }
}
