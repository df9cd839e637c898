//! Text to instructions.

mod cursor;
mod statement;
mod value;

use super::Symbols;
use super::lexer::{Spanned, Token, tokens};
use crate::asm::{Code, MAX_INSNS, Subprog};
use crate::insn::Insn;
use crate::kind::Kind;
use statement::Statement;
use std::collections::{BTreeSet, HashMap};
use thiserror::Error;

/// A parsed program and the names that it uses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The instructions. There are no locations, and functions have no labels.
    pub code: Code,
    /// Maps, kernel functions and variables in the order in which the text first names them; functions of
    /// the program that are called by name, and the main function if a label other than `L1`, `L2`... stands
    /// before its first instruction.
    pub symbols: Symbols,
}

/// Text that is no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// See [`ParseError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("the character {0:?} belongs to no instruction")]
    Character(char),
    #[error("the quoted name is not closed")]
    OpenQuote,
    #[error("not a number of at most 64 bits, decimal or 0x and hexadecimal")]
    BadNumber,
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("expected {expected}, found the end of the line")]
    End { expected: &'static str },
    #[error("{found} does not fit here: {range}")]
    Range { found: String, range: &'static str },
    #[error("{0:?} is no helper and no label; write a kernel function as kfunc:{0}")]
    UnknownCallee(String),
    #[error("helper bpf_{name} has number {number}, not {found}")]
    HelperNumber { name: String, number: u32, found: u64 },
    #[error("the label {0:?} stands at two places")]
    SecondLabel(String),
    #[error("there is no label {0:?} before an instruction of this text")]
    UnknownLabel(String),
    #[error("the jump to {0:?} is longer than 16 bits; use gotol or a nearer label")]
    TooFar(String),
    #[error("the instruction has opcode {actual:#04x}, not {written:#04x}")]
    Opcode { written: u8, actual: u8 },
    #[error("there is no such instruction: {0}")]
    Invalid(crate::kind::Invalid),
    #[error("more than {MAX_INSNS} instructions")]
    TooLong,
}

/// A reference to a label that is bound somewhere in the text.
struct Fixup {
    insn: usize,
    name: String,
    line: usize,
    column: usize,
}

#[derive(Default)]
struct Parser {
    program: Parsed,
    labels: HashMap<String, usize>,
    fixups: Vec<Fixup>,
    /// Names of each kind of symbol seen so far.
    interned: [HashMap<String, u32>; 3],
    /// Labels in the order of the text, for the names of functions.
    order: Vec<(usize, String)>,
}

/// Reads a program. Distances and labels mean exactly the instructions that are written: nothing is relaxed.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    let mut parser = Parser::default();
    for (index, line) in text.lines().enumerate() {
        parser.line(line, index + 1).map_err(|(column, problem)| ParseError {
            line: index + 1,
            column,
            problem,
        })?;
    }
    parser.finish()
}

impl Parser {
    fn line(&mut self, line: &str, number: usize) -> Result<(), (usize, Problem)> {
        let (prefix, opcode) = skip_prefix(line);
        let shift = line[..prefix].chars().count();
        let shifted = |(column, problem)| (column + shift, problem);
        let rest = &line[prefix..];
        if let Some(bytes) = rest.trim_start().strip_prefix(".raw ") {
            let blank = rest.len() - rest.trim_start().len();
            let column = shift + rest[..blank].chars().count() + 1;
            return self.raw(bytes, column);
        }
        let tokens = tokens(rest).map_err(shifted)?;
        let tokens = self.take_labels(&tokens).map_err(shifted)?;
        if tokens.is_empty() {
            return Ok(());
        }
        let statement = Statement::read(self, tokens, rest).map_err(shifted)?;
        if let Some(written) = opcode
            && written != statement.insn.op
        {
            return Err((1, Problem::Opcode { written, actual: statement.insn.op }));
        }
        self.push(&statement, number, shift)
    }

    fn push(&mut self, statement: &Statement, line: usize, shift: usize) -> Result<(), (usize, Problem)> {
        let insns = &mut self.program.code.insns;
        let at = insns.len();
        // One source of truth for what exists: a combination that the decoder refuses is refused here too.
        match statement.insn.kind() {
            Ok(_) => {}
            Err(invalid) => return Err((shift + 1, Problem::Invalid(invalid))),
        }
        insns.push(statement.insn);
        insns.extend(statement.second);
        if insns.len() > MAX_INSNS {
            return Err((shift + 1, Problem::TooLong));
        }
        if let Some((name, column)) = &statement.label {
            let fixup = Fixup { insn: at, name: name.clone(), line, column: column + shift };
            self.fixups.push(fixup);
        }
        if let Some(kind) = statement.reference {
            self.program.code.refs.push(crate::asm::SymRef { insn: at as u32, kind });
        }
        Ok(())
    }

    /// Binds the labels at the start of a line and gives the tokens after them.
    fn take_labels<'t>(&mut self, tokens: &'t [Spanned]) -> Result<&'t [Spanned], (usize, Problem)> {
        let mut tokens = tokens;
        while let [Spanned { token: Token::Word(name) | Token::Quoted(name), column, .. }, colon, rest @ ..] =
            tokens
            && colon.token == Token::Sign(":")
        {
            let here = self.program.code.insns.len();
            if self.labels.insert(name.clone(), here).is_some() {
                return Err((*column, Problem::SecondLabel(name.clone())));
            }
            self.order.push((here, name.clone()));
            tokens = rest;
        }
        Ok(tokens)
    }

    /// Eight bytes in hexadecimal.
    fn raw(&mut self, text: &str, column: usize) -> Result<(), (usize, Problem)> {
        const EXPECTED: &str = "eight bytes of two hexadecimal digits";
        let text = text.split(';').next().unwrap_or("");
        let mut bytes = [0; 8];
        let mut words = text.split_whitespace();
        for byte in &mut bytes {
            let word = words.next().ok_or((column, Problem::End { expected: EXPECTED }))?;
            let digits = word.len() == 2 && word.bytes().all(|b| b.is_ascii_hexdigit());
            let value = if digits { u8::from_str_radix(word, 16).ok() } else { None };
            let unexpected = || Problem::Unexpected { expected: EXPECTED, found: format!("`{word}`") };
            *byte = value.ok_or_else(|| (column, unexpected()))?;
        }
        if let Some(word) = words.next() {
            return Err((column, Problem::Unexpected { expected: EXPECTED, found: format!("`{word}`") }));
        }
        if self.program.code.insns.len() >= MAX_INSNS {
            return Err((column, Problem::TooLong));
        }
        self.program.code.insns.push(Insn::from_bytes(bytes, crate::insn::Endian::Little));
        Ok(())
    }

    fn intern(&mut self, kind: SymbolKind, name: &str) -> u32 {
        let symbols = &mut self.program.symbols;
        let table = match kind {
            SymbolKind::Map => &mut symbols.maps,
            SymbolKind::Kfunc => &mut symbols.kfuncs,
            SymbolKind::Ksym => &mut symbols.ksyms,
        };
        *self.interned[kind as usize].entry(name.to_owned()).or_insert_with(|| {
            table.push(name.to_owned());
            (table.len() - 1) as u32
        })
    }

    fn finish(mut self) -> Result<Parsed, ParseError> {
        let len = self.program.code.insns.len();
        let mut starts = BTreeSet::new();
        for fixup in &self.fixups {
            let error = |problem| ParseError { line: fixup.line, column: fixup.column, problem };
            let target = self.labels.get(&fixup.name).copied().filter(|&target| target < len);
            let unknown = || match self.program.code.insns[fixup.insn].is_call() {
                true => error(Problem::UnknownCallee(fixup.name.clone())),
                false => error(Problem::UnknownLabel(fixup.name.clone())),
            };
            let target = target.ok_or_else(unknown)?;
            // Both are at most MAX_INSNS.
            let distance = target as i32 - fixup.insn as i32 - 1;
            let insn = &mut self.program.code.insns[fixup.insn];
            match insn.kind() {
                Ok(Kind::Goto { long: true, .. } | Kind::Call(_) | Kind::LoadImm { .. }) => {
                    insn.imm = distance;
                }
                _ => {
                    let off = i16::try_from(distance);
                    insn.off = off.map_err(|_| error(Problem::TooFar(fixup.name.clone())))?;
                }
            }
        }
        let code = &mut self.program.code;
        for (at, insn) in code.insns.iter().enumerate() {
            starts.extend(insn.subprog_target(at).and_then(|t| usize::try_from(t).ok()).filter(|&t| t < len));
        }
        for (at, name) in self.order {
            // The printer's own label for a jump to the first instruction names nothing.
            let main = at == 0 && !is_generated(&name);
            let funcs = &mut self.program.symbols.funcs;
            if (main || starts.contains(&at)) && funcs.last().is_none_or(|&(last, _)| (last as usize) < at) {
                funcs.push((at as u32, name));
            }
        }
        if len > 0 {
            starts.insert(0);
        }
        code.subprogs = starts.into_iter().map(|at| Subprog { insn: at as u32, label: None }).collect();
        Ok(self.program)
    }
}

/// Whether a name is one that the printer gives to jump targets: `L1`.
fn is_generated(name: &str) -> bool {
    name.strip_prefix('L').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[derive(Copy, Clone)]
enum SymbolKind {
    Map,
    Kfunc,
    Ksym,
}

/// Length of `12: (b7) ` at the start of a line, and the opcode in it.
fn skip_prefix(line: &str) -> (usize, Option<u8>) {
    let bytes = line.as_bytes();
    let blank = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut at = blank(0);
    let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 0 && bytes.get(at + digits) == Some(&b':') {
        at = blank(at + digits + 1);
    }
    if let Some([b'(', high, low, b')']) = bytes.get(at..at + 4)
        && let (Some(high), Some(low)) = ((*high as char).to_digit(16), (*low as char).to_digit(16))
    {
        return (at + 4, Some((high << 4 | low) as u8));
    }
    (at, None)
}
