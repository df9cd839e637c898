//! What cargo and the sources say about the workspace.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

/// A member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<(String, Kind)>,
    pub(crate) build_script: bool,
    /// Lines of its manifest that name a version instead of `workspace = true`.
    pub(crate) own_versions: Vec<String>,
    /// Path and text of the files where its library and binaries begin.
    pub(crate) roots: Vec<(String, String)>,
    /// Path and text of everything below src.
    pub(crate) sources: Vec<(String, String)>,
}

pub(crate) struct Facts {
    pub(crate) members: Vec<Package>,
    /// Who uses whom, by name, as cargo resolved it.
    pub(crate) graph: HashMap<String, Vec<(String, Kind)>>,
    /// Lines of the workspace's manifest that leave the default features on.
    pub(crate) default_features: Vec<String>,
}

impl Facts {
    pub(crate) fn gather(root: &Path) -> Result<Facts> {
        let metadata = crate::cargo::metadata(&[])?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members: HashSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let packages = list(&metadata["packages"]);
        let names: HashMap<String, String> =
            packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let mut graph: HashMap<String, Vec<(String, Kind)>> = HashMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = names.get(&text(&node["id"])).cloned().unwrap_or_default();
            let edges = graph.entry(from).or_default();
            for dependency in list(&node["deps"]) {
                let to = names.get(&text(&dependency["pkg"])).cloned().unwrap_or_default();
                edges.extend(list(&dependency["dep_kinds"]).iter().map(|k| (to.clone(), kind(&k["kind"]))));
            }
        }
        let is_member = |p: &&Value| members.contains(&text(&p["id"]));
        let members =
            packages.iter().filter(is_member).map(|p| package(p, root)).collect::<Result<Vec<_>>>()?;
        let manifest = root.join("Cargo.toml");
        let manifest =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        Ok(Facts { members, graph, default_features: default_features(&manifest) })
    }

    /// Every crate that `from` leads to, with a way there. Development dependencies count for `from` alone:
    /// those of what it uses are not built.
    pub(crate) fn reach(&self, from: &str, kinds: &[Kind]) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        let mut seen: HashSet<&str> = HashSet::from([from]);
        let mut queue = VecDeque::from([vec![from]]);
        while let Some(path) = queue.pop_front() {
            let last = path[path.len() - 1];
            for (to, kind) in self.graph.get(last).into_iter().flatten() {
                let counts = kinds.contains(kind) && (*kind != Kind::Dev || path.len() == 1);
                if counts && seen.insert(to) {
                    let mut path = path.clone();
                    path.push(to);
                    found.push((to.clone(), path.iter().map(|p| (*p).to_owned()).collect()));
                    queue.push_back(path);
                }
            }
        }
        found
    }
}

fn kind(value: &Value) -> Kind {
    match value.as_str() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    }
}

fn package(value: &Value, root: &Path) -> Result<Package> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let read = |path: &Path| -> Result<(String, String)> {
        let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.strip_prefix(root).unwrap_or(path).display().to_string(), content))
    };
    let (mut roots, mut build_script) = (Vec::new(), false);
    for target in list(&value["targets"]) {
        for kind in list(&target["kind"]).iter().map(text) {
            match kind.as_str() {
                "custom-build" => build_script = true,
                "lib" | "bin" | "proc-macro" => roots.push(read(Path::new(&text(&target["src_path"])))?),
                _ => {}
            }
        }
    }
    let mut sources = Vec::new();
    let mut folders = vec![manifest.with_file_name("src")];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?.flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push(read(&path)?);
            }
        }
    }
    sources.sort();
    let dependencies = list(&value["dependencies"]);
    Ok(Package {
        name: text(&value["name"]),
        dependencies: dependencies.iter().map(|d| (text(&d["name"]), kind(&d["kind"]))).collect(),
        build_script,
        own_versions: own_versions(&read(&manifest)?.1),
        roots,
        sources,
    })
}

/// Entries of dependency tables that do not come from the workspace.
fn own_versions(manifest: &str) -> Vec<String> {
    let is_table = |name: &str| name.ends_with("dependencies");
    let is_entry = |name: &str| name.contains("dependencies.");
    let mut found = Vec::new();
    for (table, line) in entries(manifest) {
        let from_workspace = line.replace(' ', "").contains("workspace=true");
        if (is_table(&table) && !from_workspace) || (is_entry(&table) && line.starts_with("version")) {
            found.push(line);
        }
    }
    found
}

/// Entries of the workspace's table that come from outside and keep their default features.
fn default_features(manifest: &str) -> Vec<String> {
    let outside = |line: &str| !line.replace(' ', "").contains("path=");
    let off = |line: &str| line.replace(' ', "").contains("default-features=false");
    let table = entries(manifest).into_iter().filter(|(table, _)| table == "workspace.dependencies");
    table.map(|(_, line)| line).filter(|line| outside(line) && !off(line)).collect()
}

/// `(table, line)` of every line of a manifest that sets something. Enough TOML for manifests whose entries
/// take one line each.
fn entries(manifest: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']).to_owned();
        } else if line.contains('=') && !line.starts_with('#') {
            found.push((table.clone(), line.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_members_are_found() {
        let manifest = "[package]\nversion = \"1\"\n[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n\
                        # c = \"1\"\nd = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\ne = { version = \"2\" }\n\
                        [dependencies.f]\nversion = \"3\"\n";
        assert_eq!(own_versions(manifest), ["d = \"1\"", "e = { version = \"2\" }", "version = \"3\""]);
    }

    #[test]
    fn default_features_are_found() {
        let manifest = "[workspace.dependencies]\nown = { path = \"x\" }\na = { version = \"1\", default-features = false }\n\
                        b = \"1\"\n[workspace.lints.rust]\nc = \"deny\"\n";
        assert_eq!(default_features(manifest), ["b = \"1\""]);
    }

    #[test]
    fn development_dependencies_of_others_are_not_reached() {
        let edge = |to: &str, kind| (to.to_owned(), kind);
        let graph = HashMap::from([
            ("a".to_owned(), vec![edge("b", Kind::Normal), edge("c", Kind::Dev)]),
            ("b".to_owned(), vec![edge("d", Kind::Dev), edge("a", Kind::Normal)]),
            ("c".to_owned(), vec![edge("e", Kind::Normal)]),
        ]);
        let facts = Facts { members: vec![], graph, default_features: vec![] };
        let names = |kinds: &[Kind]| facts.reach("a", kinds).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(&[Kind::Normal]), ["b"]);
        assert_eq!(names(&[Kind::Normal, Kind::Dev]), ["b", "c", "e"]);
    }
}
