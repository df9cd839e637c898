//! eBPF instructions: encode, decode, disassemble, assemble, interpret.
#![forbid(unsafe_code)]
