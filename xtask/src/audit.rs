//! `cargo xtask audit`: licences, sources and bans of everything that is built in, as `deny.toml` has
//! them, and how much systemd's units leave open. Where cargo-deny is, that looks too.

mod licence;
mod units;

use std::process::Command;

use serde::Deserialize;

use crate::failure::{Failure, root};
use crate::process::visible;

/// What `deny.toml` says, as far as it is looked at here.
#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

/// What cargo knows of a package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for our own.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

pub(crate) fn run() -> Result<(), Failure> {
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(Failure::at(&path))?;
    let rules: Rules = toml::from_str(&text)
        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?;
    let packages = packages()?;
    let findings: Vec<_> = packages.iter().filter_map(|package| rules.fault(package)).collect();
    if !findings.is_empty() {
        return Err(Failure::wrong(findings.join("\n")));
    }
    println!("{} packages: licences, sources and bans are as deny.toml has them", packages.len());
    if Command::new("cargo")
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|out| out.status.success())
    {
        let mut deny = Command::new("cargo");
        deny.args(["deny", "check", "bans", "licenses", "sources"]).current_dir(root());
        visible(&mut deny)?;
    }
    units::check()
}

fn packages() -> Result<Vec<Package>, Failure> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root());
    let output = command.output().map_err(Failure::at(&root()))?;
    let metadata = serde_json::from_slice::<Metadata>(&output.stdout);
    let metadata = metadata.map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        Failure::wrong(format!("cargo metadata: {error}\n{said}"))
    })?;
    Ok(metadata.packages)
}

impl Rules {
    /// What is wrong with a package.
    fn fault(&self, package: &Package) -> Option<String> {
        let Package { name, version, license, source } = package;
        let source = source.as_deref()?;
        if !source.starts_with("registry+") {
            return Some(format!("{name} {version} comes from {source}"));
        }
        if self.bans.deny.iter().any(|banned| banned.name == *name) {
            return Some(format!("{name} {version} is banned"));
        }
        let Some(license) = license else {
            return Some(format!("{name} {version} names no licence"));
        };
        let allowed = |one: &str| self.licenses.allow.iter().any(|licence| licence == one);
        (!licence::holds(license, allowed))
            .then(|| format!("{name} {version} has the licence {license}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        toml::from_str("licenses.allow = ['MIT']\nbans.deny = [{ crate = 'bad' }]").unwrap()
    }

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        let (license, source) = (license.map(str::to_owned), source.map(str::to_owned));
        Package { name: name.to_owned(), version: "1.0.0".to_owned(), license, source }
    }

    #[test]
    fn what_is_not_allowed_is_found() {
        let registry = Some("registry+https://example.org/index");
        let fault = |package: Package| rules().fault(&package);
        assert_eq!(fault(package("good", Some("MIT"), registry)), None);
        assert_eq!(fault(package("ours", None, None)), None);
        assert!(fault(package("bad", Some("MIT"), registry)).unwrap().contains("banned"));
        assert!(fault(package("free", None, registry)).unwrap().contains("no licence"));
        assert!(fault(package("viral", Some("AGPL-3.0"), registry)).unwrap().contains("AGPL"));
        let git = Some("git+https://example.org/x");
        assert!(fault(package("far", Some("MIT"), git)).unwrap().contains("comes from git"));
    }

    #[test]
    fn everything_that_is_built_in_may_be() {
        run().unwrap();
    }
}
