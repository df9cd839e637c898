//! BTF: index over kernel bytes, type queries, builder and encoder.
#![forbid(unsafe_code)]
