//! The IR as text, printed and parsed.
//!
//! ```text
//! license "GPL"
//! type %event = struct "event" size 16 { 0 "ts" u64, 64 "pid" u32 }
//! map @counts: percpu_hash key 8 u64 value 8 u64 entries 4096
//! map @events: ringbuf key 0 value 0 entries 4096
//!
//! entry fn @hit(v0 args: ctx) -> i64 {
//!   slot $key: 8 align 8
//! b0:
//!   v1: i64 = helper get_current_pid_tgid()
//!   v2: frame = slot_addr $key
//!   store v2, v1                           ; a.bt:1:14
//!   v3: map_value(@counts)? = map_upsert @counts, v2
//!   v4: i1 = is_null v3
//!   br_if v4, b2, b1
//! b1:
//!   v5: map_value(@counts) = refine v3, nonnull
//!   agg count v5
//!   br b2
//! b2:
//!   v6: i64 = const 0
//!   ret v6
//! }
//!
//! prog "hit": tracepoint @hit attach tracepoint "syscalls" "sys_enter_execve"
//! ```
//!
//! * One instruction stands on a line; the type of a result is always written, so nothing has to be inferred.
//! * Values and blocks are numbered in the order of the text, whatever numbers the function uses inside.
//! * Maps, globals, sets and functions (`@`), slots (`$`) and structs (`%`) have their names; a name that is not unique,
//!   or not a word, gets a unique symbol, and the name stands behind it: `map @m.2 "m": ...`.
//! * `;` begins a comment. Source locations are printed as comments, if at all, and not read back.
//!
//! What [`print`] prints, [`parse`] reads back as an equal module, but for the sources and locations and for
//! types that nothing refers to. Numbers within a function are those of [`Func::compact`](crate::Func::compact).

mod attach;
mod inst;
mod lex;
mod names;
mod parse;
mod parse_func;
mod parse_inst;
mod print;
mod symbols;
mod types;

pub use lex::ParseError;
pub use parse::{parse, parse_with_types};
pub use print::{Locations, print, print_func};

pub(crate) use print::{block_text, inst_text};
