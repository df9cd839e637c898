//! The config block and the environment.

use super::diags::{Diags, Stage};
use crate::config::{Config, KEYS, Taken};
use crate::env::Env;
use crate::syntax::ast::{ConfigEntry, ConfigValue};
use skep_ir::{Diagnostic, Severity};

/// Prefixes of variables of the environment; a later one wins.
const PREFIXES: &[&str] = &["BPFTRACE_", "SKEP_"];

/// Settings of a script: its config block, then the environment, which wins.
pub(crate) fn read(entries: &[ConfigEntry], env: &dyn Env, diags: &mut Diags) -> Config {
    let mut config = Config::default();
    for entry in entries {
        let value = match &entry.value {
            // A number other than 0 is as good as 1 for what is on or off.
            ConfigValue::Int(n) if is_bool(&entry.key.name) => u64::from(*n != 0).to_string(),
            ConfigValue::Int(n) => n.to_string(),
            ConfigValue::Word(text) | ConfigValue::Str(text) => text.clone(),
        };
        match config.set(&entry.key.name, &value) {
            Ok(Taken::Set) => {}
            Ok(Taken::Renamed(now)) => {
                let message = format!("{} has been renamed, please use {now}", entry.key.name);
                diags.warn(Stage::Config, entry.loc, message);
            }
            Ok(Taken::Retired) => {
                let message = format!("{} is deprecated and has no effect", entry.key.name);
                diags.warn(Stage::Config, entry.loc, message);
            }
            Err(e) => diags.error(Stage::Config, entry.loc, e.to_string()),
        }
    }
    for prefix in PREFIXES {
        for key in KEYS {
            let Some(value) = env.variable(&format!("{prefix}{}", key.name.to_ascii_uppercase())) else {
                continue;
            };
            if let Err(e) = config.set(key.name, &value) {
                diags.push(Stage::Config, Diagnostic::new(Severity::Error, None, e.to_string()));
            }
        }
    }
    config
}

fn is_bool(name: &str) -> bool {
    matches!(Config::default().value(&name.to_ascii_lowercase()), Some(crate::config::Value::Bool(_)))
}
