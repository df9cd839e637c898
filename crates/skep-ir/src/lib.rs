//! skep's compiler: typed IR, passes, code generation, specs.
#![forbid(unsafe_code)]
