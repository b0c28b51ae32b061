//! The Debian packages the tests need: found, installed when that is permitted, or named.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process::{captured, finished, program, visible};

/// A program and the package that has it.
const PROGRAMS: [(&str, &str); 13] = [
    ("iscsi-ls", "libiscsi-bin"),
    ("iscsi-inq", "libiscsi-bin"),
    ("iscsi-swp", "libiscsi-bin"),
    ("iscsi-perf", "libiscsi-bin"),
    ("iscsi-test-cu", "libiscsi-bin"),
    ("tgtd", "tgt"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    // libFuzzer is C++.
    ("c++", "g++"),
];

/// A file and the package that has it: what QEMU's network card boots from.
const PXE: (&str, &str) = ("/usr/lib/ipxe/qemu/pxe-e1000.rom", "ipxe-qemu");

/// QEMU's iSCSI driver is a module of its own.
const QEMU_DRIVER: &str = "qemu-block-extra";

/// A mirror may be slow; a question to a local program is not.
const QUESTION: Duration = Duration::from_secs(60);

pub(crate) fn ensure() -> Result<(), Failure> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(" "));
    install(&missing)?;
    if !missing_programs().is_empty() || !qemu_knows_iscsi()? {
        match_qemu_versions()?;
    }
    let left = self::missing()?;
    if left.is_empty() { Ok(()) } else { Err(by_hand(&left)) }
}

/// The same for programs that only one command needs, given with their packages.
pub(crate) fn ensure_programs(programs: &[(&str, &'static str)]) -> Result<(), Failure> {
    let missing = absent(programs);
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(" "));
    install(&missing)?;
    let left = absent(programs);
    if left.is_empty() { Ok(()) } else { Err(by_hand(&left)) }
}

fn missing() -> Result<Vec<&'static str>, Failure> {
    let mut packages = missing_programs();
    if packages.contains(&"qemu-utils") || !qemu_knows_iscsi()? {
        packages.push(QEMU_DRIVER);
    }
    if !Path::new(PXE.0).is_file() {
        packages.push(PXE.1);
    }
    Ok(packages)
}

fn missing_programs() -> Vec<&'static str> {
    absent(&PROGRAMS)
}

/// The packages of those programs that are not there.
fn absent(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let absent = programs.iter().filter(|(name, _)| program(name).is_none());
    let mut packages: Vec<_> = absent.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Asks for a volume where nobody listens: what is said about it tells whether the driver is there.
/// A driver of another version than `qemu-img` is ignored by it, silently.
fn qemu_knows_iscsi() -> Result<bool, Failure> {
    let Some(qemu_img) = program("qemu-img") else {
        return Ok(false);
    };
    let nobody = "iscsi://127.0.0.1:1/iqn.2026-11.local.outband:nobody/0";
    let (_, said) = finished(Command::new(qemu_img).args(["info", nobody]), QUESTION)?;
    Ok(!said.contains("Unknown protocol"))
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    let Some(mut update) = apt_get()? else {
        return Err(by_hand(packages));
    };
    // A mirror that fails to answer is found out by the installation, which says more about it.
    let _ = visible(update.arg("update"));
    let Some(mut install) = apt_get()? else {
        return Err(by_hand(packages));
    };
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    if visible(&mut install).is_err() {
        match_qemu_versions()?;
        visible(&mut install)?;
    }
    Ok(())
}

/// A machine can carry a newer `qemu-utils` than the archive has a matching driver for. Then both
/// go to the driver's version.
fn match_qemu_versions() -> Result<(), Failure> {
    let Some(mut apt_get) = apt_get()? else {
        return Err(by_hand(&["qemu-utils", QEMU_DRIVER]));
    };
    let policy = captured(Command::new("apt-cache").args(["policy", QEMU_DRIVER]), QUESTION)?;
    let Some(version) = candidate(&policy) else {
        return Err(by_hand(&["qemu-utils", QEMU_DRIVER]));
    };
    apt_get.args(["install", "--yes", "--no-install-recommends", "--allow-downgrades"]);
    visible(apt_get.args(["qemu-utils", QEMU_DRIVER].map(|name| format!("{name}={version}"))))
}

/// The version `apt-cache policy` would install.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

/// `apt-get` with the right to install, if there is one that asks nothing.
fn apt_get() -> Result<Option<Command>, Failure> {
    let Some(apt_get) = program("apt-get") else {
        return Ok(None);
    };
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new(apt_get);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(Some(command));
    }
    let Some(sudo) = program("sudo") else {
        return Ok(None);
    };
    let (status, _) = finished(Command::new(&sudo).args(["-n", "true"]), QUESTION)?;
    if !status.success() {
        return Ok(None);
    }
    let mut command = Command::new(sudo);
    command.args(["-n", "DEBIAN_FRONTEND=noninteractive"]).arg(apt_get);
    Ok(Some(command))
}

fn by_hand(packages: &[&str]) -> Failure {
    Failure::wrong(format!(
        "the outside clients need packages that could not be installed from here. Run:\n    \
         sudo apt-get update && sudo apt-get install --yes {}",
        packages.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_what_apt_says() {
        let policy = "qemu-block-extra:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n";
        assert_eq!(candidate(policy), Some("1:7.2+dfsg-7"));
        assert_eq!(candidate("qemu-block-extra:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn what_cannot_be_installed_is_named_in_one_line() {
        let said = by_hand(&["libiscsi-bin", "qemu-utils"]).to_string();
        assert!(said.ends_with("apt-get install --yes libiscsi-bin qemu-utils"), "{said}");
    }
}
