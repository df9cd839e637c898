//! System calls and kernel files for skep: the only crate with unsafe code.
