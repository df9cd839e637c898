//! Instructions as text: the notation of the verifier's log and of `bpftool prog dump xlated`
//! (kernel/bpf/disasm.c), extended where that notation loses something.
//!
//! ```text
//! r1 = 5                                  64-bit move      w1 = 5                 32-bit move
//! r1 = 0x5                                two-slot constant
//! r1 = *(u64 *)(r10 -8)                   load             *(u8 *)(r1 +3) = r2    store
//! if w1 s> 0x5 goto pc+3                  jump             gotol pc+70000
//! lock *(u64 *)(r1 +0) += r2              atomic           r2 = atomic64_xchg((u64 *)(r1 +0), r2)
//! call bpf_ktime_get_ns#5                 helper           call pc+7              subprogram
//! ```
//!
//! Extensions, all understood by [`parse`]:
//!
//! | text | meaning |
//! |---|---|
//! | `r1 = map[fd:3]`, `map[fd:3][0]+8`, `map[idx:0]`, `map[idx:0][0]+8` | maps and their values; `id:` for `fd:` in dumps |
//! | `r1 = btf_id[7]`, `btf_id[7, fd:3]` | kernel and module variables |
//! | `r1 = subprog[+5]`, `subprog[name]` | function addresses |
//! | `call kernel-function#7`, `call kernel-function#7@2` | kernel functions; of a module by index |
//! | `r1 = map[name]`, `map[name][0]+8`, `ksym[name]`, `call kfunc:name` | references resolved at load time |
//! | `name:` before an instruction, `goto name`, `call name` | labels and functions |
//! | `.raw b7 01 00 00 05 00 00 00` | a slot that is no instruction, in little-endian bytes |
//!
//! Names that are no identifiers (letters, digits, `_ . $ @`) stand in double quotes. `;` and `//` begin a
//! comment. A line may begin with its number and the opcode, as the kernel prints them: `12: (b7) r1 = 5`.

mod lexer;
mod parse;
mod print;

pub use parse::{ParseError, Parsed, Problem, parse};
pub use print::{Style, print, print_code};

/// Names for what instructions refer to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Symbols {
    /// Maps, by the index of [`SymKind::Map`](crate::SymKind::Map) and
    /// [`SymKind::MapValue`](crate::SymKind::MapValue).
    pub maps: Vec<String>,
    /// Kernel functions, by the index of [`SymKind::Kfunc`](crate::SymKind::Kfunc).
    pub kfuncs: Vec<String>,
    /// Kernel variables, by the index of [`SymKind::Ksym`](crate::SymKind::Ksym).
    pub ksyms: Vec<String>,
    /// `(first instruction, name)` of functions of the program, ascending.
    pub funcs: Vec<(u32, String)>,
}

/// Whether a name can stand in the text without quotes.
fn is_identifier(name: &str) -> bool {
    // `@` before a digit is the index of a module's BTF.
    let first = name.strip_prefix('@').unwrap_or(name);
    first.starts_with(|c: char| !c.is_ascii_digit()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'@')
}
