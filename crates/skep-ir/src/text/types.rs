//! Types as text: those of values, and those of memory.
//!
//! Structs, unions and enumerations are declared and referred to by symbol; all other types are written out.

use super::lex::{Cursor, Fault, Parsed, Token};
use super::names::{quoted, symbol, unique};
use super::symbols::Names;
use crate::types::{IntKind, Member, PtrClass, PtrTy, Qualifier, Ty, Type, TypeId, Types};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

/// Deepest nesting of a written type.
const MAX_DEPTH: u32 = 64;

/// The common C names of integers, and their short forms here.
const INTS: [(&str, &str, u32, IntKind); 10] = [
    ("u8", "unsigned char", 1, IntKind::Unsigned),
    ("u16", "unsigned short", 2, IntKind::Unsigned),
    ("u32", "unsigned int", 4, IntKind::Unsigned),
    ("u64", "unsigned long long", 8, IntKind::Unsigned),
    ("s8", "signed char", 1, IntKind::Signed),
    ("s16", "short", 2, IntKind::Signed),
    ("s32", "int", 4, IntKind::Signed),
    ("s64", "long long", 8, IntKind::Signed),
    ("char", "char", 1, IntKind::Char),
    ("bool", "_Bool", 1, IntKind::Bool),
];

const KINDS: [(&str, IntKind); 4] = [
    ("unsigned", IntKind::Unsigned),
    ("signed", IntKind::Signed),
    ("bool", IntKind::Bool),
    ("char", IntKind::Char),
];

const QUALIFIERS: [(&str, Qualifier); 5] = [
    ("const", Qualifier::Const),
    ("volatile", Qualifier::Volatile),
    ("user", Qualifier::User),
    ("rcu", Qualifier::Rcu),
    ("percpu", Qualifier::PerCpu),
];

/// Prints types and remembers which of them must be declared.
pub(super) struct TypePrinter<'m> {
    types: &'m Types,
    symbols: HashMap<TypeId, String>,
    needed: BTreeSet<TypeId>,
}

fn is_declared(ty: &Type) -> bool {
    matches!(ty, Type::Composite { .. } | Type::Enum { .. })
}

impl<'m> TypePrinter<'m> {
    pub(super) fn new(types: &'m Types) -> Self {
        let declared: Vec<_> = types.iter().filter(|(_, t)| is_declared(t)).collect();
        let names = declared.iter().map(|(_, t)| match t {
            Type::Composite { name, .. } | Type::Enum { name, .. } => name.as_str(),
            _ => "",
        });
        let symbols = declared.iter().map(|(id, _)| *id).zip(unique(names)).collect();
        TypePrinter { types, symbols, needed: BTreeSet::new() }
    }

    /// Declarations of everything that was printed, what they refer to first.
    pub(super) fn declarations(&mut self) -> String {
        let mut lines = Vec::new();
        // Types are interned, so a type refers to lower ids alone.
        while let Some(id) = self.needed.pop_last() {
            let mut line = format!("type {} = ", symbol('%', &self.symbols[&id]));
            match self.types.get(id) {
                Type::Composite { name, union, size, members } => {
                    let word = if *union { "union" } else { "struct" };
                    let _ = write!(line, "{word} {} size {size} {{", quoted(name.as_bytes()));
                    for (i, m) in members.iter().enumerate() {
                        let _ = write!(line, "{} {}", if i == 0 { "" } else { "," }, m.bit_offset);
                        if m.bit_size != 0 {
                            let _ = write!(line, ":{}", m.bit_size);
                        }
                        let _ = write!(line, " {} {}", quoted(m.name.as_bytes()), self.memory(m.ty));
                    }
                    line.push_str(" }");
                }
                Type::Enum { name, bytes, variants } => {
                    let _ = write!(line, "enum {} size {bytes} {{", quoted(name.as_bytes()));
                    for (i, (name, value)) in variants.iter().enumerate() {
                        let comma = if i == 0 { "" } else { "," };
                        let _ = write!(line, "{comma} {} = {value}", quoted(name.as_bytes()));
                    }
                    line.push_str(" }");
                }
                _ => continue,
            }
            lines.push(line);
        }
        lines.iter().rev().fold(String::new(), |out, line| out + line + "\n")
    }

    /// A memory type.
    pub(super) fn memory(&mut self, id: TypeId) -> String {
        match self.types.get(id) {
            Type::Void => "void".to_owned(),
            Type::Int { name, bytes, kind } => {
                let short = INTS.iter().find(|(_, n, b, k)| n == name && b == bytes && k == kind);
                if let Some((short, ..)) = short {
                    return (*short).to_owned();
                }
                let kind = KINDS.iter().find(|(_, k)| k == kind).map_or("unsigned", |(w, _)| w);
                format!("int({}, {bytes}, {kind})", quoted(name.as_bytes()))
            }
            Type::Float { name, bytes } => format!("float({}, {bytes})", quoted(name.as_bytes())),
            Type::Ptr(to) => format!("*{}", self.memory(*to)),
            Type::Array { elem, len } => format!("[{len}]{}", self.memory(*elem)),
            Type::Composite { .. } | Type::Enum { .. } => {
                self.needed.insert(id);
                symbol('%', &self.symbols[&id])
            }
            Type::Kernel { name, id: 0 } => format!("kernel({})", quoted(name.as_bytes())),
            Type::Kernel { name, id } => format!("kernel({}, {id})", quoted(name.as_bytes())),
            Type::Forward { name, union } => {
                format!("forward({}, {})", if *union { "union" } else { "struct" }, quoted(name.as_bytes()))
            }
            Type::Typedef { name, to } => {
                format!("typedef({}, {})", quoted(name.as_bytes()), self.memory(*to))
            }
            Type::Qualified(q, to) => {
                let word = QUALIFIERS.iter().find(|(_, k)| k == q).map_or("const", |(w, _)| w);
                format!("{word} {}", self.memory(*to))
            }
            Type::FuncProto { params, ret } => {
                let params: Vec<String> = params
                    .iter()
                    .map(|(n, t)| format!("{} {}", quoted(n.as_bytes()), self.memory(*t)))
                    .collect();
                format!("proto({}) -> {}", params.join(", "), self.memory(*ret))
            }
        }
    }

    /// Type of a value.
    pub(super) fn value(&mut self, ty: Ty, names: &Names) -> String {
        let ptr = match ty {
            Ty::I1 => return "i1".to_owned(),
            Ty::I8 => return "i8".to_owned(),
            Ty::I16 => return "i16".to_owned(),
            Ty::I32 => return "i32".to_owned(),
            Ty::I64 => return "i64".to_owned(),
            Ty::Ptr(ptr) => ptr,
        };
        let mut text = match ptr.class {
            PtrClass::Ctx => "ctx".to_owned(),
            PtrClass::Frame => "frame".to_owned(),
            PtrClass::MapValue(m) => format!("map_value({})", names.map(m)),
            PtrClass::MapKey(m) => format!("map_key({})", names.map(m)),
            PtrClass::Global(g) => format!("global({})", names.global(g)),
            PtrClass::MapRef(m) => format!("map({})", names.map(m)),
            PtrClass::Func(f) => format!("func({})", names.func(f)),
            PtrClass::Packet => "packet".to_owned(),
            PtrClass::PacketMeta => "packet_meta".to_owned(),
            PtrClass::PacketEnd => "packet_end".to_owned(),
            PtrClass::KernelTrusted(t) => format!("trusted({})", self.memory(t)),
            PtrClass::KernelUntrusted(t) => format!("untrusted({})", self.memory(t)),
            PtrClass::KernelRaw(t) => format!("raw({})", self.memory(t)),
            PtrClass::User(t) => format!("user({})", self.memory(t)),
            PtrClass::Record(n) => format!("record({n})"),
            PtrClass::Memory(n) => format!("memory({n})"),
        };
        if ptr.nullable {
            text.push('?');
        }
        text
    }
}

/// Whether a memory type may begin with the token.
pub(super) fn begins_type(token: &Token<'_>) -> bool {
    match token {
        Token::Word(w) => {
            matches!(*w, "void" | "int" | "float" | "kernel" | "forward" | "typedef" | "proto")
                || INTS.iter().any(|(short, ..)| short == w)
                || QUALIFIERS.iter().any(|(word, _)| word == w)
        }
        Token::Sign(s) => matches!(*s, "*" | "["),
        Token::Symbol(sigil, _) => *sigil == '%',
        _ => false,
    }
}

/// Types while they are parsed.
pub(super) struct TypeParser {
    pub(super) types: Types,
    symbols: HashMap<String, TypeId>,
}

impl TypeParser {
    pub(super) fn new(types: Types) -> Self {
        TypeParser { types, symbols: HashMap::new() }
    }

    /// What follows the word `type`.
    pub(super) fn declaration(&mut self, c: &mut Cursor<'_>) -> Parsed<()> {
        let at = c.offset();
        let name = c.symbol('%', "a symbol like `%event`")?;
        if self.symbols.contains_key(&name) {
            return Err(Fault { at, message: format!("a second type `%{name}`") });
        }
        c.sign("=")?;
        let ty = if c.eat_word("enum") {
            let name = c.string()?;
            c.word("size")?;
            let bytes = c.uint()?;
            let variants = c.list("{", "}", |c| {
                let name = c.string()?;
                c.sign("=")?;
                Ok((name, c.i64()?))
            })?;
            Type::Enum { name, bytes, variants }
        } else {
            let union = c.eat_word("union");
            if !union && !c.eat_word("struct") {
                return c.expected("`struct`, `union` or `enum`");
            }
            let name = c.string()?;
            c.word("size")?;
            let size = c.uint()?;
            let members = c.list("{", "}", |c| {
                let bit_offset = c.uint()?;
                let bit_size = if c.eat(":") { c.uint()? } else { 0 };
                Ok(Member { name: c.string()?, ty: self.memory(c)?, bit_offset, bit_size })
            })?;
            Type::Composite { name, union, size, members }
        };
        let id = self.types.add(ty);
        self.symbols.insert(name, id);
        Ok(())
    }

    /// A memory type.
    pub(super) fn memory(&mut self, c: &mut Cursor<'_>) -> Parsed<TypeId> {
        self.nested(c, 0)
    }

    fn nested(&mut self, c: &mut Cursor<'_>, depth: u32) -> Parsed<TypeId> {
        if depth > MAX_DEPTH {
            return c.fault("the type is nested too deeply");
        }
        let deeper = depth + 1;
        let ty = match c.peek().clone() {
            Token::Symbol('%', name) => {
                let Some(&id) = self.symbols.get(&name) else {
                    return c.fault(format!("no type `%{name}` is declared above"));
                };
                c.next();
                return Ok(id);
            }
            Token::Sign("*") => {
                c.next();
                Type::Ptr(self.nested(c, deeper)?)
            }
            Token::Sign("[") => {
                c.next();
                let len = c.uint()?;
                c.sign("]")?;
                Type::Array { elem: self.nested(c, deeper)?, len }
            }
            Token::Word(word) => {
                if !begins_type(c.peek()) {
                    return c.expected("a type");
                }
                c.next();
                if let Some((_, name, bytes, kind)) = INTS.iter().find(|(short, ..)| *short == word) {
                    Type::Int { name: (*name).to_owned(), bytes: *bytes, kind: *kind }
                } else if let Some((_, q)) = QUALIFIERS.iter().find(|(w, _)| *w == word) {
                    Type::Qualified(*q, self.nested(c, deeper)?)
                } else {
                    self.called(c, word, deeper)?
                }
            }
            _ => return c.expected("a type"),
        };
        Ok(self.types.add(ty))
    }

    /// Types that are written like calls.
    fn called(&mut self, c: &mut Cursor<'_>, word: &str, depth: u32) -> Parsed<Type> {
        if word == "void" {
            return Ok(Type::Void);
        }
        if word == "proto" {
            let params = c.list("(", ")", |c| Ok((c.string()?, self.nested(c, depth)?)))?;
            c.sign("->")?;
            return Ok(Type::FuncProto { params, ret: self.nested(c, depth)? });
        }
        c.sign("(")?;
        let ty = match word {
            "int" => {
                let name = c.string()?;
                c.sign(",")?;
                let bytes = c.uint()?;
                c.sign(",")?;
                let of = |w: &str| KINDS.iter().find(|(word, _)| *word == w).map(|(_, k)| *k);
                Type::Int { name, bytes, kind: c.one_of("a kind of integer", of)? }
            }
            "float" => {
                let name = c.string()?;
                c.sign(",")?;
                Type::Float { name, bytes: c.uint()? }
            }
            "kernel" => {
                let name = c.string()?;
                Type::Kernel { name, id: if c.eat(",") { c.uint()? } else { 0 } }
            }
            "forward" => {
                let union = c.eat_word("union");
                if !union {
                    c.word("struct")?;
                }
                c.sign(",")?;
                Type::Forward { name: c.string()?, union }
            }
            _ => {
                let name = c.string()?;
                c.sign(",")?;
                Type::Typedef { name, to: self.nested(c, depth)? }
            }
        };
        c.sign(")")?;
        Ok(ty)
    }

    /// Type of a value.
    pub(super) fn value(&mut self, c: &mut Cursor<'_>, names: &Names) -> Parsed<Ty> {
        let at = c.offset();
        let word = c.any_word("a type")?;
        let class = match word {
            "i1" => return Ok(Ty::I1),
            "i8" => return Ok(Ty::I8),
            "i16" => return Ok(Ty::I16),
            "i32" => return Ok(Ty::I32),
            "i64" => return Ok(Ty::I64),
            "ctx" => PtrClass::Ctx,
            "frame" => PtrClass::Frame,
            "packet" => PtrClass::Packet,
            "packet_meta" => PtrClass::PacketMeta,
            "packet_end" => PtrClass::PacketEnd,
            _ => {
                if !matches!(c.peek(), Token::Sign("(")) {
                    return Err(Fault { at, message: format!("`{word}` is no type of a value") });
                }
                c.sign("(")?;
                let class = match word {
                    "map_value" => PtrClass::MapValue(names.parse_map(c)?),
                    "map_key" => PtrClass::MapKey(names.parse_map(c)?),
                    "global" => PtrClass::Global(names.parse_global(c)?),
                    "map" => PtrClass::MapRef(names.parse_map(c)?),
                    "func" => PtrClass::Func(names.parse_func(c)?),
                    "trusted" => PtrClass::KernelTrusted(self.memory(c)?),
                    "untrusted" => PtrClass::KernelUntrusted(self.memory(c)?),
                    "raw" => PtrClass::KernelRaw(self.memory(c)?),
                    "user" => PtrClass::User(self.memory(c)?),
                    "record" => PtrClass::Record(c.uint()?),
                    "memory" => PtrClass::Memory(c.uint()?),
                    _ => return Err(Fault { at, message: format!("`{word}` is no type of a value") }),
                };
                c.sign(")")?;
                class
            }
        };
        Ok(Ty::Ptr(PtrTy { class, nullable: c.eat("?") }))
    }
}
