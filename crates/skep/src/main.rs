//! The `skep` command.

#[allow(dead_code, reason = "the commands that use it follow")]
mod env;

fn main() {}
