//! Declarations: a type is walked from the outside in while the declarator grows around the name.

use super::{CError, CPrinter};
use crate::layout::{MAX_CHAIN, MAX_NESTING};
use crate::{FuncProto, Type, TypeId};

/// What a declarator begins with: it decides whether a space goes before it.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Lead {
    /// Nothing, or dimensions of something without a name.
    Nothing,
    /// A name.
    Name,
    /// `*`
    Star,
    /// A parenthesis around the declarator of an array.
    ArrayParen,
    /// A parenthesis around the declarator of a function.
    FuncParen,
    /// A word that has its space already.
    Spaced,
}

/// What the declarator is, seen from the inside.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Outer {
    Name,
    Array,
    Other,
}

struct Declarator {
    text: String,
    lead: Lead,
    outer: Outer,
}

impl Declarator {
    /// Puts text before the declarator.
    fn prefix(&mut self, text: &str, lead: Lead) {
        let space = match self.lead {
            Lead::Nothing | Lead::Spaced => false,
            Lead::Name | Lead::Star | Lead::ArrayParen => lead != Lead::Star || text != "*",
            Lead::FuncParen => true,
        };
        if space {
            self.text.insert(0, ' ');
        }
        self.text.insert_str(0, text);
        self.lead = lead;
        self.outer = Outer::Other;
    }

    fn parenthesize(&mut self, lead: Lead) {
        self.text.insert(0, '(');
        self.text.push(')');
        self.lead = lead;
    }
}

impl<'a> CPrinter<'a> {
    /// Appends a declaration; `level` is the indentation of a body inside it, `depth` the nesting so far.
    pub(super) fn declare(
        &mut self,
        out: &mut String,
        id: TypeId,
        name: &str,
        level: usize,
        depth: usize,
    ) -> Result<(), CError> {
        if depth > MAX_NESTING {
            return Err(CError::TooComplex(id));
        }
        self.spend(name.len(), id)?;
        let mut d = Declarator {
            text: name.to_owned(),
            lead: if name.is_empty() { Lead::Nothing } else { Lead::Name },
            outer: Outer::Name,
        };
        let mut at = id;
        // Qualifiers met since the last type that is none, outermost first.
        let mut qualifiers: Vec<&str> = Vec::new();
        for _ in 0..MAX_CHAIN {
            let ty = self.btf.ty(at).ok_or(CError::NoType(at))?;
            at = match ty {
                Type::Const(r) => {
                    qualifiers.push("const");
                    r.target()
                }
                Type::Volatile(r) => {
                    qualifiers.push("volatile");
                    r.target()
                }
                Type::Restrict(r) => {
                    qualifiers.push("restrict");
                    r.target()
                }
                Type::Ptr(r) => {
                    let mut star = "*".to_owned();
                    for word in qualifiers.drain(..).rev() {
                        star = star + " " + word;
                    }
                    d.prefix(&star, Lead::Star);
                    r.target()
                }
                Type::TypeTag(t) => {
                    let mut words = String::new();
                    for word in qualifiers.drain(..).rev() {
                        words = words + " " + word;
                    }
                    words += &if t.is_attribute() {
                        format!(" __attribute__(({}))", t.name())
                    } else {
                        format!(" __attribute__((btf_type_tag(\"{}\")))", t.name())
                    };
                    self.spend(words.len(), at)?;
                    d.prefix(&words, Lead::Spaced);
                    t.target()
                }
                Type::Array(a) => {
                    // Compilers repeat an element's qualifiers on the array; C has no place for them there.
                    qualifiers.clear();
                    if d.outer == Outer::Other {
                        let lead = if name.is_empty() { Lead::Nothing } else { Lead::ArrayParen };
                        d.parenthesize(lead);
                    }
                    d.text += &format!("[{}]", a.len());
                    d.outer = Outer::Array;
                    a.element()
                }
                Type::FuncProto(proto) => {
                    // One compiler writes `volatile` for functions that do not return.
                    qualifiers.clear();
                    if d.outer != Outer::Name {
                        d.parenthesize(Lead::FuncParen);
                    }
                    self.params(&mut d.text, proto, level, depth)?;
                    d.outer = Outer::Other;
                    proto.ret()
                }
                base => {
                    for word in qualifiers.iter().rev() {
                        self.put(out, word, at)?;
                        self.put(out, " ", at)?;
                    }
                    self.base(out, base, level, depth)?;
                    let space = !matches!(d.lead, Lead::Nothing | Lead::Spaced);
                    self.put(out, if space { " " } else { "" }, at)?;
                    return self.put(out, &d.text, at);
                }
            };
        }
        Err(CError::Endless(id))
    }

    fn params(
        &mut self,
        out: &mut String,
        proto: FuncProto<'a>,
        level: usize,
        depth: usize,
    ) -> Result<(), CError> {
        self.put(out, "(", proto.id())?;
        let params = proto.params();
        let count = params.len();
        for (i, param) in params.enumerate() {
            if i > 0 {
                self.put(out, ", ", proto.id())?;
            }
            // `void` alone says that there are none; after others it stands for the rest of the arguments.
            match (param.type_id().is_void(), count) {
                (true, 1) => self.put(out, "void", proto.id())?,
                (true, _) if i + 1 == count => self.put(out, "...", proto.id())?,
                _ => self.declare(out, param.type_id(), param.name(), level, depth + 1)?,
            }
        }
        self.put(out, if count == 0 { "void)" } else { ")" }, proto.id())
    }

    /// The type that a declaration begins with.
    fn base(&mut self, out: &mut String, ty: Type<'a>, level: usize, depth: usize) -> Result<(), CError> {
        let keyword = match ty {
            Type::Void => return self.put(out, "void", TypeId::VOID),
            Type::Struct(c) | Type::Union(c) if c.name().is_empty() => {
                return self.body(out, c, level, depth + 1);
            }
            Type::Enum(e) | Type::Enum64(e) if e.name().is_empty() => return self.enum_body(out, e, level),
            Type::Struct(_) => "struct ",
            Type::Union(_) => "union ",
            Type::Enum(_) | Type::Enum64(_) => "enum ",
            Type::Fwd(f) if f.is_union() => "union ",
            Type::Fwd(_) => "struct ",
            Type::Int(_) | Type::Float(_) | Type::Typedef(_) => "",
            // A function, variable or tag where a type should be.
            other => {
                return Err(CError::NoDefinition { id: other.id(), kind: other.kind().name() });
            }
        };
        self.put(out, keyword, ty.id())?;
        self.put(out, ty.name(), ty.id())
    }
}
