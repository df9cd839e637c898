//! The tracing language: from script text to IR, and from records to output.
#![forbid(unsafe_code)]
