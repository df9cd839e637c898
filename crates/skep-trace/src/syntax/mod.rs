//! From text to tree.
//!
//! [`parse`] reads a script with everything that it imports and includes; [`fmt::format`] prints one text in
//! the standard format; [`dump::dump`] shows a tree. Nothing here knows what names mean: that is the task of
//! analysis. No text makes it panic or recurse without bound, and reading takes time in proportion to the text.

pub mod ast;
mod bytes;
mod c;
pub mod dump;
pub mod fmt;
mod lexer;
mod literal;
mod load;
mod parser;
pub mod visit;

pub use bytes::add_bytes;
pub(crate) use c::c_character;
pub use load::{LoadError, Loader, NoFiles, ParseOptions, parse};
pub(crate) use load::{parse_expression, parse_macro};
pub(crate) use parser::is_value;

/// Longest text that is read, in bytes.
pub const MAX_SOURCE: usize = 16 << 20;
