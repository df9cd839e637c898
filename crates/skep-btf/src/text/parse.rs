//! Reading the text form.

use crate::build::{Builder, MemberDef, TypeDef};
use crate::{IntEncoding, Kind, Linkage, SectionVar, TypeId};
use std::str::FromStr;
use thiserror::Error;

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Builder {
    /// Reads types from their text form: see [`crate::text`]. Ids are those of the lines.
    ///
    /// # Errors
    /// Names the line and what was expected there.
    pub fn from_text(text: &str) -> Result<Builder, TextError> {
        let mut builder = Builder::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut reader = Reader { rest: line };
            let next = builder.len() as u32 + 1;
            let def = reader.line(next).map_err(|message| TextError { line: i + 1, message })?;
            builder.push(def);
        }
        Ok(builder)
    }
}

/// What is left of a line.
struct Reader<'t> {
    rest: &'t str,
}

type Result<T, E = String> = std::result::Result<T, E>;

impl<'t> Reader<'t> {
    fn line(&mut self, next: u32) -> Result<TypeDef> {
        if self.skip("[") {
            let id: u32 = self.number()?;
            self.expect("]")?;
            if id != next {
                return Err(format!("this is type {next}, not {id}"));
            }
        }
        let word = self.word()?;
        let kind = (1..31).filter_map(Kind::from_raw).find(|k| k.name() == word);
        let kind = kind.ok_or_else(|| format!("{word:?} is not a kind"))?;
        let def = self.definition(kind)?;
        if !self.rest.is_empty() {
            return Err(format!("{:?} is left over", self.rest));
        }
        Ok(def)
    }

    fn definition(&mut self, kind: Kind) -> Result<TypeDef> {
        Ok(match kind {
            Kind::Int => self.int()?,
            Kind::Float => TypeDef::Float { name: self.name()?, size: self.value("size")? },
            Kind::Ptr => TypeDef::Ptr(self.target()?),
            Kind::Const => TypeDef::Const(self.target()?),
            Kind::Volatile => TypeDef::Volatile(self.target()?),
            Kind::Restrict => TypeDef::Restrict(self.target()?),
            Kind::Typedef => TypeDef::Typedef { name: self.name()?, target: self.target()? },
            Kind::Array => {
                let element = self.id()?;
                self.expect("[")?;
                let len = self.number()?;
                self.expect("]")?;
                TypeDef::Array { element, index: TypeId(self.value("index")?), len }
            }
            Kind::Struct | Kind::Union => TypeDef::Composite {
                name: self.name()?,
                union: kind == Kind::Union,
                size: self.value("size")?,
                members: self.list(Reader::member)?,
            },
            Kind::Enum | Kind::Enum64 => {
                let (name, size) = (self.name()?, self.value("size")?);
                let signed = self.skip_word("SIGNED");
                let variants = self.list(Reader::variant)?;
                TypeDef::Enum { name, size, signed, wide: kind == Kind::Enum64, variants }
            }
            Kind::Fwd => {
                let union = match self.word()? {
                    "struct" => false,
                    "union" => true,
                    other => return Err(format!("{other:?} where struct or union was expected")),
                };
                TypeDef::Fwd { name: self.name()?, union }
            }
            Kind::FuncProto => {
                self.expect("(")?;
                let mut params = Vec::new();
                while !self.skip(")") {
                    if !params.is_empty() {
                        self.expect(",")?;
                    }
                    let name = self.name()?;
                    self.expect(":")?;
                    params.push((name, self.id()?));
                }
                TypeDef::FuncProto { ret: self.target()?, params }
            }
            Kind::Func => {
                TypeDef::Func { name: self.name()?, proto: self.target()?, linkage: self.linkage()? }
            }
            Kind::Var => {
                TypeDef::Var { name: self.name()?, target: self.target()?, linkage: self.linkage()? }
            }
            Kind::Datasec => TypeDef::Datasec {
                name: self.name()?,
                size: self.value("size")?,
                vars: self.list(|r| {
                    let type_id = r.id()?;
                    r.expect("@")?;
                    Ok(SectionVar { type_id, offset: r.number()?, size: r.value("size")? })
                })?,
            },
            Kind::DeclTag => {
                let (name, target) = (self.name()?, self.target()?);
                let component = if self.skip_word("component") { Some(self.assigned()?) } else { None };
                TypeDef::DeclTag { name, target, component, attribute: self.skip_word("attribute") }
            }
            Kind::TypeTag => TypeDef::TypeTag {
                name: self.name()?,
                target: self.target()?,
                attribute: self.skip_word("attribute"),
            },
            Kind::Void | Kind::Unknown => return Err("a type of this kind cannot be written".to_owned()),
        })
    }

    fn int(&mut self) -> Result<TypeDef> {
        let (name, size) = (self.name()?, self.value::<u32>("size")?);
        let full = u8::try_from(size.saturating_mul(8)).unwrap_or(u8::MAX);
        let bits = if self.skip_word("bits") { self.assigned()? } else { full };
        let bit_offset = if self.skip_word("offset") { self.assigned()? } else { 0 };
        let encoding = if self.skip_word("SIGNED") {
            IntEncoding::Signed
        } else if self.skip_word("CHAR") {
            IntEncoding::Char
        } else if self.skip_word("BOOL") {
            IntEncoding::Bool
        } else if self.skip_word("encoding") {
            IntEncoding::Mixed(self.assigned()?)
        } else {
            IntEncoding::Unsigned
        };
        Ok(TypeDef::Int { name, size, bits, bit_offset, encoding })
    }

    fn member(&mut self) -> Result<MemberDef> {
        let name = self.name()?;
        self.expect(":")?;
        let type_id = self.id()?;
        self.expect("@")?;
        let bit_offset = self.number()?;
        let bit_size = if self.skip(":") { Some(self.number()?) } else { None };
        Ok(MemberDef { name, type_id, bit_offset, bit_size })
    }

    fn variant(&mut self) -> Result<(String, i64)> {
        let name = self.name()?;
        self.expect("=")?;
        let minus = self.skip("-");
        let magnitude: u64 = self.number()?;
        Ok((name, if minus { (magnitude as i64).wrapping_neg() } else { magnitude as i64 }))
    }

    fn linkage(&mut self) -> Result<Linkage> {
        Ok(match self.word()? {
            "static" => Linkage::Static,
            "global" => Linkage::Global,
            "extern" => Linkage::Extern,
            "linkage" => Linkage::Other(self.assigned()?),
            other => return Err(format!("{other:?} is not a linkage")),
        })
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("{")?;
        let mut items = Vec::new();
        while !self.skip("}") {
            if !items.is_empty() {
                self.expect(";")?;
            }
            items.push(each(self)?);
        }
        Ok(items)
    }

    fn target(&mut self) -> Result<TypeId> {
        self.expect("->")?;
        self.id()
    }

    fn id(&mut self) -> Result<TypeId> {
        self.number().map(TypeId)
    }

    /// `key=number`
    fn value<T: FromStr>(&mut self, key: &str) -> Result<T> {
        if !self.skip_word(key) {
            return Err(self.wanted(&format!("{key}=")));
        }
        self.assigned()
    }

    /// `=number`
    fn assigned<T: FromStr>(&mut self) -> Result<T> {
        self.expect("=")?;
        self.number()
    }

    fn number<T: FromStr>(&mut self) -> Result<T> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number = digits.parse().map_err(|_| self.wanted("a number that fits"))?;
        self.rest = rest.trim_start();
        Ok(number)
    }

    fn word(&mut self) -> Result<&'t str> {
        let end = self.rest.find(|c| !super::plain(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.wanted("a word"));
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(word)
    }

    /// A name: a word, or text in quotes.
    fn name(&mut self) -> Result<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else { return self.word().map(str::to_owned) };
        let mut name = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                None => return Err("a quoted name does not end".to_owned()),
                Some('"') => break,
                Some('\\') => match chars.next() {
                    Some(c @ ('"' | '\\')) => name.push(c),
                    Some('x') => {
                        let digits = chars.as_str().get(..2).ok_or("\\x needs two digits")?;
                        let code = u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two digits")?;
                        name.push(char::from(code));
                        chars = chars.as_str()[2..].chars();
                    }
                    _ => return Err("a backslash is followed by \", \\ or xNN".to_owned()),
                },
                Some(c) => name.push(c),
            }
        }
        self.rest = chars.as_str().trim_start();
        Ok(name)
    }

    fn skip(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let ends = self.rest.strip_prefix(word).is_some_and(|r| !r.starts_with(super::plain));
        ends && self.skip(word)
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.skip(text) { Ok(()) } else { Err(self.wanted(text)) }
    }

    fn wanted(&self, what: &str) -> String {
        let found = if self.rest.is_empty() { "the end of the line" } else { self.rest };
        format!("{what} was expected before {found:?}")
    }
}
