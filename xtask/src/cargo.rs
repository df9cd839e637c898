//! Calling the cargo that called us.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A cargo command in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root());
    command
}

/// What `cargo metadata` tells with these arguments.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Value> {
    let output = crate::process::output(cargo().args(["metadata", "--format-version", "1"]).args(arguments))?;
    serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")
}

/// Where the workspace is built.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let path = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(path))
}
