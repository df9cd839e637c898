//! Declarations of C: structs, unions, enums and typedefs; functions and variables are passed over.

use super::super::ast::{CComposite, CEnum, CItem, CMember, CType, Ident};
use super::cond;
use super::lex::{Kind, Token};
use super::ty::{Words, known_typedef};
use skep_ir::{Diagnostic, Loc, SourceMap};
use std::collections::HashMap;

/// Structs in structs, parentheses in declarators.
const MAX_DEPTH: u32 = 64;
/// Largest array and alignment that have a meaning.
const MAX_LENGTH: i64 = u32::MAX as i64;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Reads the declarations that tokens make.
pub(super) struct Reader<'a> {
    sources: &'a SourceMap,
    tokens: &'a [Token],
    at: usize,
    /// Behind the last token.
    end: Loc,
    enumerators: &'a mut HashMap<String, i64>,
    items: Vec<CItem>,
    depth: u32,
}

/// What attributes say.
#[derive(Default, Clone, Copy)]
struct Attributes {
    packed: bool,
    align: u32,
}

/// A declarator is a name and what it makes of a type, from the name outward.
enum Derivation {
    Ptr,
    Array(Option<u64>),
    Function,
}

struct Declarator {
    name: Option<Ident>,
    derivations: Vec<Derivation>,
}

/// A base type and how it was declared.
struct Specifiers {
    ty: CType,
    typedef: bool,
    /// A struct, union or enum with a body, behind which a `;` may be missing at the top level.
    defines: bool,
}

impl<'a> Reader<'a> {
    /// `None` if there is nothing to read.
    pub(super) fn new(
        sources: &'a SourceMap,
        tokens: &'a [Token],
        enumerators: &'a mut HashMap<String, i64>,
    ) -> Option<Self> {
        let mut end = tokens.last()?.loc;
        end.span.lo = end.span.hi;
        Some(Reader { sources, tokens, at: 0, end, enumerators, items: Vec::new(), depth: 0 })
    }

    /// The definitions up to the first error.
    pub(super) fn read(mut self) -> (Vec<CItem>, Vec<Diagnostic>) {
        while self.at < self.tokens.len() {
            if let Err(error) = self.external() {
                return (self.items, vec![error]);
            }
        }
        (self.items, Vec::new())
    }

    // Tokens

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn text(&self) -> &'a str {
        self.peek().map_or("", |t| t.text(self.sources))
    }

    fn here(&self) -> Loc {
        self.peek().map_or(self.end, |token| token.loc)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.text() == text;
        self.at += usize::from(found);
        found
    }

    fn error<T>(&self, message: &str) -> Result<T> {
        Err(Diagnostic::error(self.here(), format!("syntax: {message}")))
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.eat(text) { Ok(()) } else { self.error(&format!("expected '{text}'")) }
    }

    fn ident(&mut self) -> Option<Ident> {
        let token = self.peek().filter(|t| t.kind == Kind::Ident)?;
        self.at += 1;
        Some(Ident { name: token.text(self.sources).to_owned(), loc: token.loc })
    }

    /// From a token to the last one that was taken.
    fn loc_from(&self, first: usize) -> Loc {
        let last = self.at.saturating_sub(1).max(first);
        match (self.tokens.get(first), self.tokens.get(last)) {
            // Text of two files has no common range.
            (Some(a), Some(b)) if a.loc.span.file == b.loc.span.file => a.loc.to(b.loc),
            (Some(a), _) => a.loc,
            _ => self.here(),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(&format!("nesting is too deep, at most {MAX_DEPTH} levels are possible"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Passes tokens up to the one that closes the bracket which comes next.
    fn skip_brackets(&mut self) -> Result<()> {
        let open = self.here();
        let mut depth = 0u32;
        while let Some(token) = self.peek() {
            self.at += 1;
            if token.kind == Kind::Punct {
                match token.text(self.sources) {
                    "(" | "{" | "[" => depth += 1,
                    ")" | "}" | "]" => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(Diagnostic::error(open, "syntax: this bracket is not closed"))
    }

    fn constant(&mut self, stops: &[&str]) -> Result<i64> {
        let first = self.at;
        let mut depth = 0u32;
        while let Some(token) = self.peek() {
            let text = if token.kind == Kind::Punct { token.text(self.sources) } else { "" };
            match text {
                "(" => depth += 1,
                ")" if depth > 0 => depth -= 1,
                _ if depth == 0 && stops.contains(&text) => break,
                _ => {}
            }
            self.at += 1;
        }
        let enumerators = &*self.enumerators;
        cond::evaluate(self.sources, &self.tokens[first..self.at], self.here(), &|name| {
            enumerators.get(name).copied()
        })
    }

    // Declarations

    fn external(&mut self) -> Result<()> {
        if self.eat(";") {
            return Ok(());
        }
        if matches!(self.text(), "_Static_assert" | "static_assert" | "asm" | "__asm__") {
            self.at += 1;
            self.skip_brackets()?;
            self.eat(";");
            return Ok(());
        }
        let specifiers = self.deeper(Self::specifiers)?;
        if self.eat(";") || (specifiers.defines && !specifiers.typedef && !self.begins_declarator()) {
            return Ok(());
        }
        loop {
            let mut declarator = self.declarator()?;
            let attributes = self.attributes()?;
            let is_function = matches!(declarator.derivations.first(), Some(Derivation::Function));
            if specifiers.typedef {
                let Some(name) = declarator.name.take() else {
                    return self.error("expected a name for the type");
                };
                if attributes.packed || attributes.align > 0 {
                    return self.error("attributes of a typedef are not supported");
                }
                let ty = derive(specifiers.ty.clone(), declarator.derivations);
                self.items.push(CItem::Typedef { name, ty });
            } else if declarator.name.is_none() {
                return self.error("expected a declaration");
            }
            if is_function && self.text() == "{" {
                return self.skip_brackets();
            }
            if self.eat("=") {
                self.skip_initializer()?;
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(";")
    }

    fn begins_declarator(&self) -> bool {
        match self.peek() {
            Some(token) if token.kind == Kind::Ident => !matches!(
                self.text(),
                "struct" | "union" | "enum" | "typedef" | "static" | "extern" | "const"
            ),
            Some(token) => matches!(token.text(self.sources), "*" | "("),
            None => false,
        }
    }

    fn skip_initializer(&mut self) -> Result<()> {
        while !matches!(self.text(), "," | ";" | "") {
            match self.text() {
                "(" | "{" | "[" => self.skip_brackets()?,
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// `__attribute__((...))` and its like.
    fn attributes(&mut self) -> Result<Attributes> {
        let mut found = Attributes::default();
        loop {
            match self.text() {
                "__attribute__" | "__attribute" => {
                    self.at += 1;
                    self.expect("(")?;
                    self.expect("(")?;
                    while !self.eat(")") {
                        self.attribute(&mut found)?;
                    }
                    self.expect(")")?;
                }
                "__packed" => {
                    self.at += 1;
                    found.packed = true;
                }
                "_Alignas" => {
                    self.at += 1;
                    self.expect("(")?;
                    found.align = self.alignment()?;
                    self.expect(")")?;
                }
                _ => return Ok(found),
            }
        }
    }

    fn attribute(&mut self, found: &mut Attributes) -> Result<()> {
        match self.text() {
            "," => self.at += 1,
            "packed" | "__packed__" => {
                self.at += 1;
                found.packed = true;
            }
            "aligned" | "__aligned__" => {
                self.at += 1;
                if self.eat("(") {
                    found.align = self.alignment()?;
                    self.expect(")")?;
                } else {
                    // The largest alignment that the machine uses for anything.
                    found.align = 16;
                }
            }
            "" | ";" | "}" => return self.error("expected ')'"),
            // Others, such as unused or preserve_access_index, do not change the layout.
            _ => {
                self.at += 1;
                if self.text() == "(" {
                    self.skip_brackets()?;
                }
            }
        }
        Ok(())
    }

    fn alignment(&mut self) -> Result<u32> {
        let loc = self.here();
        let value = self.constant(&[")"])?;
        match u32::try_from(value) {
            Ok(value) if value.is_power_of_two() => Ok(value),
            _ => Err(Diagnostic::error(loc, format!("syntax: {value} is no alignment"))),
        }
    }

    fn specifiers(&mut self) -> Result<Specifiers> {
        let first = self.at;
        let mut words = Words::default();
        let mut found: Option<CType> = None;
        let (mut typedef, mut defines) = (false, false);
        loop {
            let attributes = self.attributes()?;
            if attributes.packed || attributes.align > 0 {
                return self.error("this attribute must stand behind a member or a struct");
            }
            match self.text() {
                "typedef" => {
                    typedef = true;
                    self.at += 1;
                }
                "const" | "volatile" | "restrict" | "__restrict" | "__restrict__" | "__const"
                | "__volatile__" | "static" | "extern" | "inline" | "__inline" | "__inline__"
                | "register" | "_Noreturn" | "__extension__" | "_Atomic" | "__always_inline" | "__user"
                | "__kernel" | "__rcu" | "__percpu" => {
                    self.at += 1;
                }
                "__int128" | "__uint128_t" | "_Float128" | "typeof" | "__typeof__" => {
                    return self.error(&format!("'{}' is not supported", self.text()));
                }
                "struct" | "union" if found.is_none() && !words.any() => {
                    let (ty, body) = self.composite()?;
                    found = Some(ty);
                    defines |= body;
                }
                "enum" if found.is_none() && !words.any() => {
                    let (ty, body) = self.enumeration()?;
                    found = Some(ty);
                    defines |= body;
                }
                word if found.is_none() && words.take(word) => self.at += 1,
                _ => {
                    // A name is a type if none was seen, else what is declared.
                    if found.is_some() || words.any() {
                        break;
                    }
                    let Some(name) = self.ident() else { return self.error("expected a declaration") };
                    found = Some(known_typedef(&name.name).unwrap_or(CType::Name(name)));
                }
            }
        }
        let ty = match found {
            Some(ty) => ty,
            None => match words.ty() {
                Some(ty) => ty,
                None => {
                    return Err(Diagnostic::error(self.loc_from(first), "syntax: these words make no type"));
                }
            },
        };
        Ok(Specifiers { ty, typedef, defines })
    }

    /// `struct [attributes] [tag] [{ members }] [attributes]`; whether it has a body. Definitions with a tag
    /// become items of their own.
    fn composite(&mut self) -> Result<(CType, bool)> {
        let first = self.at;
        let union = self.text() == "union";
        self.at += 1;
        let mut attributes = self.attributes()?;
        let tag = self.ident();
        if self.text() != "{" {
            let Some(tag) = tag else { return self.error("expected '{'") };
            return Ok((if union { CType::Union(tag) } else { CType::Struct(tag) }, false));
        }
        self.at += 1;
        let mut members = Vec::new();
        while !self.eat("}") {
            if self.peek().is_none() {
                return self.error("expected '}'");
            }
            self.deeper(|r| r.members(&mut members))?;
        }
        let behind = self.attributes()?;
        attributes.packed |= behind.packed;
        attributes.align = attributes.align.max(behind.align);
        let item = CItem::Composite(CComposite {
            name: tag.as_ref().map_or(String::new(), |t| t.name.clone()),
            union,
            members: Some(members),
            packed: attributes.packed,
            align: attributes.align,
            loc: self.loc_from(first),
        });
        Ok((
            match tag {
                None => CType::Inline(Box::new(item)),
                Some(tag) => {
                    self.items.push(item);
                    if union { CType::Union(tag) } else { CType::Struct(tag) }
                }
            },
            true,
        ))
    }

    /// One line of members.
    fn members(&mut self, members: &mut Vec<CMember>) -> Result<()> {
        if self.eat(";") {
            return Ok(());
        }
        let first = self.at;
        let specifiers = self.specifiers()?;
        if self.text() == ";" {
            // `struct { ... };` and `struct tag { ... };`: only the first has members.
            if matches!(specifiers.ty, CType::Inline(_)) {
                let loc = self.loc_from(first);
                members.push(CMember { name: String::new(), ty: specifiers.ty, bits: None, align: 0, loc });
            } else if !specifiers.defines {
                return self.error("expected a name for the member");
            }
            self.at += 1;
            return Ok(());
        }
        loop {
            let start = self.at;
            let declarator = if self.text() == ":" {
                Declarator { name: None, derivations: Vec::new() }
            } else {
                self.declarator()?
            };
            let bits = if self.eat(":") { Some(self.bits()?) } else { None };
            if matches!(declarator.derivations.first(), Some(Derivation::Function)) {
                return self.error("a member cannot be a function");
            }
            if declarator.name.is_none() && bits.is_none() {
                return self.error("expected a name for the member");
            }
            let attributes = self.attributes()?;
            if attributes.packed {
                return self.error("packed is supported for whole structs only");
            }
            let name = declarator.name.map_or(String::new(), |n| n.name);
            let ty = derive(specifiers.ty.clone(), declarator.derivations);
            members.push(CMember { name, ty, bits, align: attributes.align, loc: self.loc_from(start) });
            if !self.eat(",") {
                break;
            }
        }
        // Compilers let the last one in a struct go without.
        if self.text() == "}" { Ok(()) } else { self.expect(";") }
    }

    fn bits(&mut self) -> Result<u32> {
        let loc = self.here();
        let value = self.constant(&[";", ",", "__attribute__"])?;
        match u32::try_from(value) {
            Ok(bits) if bits <= 64 => Ok(bits),
            _ => Err(Diagnostic::error(loc, format!("syntax: {value} is no width of a bit-field"))),
        }
    }

    fn enumeration(&mut self) -> Result<(CType, bool)> {
        let first = self.at;
        self.at += 1;
        self.attributes()?;
        let tag = self.ident();
        if self.text() != "{" {
            let Some(tag) = tag else { return self.error("expected '{'") };
            return Ok((CType::Enum(tag), false));
        }
        self.at += 1;
        let mut variants = Vec::new();
        let mut next = 0i64;
        while !self.eat("}") {
            let Some(name) = self.ident() else { return self.error("expected an enumerator") };
            if self.eat("=") {
                next = self.constant(&[",", "}"])?;
            }
            self.enumerators.insert(name.name.clone(), next);
            variants.push((name.name, next));
            next = next.wrapping_add(1);
            if self.text() != "}" {
                self.expect(",")?;
            }
        }
        self.attributes()?;
        let name = tag.as_ref().map_or(String::new(), |t| t.name.clone());
        let item = CItem::Enum(CEnum { name, variants, loc: self.loc_from(first) });
        Ok((
            match tag {
                // A definition that is used nowhere still defines its enumerators.
                None if self.text() == ";" || self.peek().is_none() || !self.begins_declarator() => {
                    self.items.push(item);
                    CType::Int { bytes: 4, signed: false }
                }
                None => CType::Inline(Box::new(item)),
                Some(tag) => {
                    self.items.push(item);
                    CType::Enum(tag)
                }
            },
            true,
        ))
    }

    fn declarator(&mut self) -> Result<Declarator> {
        let mut declarator = Declarator { name: None, derivations: Vec::new() };
        self.deeper(|r| r.declarator_into(&mut declarator))?;
        Ok(declarator)
    }

    fn declarator_into(&mut self, out: &mut Declarator) -> Result<()> {
        let mut pointers = 0usize;
        loop {
            match self.text() {
                "*" => pointers += 1,
                "const" | "volatile" | "restrict" | "__restrict" | "__restrict__" | "_Atomic" | "__user"
                | "__rcu" | "__percpu" | "__kernel" => {}
                _ => break,
            }
            self.at += 1;
        }
        // `(` begins an inner declarator only if that has a `*` or is in parentheses itself.
        let next = self.tokens.get(self.at + 1).map_or("", |t| t.text(self.sources));
        if self.text() == "(" && matches!(next, "*" | "(") {
            self.at += 1;
            self.deeper(|r| r.declarator_into(out))?;
            self.expect(")")?;
        } else {
            out.name = self.ident();
        }
        loop {
            if self.eat("[") {
                let length = if self.text() == "]" { None } else { Some(self.length()?) };
                self.expect("]")?;
                out.derivations.push(Derivation::Array(length));
            } else if self.text() == "(" {
                self.skip_brackets()?;
                out.derivations.push(Derivation::Function);
            } else {
                break;
            }
        }
        if out.derivations.len() + pointers > MAX_DEPTH as usize {
            return self.error("this declaration is nested too deeply");
        }
        out.derivations.extend((0..pointers).map(|_| Derivation::Ptr));
        Ok(())
    }

    fn length(&mut self) -> Result<u64> {
        let loc = self.here();
        let value = self.constant(&["]"])?;
        if !(0..=MAX_LENGTH).contains(&value) {
            return Err(Diagnostic::error(loc, format!("syntax: {value} is no length of an array")));
        }
        Ok(value as u64)
    }
}

/// Applies derivations to a type, the outermost first. A pointer to a function is a pointer to void.
fn derive(mut ty: CType, derivations: Vec<Derivation>) -> CType {
    for derivation in derivations.into_iter().rev() {
        ty = match derivation {
            Derivation::Ptr => CType::Ptr(Box::new(ty)),
            Derivation::Array(length) => CType::Array(Box::new(ty), length),
            Derivation::Function => CType::Void,
        };
    }
    ty
}
