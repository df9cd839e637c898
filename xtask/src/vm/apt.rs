//! Packages by apt with a configuration of its own: the system's lists, sources and cache stay as they are.
//!
//! Only two things are taken from the system: how to reach the network (`Acquire::*`: proxies,
//! certificates, retries) and the addresses of the Debian mirrors.

use crate::process;
use crate::vm::kernels::SUITES;
use crate::vm::state::State;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Takes the place of the system's addresses, for machines that have no Debian sources.
const MIRROR_VARIABLES: (&str, &str) = ("SKEP_VM_MIRROR", "SKEP_VM_SECURITY_MIRROR");

/// An apt that lives in the state folder.
pub(crate) struct Apt {
    conf: PathBuf,
}

/// An entry of a sources file, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    /// The value of `Signed-By`, possibly a key over several lines.
    signed_by: Option<String>,
}

impl Apt {
    /// Writes the configuration and fetches the package lists.
    pub(crate) fn prepare(state: &State) -> Result<Apt> {
        let dir = state.path("apt");
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let dump = process::output(Command::new("apt-config").arg("dump"))?;
        let conf = configuration(&String::from_utf8_lossy(&dump.stdout), &dir);
        let sources = private_sources(&system_sources())?;
        let apt = Apt { conf: dir.join("apt.conf") };
        fs::write(&apt.conf, conf).context("cannot write apt.conf")?;
        fs::write(dir.join("kernels.sources"), sources).context("cannot write kernels.sources")?;
        process::output(apt.command("apt-get").args(["update", "-qq"]))
            .context("package lists are not to be had")?;
        Ok(apt)
    }

    /// Names of all packages that begin with `prefix`.
    pub(crate) fn package_names(&self, prefix: &str) -> Result<Vec<String>> {
        let output = process::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Downloads a package into `folder`, going on where an interrupted download stopped. apt checks what
    /// it gets against the signed lists; a file that it rejects is fetched once more from the start.
    pub(crate) fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        let fetch = || {
            process::output(self.command("apt-get").current_dir(folder).args(["download", "-qq", package]))
        };
        if fetch().is_err() {
            for stale in package_files(folder, package) {
                fs::remove_file(&stale).with_context(|| format!("cannot remove {}", stale.display()))?;
            }
            fetch().with_context(|| format!("package {package} is not to be had"))?;
        }
        match package_files(folder, package)
            .into_iter()
            .max_by_key(|p| fs::metadata(p).and_then(|m| m.modified()).ok())
        {
            Some(file) => Ok(file),
            None => bail!("apt-get downloaded {package}, but it is not in {}", folder.display()),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.conf).env("LC_ALL", "C");
        command
    }
}

fn package_files(folder: &Path, package: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_name().to_string_lossy().starts_with(&format!("{package}_")))
        .map(|e| e.path())
        .collect()
}

/// apt reads `$APT_CONFIG` before anything else, so it can send the system's own files away.
fn configuration(dump: &str, dir: &Path) -> String {
    let dir = dir.display();
    let mut conf = format!(
        "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::sourcelist \"{dir}/kernels.sources\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State::lists \"{dir}/lists\";\nDir::Cache \"{dir}/cache\";\n\
         APT::Update::Error-Mode \"any\";\nAPT::Sandbox::User \"root\";\nAcquire::Retries \"3\";\n"
    );
    for line in dump.lines() {
        // The index targets are built in; repeated here they would be fetched twice.
        if line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets") {
            conf += line;
            conf.push('\n');
        }
    }
    conf + "Acquire::Languages \"none\";\n"
}

/// The private sources file: the suites of the matrix at the system's mirrors.
fn private_sources(system: &[Source]) -> Result<String> {
    let debian = |suite: &str| {
        let base = suite.split(['-', '/']).next().unwrap_or("");
        let releases = ["bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"];
        releases.contains(&base)
    };
    let is_security = |suite: &str| suite.ends_with("-security") || suite.ends_with("/updates");
    let mirror = |security: bool| {
        system.iter().find(|s| s.suites.iter().any(|suite| debian(suite) && is_security(suite) == security))
    };
    let from_environment = |name: &str| {
        let uri = std::env::var(name).ok().filter(|v| !v.is_empty())?;
        Some(Source { uri, suites: Vec::new(), signed_by: None })
    };
    let mut text = String::new();
    for (suite, security) in SUITES {
        let variable = if *security { MIRROR_VARIABLES.1 } else { MIRROR_VARIABLES.0 };
        let named = from_environment(variable);
        let Some(source) = named.as_ref().or_else(|| mirror(*security)) else {
            bail!("apt's sources name no Debian mirror for {suite}: set {variable} to its address");
        };
        text += &format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n", source.uri);
        if let Some(key) = &source.signed_by {
            text += &format!("Signed-By: {key}\n");
        }
        text.push('\n');
    }
    Ok(text)
}

/// All entries of the system's sources files, in both formats.
fn system_sources() -> Vec<Source> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|e| e.path()).collect();
    parts.sort();
    files.append(&mut parts);
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => sources.extend(one_line_sources(&text)),
            Some("sources") => sources.extend(deb822_sources(&text)),
            _ => {}
        }
    }
    sources
}

/// The one-line format of sources.list(5): `deb [options] uri suite component...`.
fn one_line_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let (options, rest) = match rest.trim_start().strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').unwrap_or(("", "")),
            None => ("", rest),
        };
        let signed_by =
            options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            sources.push(Source { uri: uri.to_owned(), suites: vec![suite.to_owned()], signed_by });
        }
    }
    sources
}

/// The deb822 format of sources.list(5): stanzas of `Field: value`, with continuation lines.
fn deb822_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            sources.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                *value += &format!("\n{line}");
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza(fields: &[(String, String)]) -> Option<Source> {
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let words = |name: &str| get(name).into_iter().flat_map(str::split_whitespace);
    if get("enabled").is_some_and(|v| v.eq_ignore_ascii_case("no")) || !words("types").any(|t| t == "deb") {
        return None;
    }
    Some(Source {
        uri: words("uris").next()?.to_owned(),
        suites: words("suites").map(str::to_owned).collect(),
        signed_by: get("signed-by").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str], signed_by: Option<&str>) -> Source {
        let suites = suites.iter().map(|s| (*s).to_owned()).collect();
        Source { uri: uri.into(), suites, signed_by: signed_by.map(str::to_owned) }
    }

    #[test]
    fn stanzas_are_read_with_comments_keys_and_switched_off_ones() {
        let text = "Types: deb deb-src\n# why\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\n\
                    Signed-By:\n -----BEGIN\n .\n key\n\nTypes: deb\nEnabled: no\nURIs: http://off\nSuites: bookworm\n\n\
                    Types: deb-src\nURIs: http://src\nSuites: bookworm\n";
        let key = "\n -----BEGIN\n .\n key";
        assert_eq!(
            deb822_sources(text),
            [source("http://m/debian", &["bookworm", "bookworm-updates"], Some(key))]
        );
    }

    #[test]
    fn one_line_entries_are_read_with_and_without_options() {
        let text = "# deb http://no x\ndeb http://a/debian trixie main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://b/sec bookworm-security main\n";
        let expected = [
            source("http://a/debian", &["trixie"], None),
            source("http://b/sec", &["bookworm-security"], Some("/k.gpg")),
        ];
        assert_eq!(one_line_sources(text), expected);
    }

    #[test]
    fn the_suites_are_looked_for_at_the_mirrors_of_the_system() {
        let system = [
            source("http://other/", &["nodistro"], None),
            source("http://sec/", &["trixie-security"], Some("/s.gpg")),
            source("http://main/", &["trixie-updates"], None),
        ];
        let text = private_sources(&system).expect("both mirrors are known");
        assert!(
            text.contains("URIs: http://main/\nSuites: trixie-backports\nComponents: main\n\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "URIs: http://sec/\nSuites: bookworm-security\nComponents: main\nSigned-By: /s.gpg\n"
            ),
            "{text}"
        );
        let error = private_sources(&system[..2]).expect_err("no main mirror");
        assert!(error.to_string().contains("SKEP_VM_MIRROR"), "{error}");
    }

    #[test]
    fn only_the_way_to_the_network_is_taken_from_the_system() {
        let dump = "APT::Get::Assume-Yes \"1\";\nAcquire::http::Proxy \"http://p:1\";\n\
                    Acquire::IndexTargets::deb::x \"y\";\nDir::Etc \"etc/apt\";\n";
        let conf = configuration(dump, Path::new("/state/apt"));
        assert!(conf.contains("Acquire::http::Proxy \"http://p:1\";"));
        assert!(
            !conf.contains("Assume-Yes") && !conf.contains("IndexTargets") && !conf.contains("\"etc/apt\"")
        );
    }
}
