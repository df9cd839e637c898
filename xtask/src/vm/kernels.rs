//! The kernels of the matrix and the Debian packages that they come from.

use anyhow::{Result, bail};
use regex::Regex;

/// One row of the matrix.
pub(crate) struct Kernel {
    /// What it is called on the command line and in case files.
    pub(crate) name: &'static str,
    /// Patterns for the package that decides, the preferred one first; group 1 is the version `V`.
    leads: &'static [&'static str],
    /// The packages to unpack, with `V` to be filled in.
    packages: &'static [&'static str],
    /// Modules that the initial RAM disk needs where they are not built in.
    pub(crate) modules: &'static [&'static str],
}

/// For a console, shared files and an overlay. What is built in needs no file.
const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_console", "fuse", "virtiofs", "overlay"];

/// Oldest first.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "6.1",
        leads: &[r"^linux-image-(6\.1\.0-\d+-amd64)-unsigned$"],
        packages: &["linux-image-V-unsigned"],
        modules: BOOT_MODULES,
    },
    Kernel {
        name: "6.12",
        leads: &[r"^linux-image-(6\.12\.\d+\+deb12-amd64)-unsigned$"],
        packages: &["linux-image-V-unsigned"],
        modules: BOOT_MODULES,
    },
    Kernel {
        name: "7.3",
        // The suite replaces its kernel as time goes by: the newest of the series stands in for it.
        leads: &[
            r"^linux-binary-(7\.3\.\d+\+deb13-cloud-amd64)$",
            r"^linux-binary-(7\.[\d.]+\+deb13-cloud-amd64)$",
        ],
        packages: &["linux-binary-V", "linux-modules-V", "linux-base-V"],
        modules: BOOT_MODULES,
    },
];

/// The suites that hold them, and whether a suite is on the mirror of security updates.
pub(crate) const SUITES: &[(&str, bool)] =
    &[("bookworm", false), ("trixie-backports", false), ("bookworm-security", true)];

/// Looks a kernel up by its name.
pub(crate) fn find(name: &str) -> Result<&'static Kernel> {
    match KERNELS.iter().find(|k| k.name == name) {
        Some(kernel) => Ok(kernel),
        None => {
            let text = format!("unknown kernel {name}: there are {}, or all", names().join(", "));
            Err(crate::Usage(text).into())
        }
    }
}

/// The names in the order of the table.
pub(crate) fn names() -> Vec<&'static str> {
    KERNELS.iter().map(|k| k.name).collect()
}

impl Kernel {
    /// The packages of the newest version among `available`.
    pub(crate) fn pick(&self, available: &[String]) -> Result<Vec<String>> {
        for lead in self.leads {
            let lead = Regex::new(lead).expect("patterns of the table are valid");
            let versions = available.iter().filter_map(|name| Some(lead.captures(name)?.get(1)?.as_str()));
            if let Some(newest) = versions.max_by_key(|v| numbers(v)) {
                return Ok(self.packages.iter().map(|p| p.replacen('V', newest, 1)).collect());
            }
        }
        bail!(
            "no package for kernel {}: nothing in the suites matches {}",
            self.name,
            self.leads.join(" or ")
        )
    }
}

/// The numbers in a version, which is all that tells two of the same shape apart.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(kernel: &str, available: &[&str]) -> String {
        let kernel = find(kernel).expect("in the table");
        let available: Vec<String> = available.iter().map(|a| (*a).to_owned()).collect();
        kernel.pick(&available).map_or_else(|e| e.to_string(), |p| p.join(" "))
    }

    #[test]
    fn the_newest_version_wins_by_number_not_by_letter() {
        let names = [
            "linux-image-6.1.0-9-amd64-unsigned",
            "linux-image-6.1.0-41-amd64-unsigned",
            "linux-image-6.1.0-42-rt-amd64-unsigned",
            "linux-image-6.1.0-50-amd64-dbg",
        ];
        assert_eq!(pick("6.1", &names), "linux-image-6.1.0-41-amd64-unsigned");
    }

    #[test]
    fn a_later_series_stands_in_only_where_the_named_one_is_gone() {
        let old = "linux-binary-7.3.4+deb13-cloud-amd64";
        let new = "linux-binary-7.10.1+deb13-cloud-amd64";
        let of = |v: &str| format!("linux-binary-{v} linux-modules-{v} linux-base-{v}");
        assert_eq!(pick("7.3", &[old, new]), of("7.3.4+deb13-cloud-amd64"));
        assert_eq!(
            pick("7.3", &["linux-binary-7.4.2+deb13-cloud-amd64", new]),
            of("7.10.1+deb13-cloud-amd64")
        );
    }

    #[test]
    fn nothing_to_pick_is_an_error_that_names_the_pattern() {
        assert!(pick("6.12", &["linux-image-6.1.0-9-amd64-unsigned"]).contains("6\\.12"));
        assert!(find("5.4").is_err_and(|e| e.to_string().contains("6.1, 6.12, 7.3")));
    }
}
