//! `cargo xtask deps`: the rules of ARCHITECTURE.md that a manifest or a first line can break.

mod facts;

use crate::ui;
use anyhow::Result;
use facts::{Facts, Kind, Package};

const HELP: &str = "\
usage: cargo xtask deps

Checks the rules for dependencies: which crate may use which, no I/O in the pure ones, unsafe code in skep-sys
alone, no build scripts, no async runtime, versions in one place. Exit code 1 when one is broken.";

/// A member of the workspace and what it may use.
struct Rule {
    name: &'static str,
    /// Edges go to lower levels only; `None` for tools that nothing else uses.
    level: Option<u8>,
    may_use: &'static [&'static str],
    /// Does no input or output: builds and passes its tests on any system.
    pure: bool,
    /// May use `anyhow`: errors go to people, not to callers.
    edge: bool,
    unsafe_code: bool,
}

/// What most crates are.
const PLAIN: Rule =
    Rule { name: "", level: None, may_use: &[], pure: false, edge: false, unsafe_code: false };

const RULES: &[Rule] = &[
    Rule { name: "skep-sys", level: Some(0), unsafe_code: true, ..PLAIN },
    Rule { name: "skep-btf", level: Some(0), pure: true, ..PLAIN },
    Rule { name: "skep-asm", level: Some(0), pure: true, ..PLAIN },
    Rule { name: "skep-ir", level: Some(1), may_use: &["skep-asm", "skep-btf"], pure: true, ..PLAIN },
    Rule { name: "skep-trace", level: Some(2), may_use: &["skep-btf", "skep-ir"], pure: true, ..PLAIN },
    Rule {
        name: "skep-load",
        level: Some(2),
        may_use: &["skep-asm", "skep-btf", "skep-ir", "skep-sys"],
        ..PLAIN
    },
    Rule {
        name: "skep",
        level: Some(4),
        may_use: &["skep-asm", "skep-btf", "skep-ir", "skep-load", "skep-sys", "skep-trace"],
        edge: true,
        ..PLAIN
    },
    Rule { name: "testkit", ..PLAIN },
    Rule { name: "xtask", may_use: &["skep-sys"], edge: true, ..PLAIN },
];

/// The one member that all others may use for their tests.
const TEST_TOOL: &str = "testkit";

/// Crates that reach the operating system. The standard library does too: see [`IMPURE_CODE`].
const SYSTEM: &[&str] = &[
    "libc",
    "rustix",
    "nix",
    "linux-raw-sys",
    "errno",
    "mio",
    "socket2",
    "memmap2",
    "tempfile",
    "getrandom",
];

/// Paths of the standard library that a pure crate has no use for.
const IMPURE_CODE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
];

/// Runtimes: threads and epoll do in the core.
const ASYNC: &[&str] = &["tokio", "async-std", "async-io", "smol", "futures-executor", "mio"];

/// Other loaders and interpreters: only the tests outside of the workspace may compare with them.
const ORACLES: &[&str] = &["libbpf-rs", "libbpf-sys", "aya", "aya-obj", "rbpf", "solana_rbpf"];

/// What build scripts use that need more than cargo.
const NATIVE: &[&str] = &["cc", "cmake", "bindgen", "pkg-config", "vcpkg"];

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    if let Some(argument) = parser.next()? {
        if !matches!(argument, lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) {
            return Err(argument.unexpected().into());
        }
        ui::out(HELP);
        return Ok(0);
    }
    let (members, breaches) = run()?;
    for breach in &breaches {
        ui::out(breach);
    }
    if breaches.is_empty() {
        ui::out(&format!("{members} crates keep the rules"));
    }
    Ok(u8::from(!breaches.is_empty()))
}

/// Number of members, and every breach as a line.
pub(crate) fn run() -> Result<(usize, Vec<String>)> {
    let facts = Facts::gather(crate::root())?;
    Ok((facts.members.len(), check(&facts)))
}

fn check(facts: &Facts) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in &facts.members {
        let name = &package.name;
        let Some(rule) = RULES.iter().find(|r| r.name == *name) else {
            breaches.push(format!(
                "{name}: not in the table of xtask/src/deps: give it a level and what it may use"
            ));
            continue;
        };
        let mut breach = |text: String| breaches.push(format!("{name}: {text}"));
        check_edges(package, rule, &mut breach);
        check_reach(facts, package, rule, &mut breach);
        check_sources(package, rule, &mut breach);
        if package.build_script {
            breach("has a build script; generated code is committed".into());
        }
        for line in &package.own_versions {
            breach(format!(
                "names a version of its own: {line}; versions stand in the workspace's Cargo.toml"
            ));
        }
    }
    for line in &facts.default_features {
        breaches.push(format!("Cargo.toml: {line}: without default-features = false"));
    }
    breaches
}

/// Which members a member uses itself.
fn check_edges(package: &Package, rule: &Rule, breach: &mut dyn FnMut(String)) {
    for (name, kind) in &package.dependencies {
        let target = RULES.iter().find(|r| r.name == name.as_str());
        match (target, kind) {
            (None, Kind::Normal) if name == "anyhow" && !rule.edge => {
                breach("uses anyhow: errors of libraries are enums".into());
            }
            (None, _) => {}
            (Some(_), Kind::Dev) if name == TEST_TOOL => {}
            (Some(target), Kind::Dev) => {
                let down = rule.level.is_none_or(|own| target.level.is_some_and(|level| level < own));
                if !down {
                    breach(format!("uses {name} in its tests, which is not below it"));
                }
            }
            (Some(_), _) if !rule.may_use.contains(&name.as_str()) => {
                breach(format!("uses {name}, and must not"));
            }
            (Some(_), _) => {}
        }
    }
}

/// Which crates a member reaches, however far.
fn check_reach(facts: &Facts, package: &Package, rule: &Rule, breach: &mut dyn FnMut(String)) {
    let mut forbid = |found: &[(String, Vec<String>)], names: &[&str], why: &str| {
        for (name, path) in found.iter().filter(|(name, _)| names.contains(&name.as_str())) {
            breach(format!("reaches {name} ({}): {why}", path.join(" > ")));
        }
    };
    let normal = facts.reach(&package.name, &[Kind::Normal]);
    let all = facts.reach(&package.name, &[Kind::Normal, Kind::Build, Kind::Dev]);
    if rule.pure {
        forbid(&normal, SYSTEM, "it does no input or output");
    }
    forbid(&normal, ASYNC, "there is no async runtime below the agent");
    forbid(&all, ORACLES, "oracles belong into tests/oracles");
    if rule.level.is_some() {
        let built = facts.reach(&package.name, &[Kind::Normal, Kind::Build]);
        forbid(&built, NATIVE, "the build needs cargo and nothing else");
    }
}

/// What the sources say.
fn check_sources(package: &Package, rule: &Rule, breach: &mut dyn FnMut(String)) {
    for (path, text) in &package.roots {
        if !rule.unsafe_code && !text.contains("#![forbid(unsafe_code)]") {
            breach(format!("{path} lacks #![forbid(unsafe_code)]"));
        }
    }
    for (path, text) in package.sources.iter().filter(|_| rule.pure) {
        for (n, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for banned in IMPURE_CODE.iter().filter(|banned| code.contains(**banned)) {
                breach(format!("{path}:{}: {banned} in a crate without input or output", n + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn package(name: &str, dependencies: &[(&str, Kind)]) -> Package {
        Package {
            name: name.into(),
            dependencies: dependencies.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect(),
            build_script: false,
            own_versions: vec![],
            roots: vec![(format!("{name}/lib.rs"), "#![forbid(unsafe_code)]\n".into())],
            sources: vec![],
        }
    }

    fn facts(members: Vec<Package>, edges: &[(&str, &str, Kind)]) -> Facts {
        let mut graph: HashMap<String, Vec<(String, Kind)>> = HashMap::new();
        for (from, to, kind) in edges {
            graph.entry((*from).to_owned()).or_default().push(((*to).to_owned(), *kind));
        }
        Facts { members, graph, default_features: vec![] }
    }

    #[track_caller]
    fn breaks(facts: &Facts, expected: &str) {
        let breaches = check(facts);
        assert!(breaches.iter().any(|b| b.contains(expected)), "{expected} is not among {breaches:?}");
    }

    #[test]
    fn what_the_rules_allow_passes() {
        let members = vec![
            package(
                "skep-ir",
                &[("skep-asm", Kind::Normal), ("testkit", Kind::Dev), ("thiserror", Kind::Normal)],
            ),
            package("skep-load", &[("skep-sys", Kind::Normal), ("skep-ir", Kind::Dev), ("libc", Kind::Dev)]),
            package("skep", &[("anyhow", Kind::Normal), ("skep-load", Kind::Normal)]),
            package("xtask", &[("anyhow", Kind::Normal), ("skep-sys", Kind::Normal)]),
        ];
        let edges = [("skep-load", "skep-sys", Kind::Normal), ("skep-sys", "libc", Kind::Normal)];
        assert_eq!(check(&facts(members, &edges)), Vec::<String>::new());
    }

    #[test]
    fn edges_must_be_in_the_table() {
        for (from, to) in [
            ("skep-trace", "skep-load"),
            ("skep-trace", "skep-asm"),
            ("skep-sys", "skep-btf"),
            ("skep-btf", "skep-ir"),
        ] {
            let wrong = facts(vec![package(from, &[(to, Kind::Normal)])], &[]);
            breaks(&wrong, &format!("{from}: uses {to}, and must not"));
        }
        breaks(
            &facts(vec![package("skep-ir", &[("skep-load", Kind::Dev)])], &[]),
            "uses skep-load in its tests",
        );
        breaks(&facts(vec![package("skep-load", &[("testkit", Kind::Normal)])], &[]), "uses testkit");
        breaks(
            &facts(vec![package("skep-load", &[("anyhow", Kind::Normal)])], &[]),
            "errors of libraries are enums",
        );
        breaks(&facts(vec![package("skep-new", &[])], &[]), "skep-new: not in the table");
    }

    #[test]
    fn what_is_reached_counts_however_far() {
        let far = |first: &str, last: &str, kind| {
            facts(vec![package(first, &[])], &[(first, "middle", Kind::Normal), ("middle", last, kind)])
        };
        breaks(&far("skep-ir", "libc", Kind::Normal), "reaches libc (skep-ir > middle > libc)");
        breaks(&far("skep", "tokio", Kind::Normal), "reaches tokio");
        breaks(&far("skep-load", "aya", Kind::Normal), "reaches aya");
        breaks(&far("skep-sys", "cc", Kind::Build), "reaches cc");
        assert_eq!(
            check(&far("skep-ir", "libc", Kind::Dev)),
            Vec::<String>::new(),
            "its own tests are its own affair"
        );
    }

    #[test]
    fn sources_and_manifests_are_looked_at() {
        let with = |change: fn(&mut Package)| {
            let mut package = package("skep-btf", &[]);
            change(&mut package);
            facts(vec![package], &[])
        };
        breaks(&with(|p| p.build_script = true), "has a build script");
        breaks(&with(|p| p.roots[0].1 = "//! x\n".into()), "skep-btf/lib.rs lacks");
        breaks(&with(|p| p.own_versions.push("a = \"1\"".into())), "names a version of its own: a");
        breaks(
            &with(|p| p.sources.push(("a.rs".into(), "// std::fs is not used\nuse std::fs::File;\n".into()))),
            "a.rs:2: std::fs",
        );
        let mut wrong = facts(vec![], &[]);
        wrong.default_features.push("regex = \"1\"".into());
        breaks(&wrong, "regex = \"1\": without");
    }
}
