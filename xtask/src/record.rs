//! `docs/interop.md`: which clients nobody here wrote have passed, with which versions, when, and at
//! which commit. `clients` and `interop` renew the rows of what they tried; the others stay.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, root};
use crate::guest::Image;
use crate::process::{captured, commit};

pub(crate) const PAGE: &str = "docs/interop.md";

const HEAD: &str = "# Clients nobody here wrote

Written by `cargo xtask clients` and `cargo xtask interop`, which renew the rows of what they tried when it has
passed; do not edit. `cargo xtask test` runs all of `clients` too, and notes nothing. The initiator of this project
goes through the tests of `initiator/tests/peers/main.rs` against tgt and against ours with every change.

| client | of | `cargo xtask …` | passed | commit |
|---|---|---|---|---|
";

/// What is tried, with which package, by which command.
struct Client {
    what: &'static str,
    packages: &'static [&'static str],
    command: &'static str,
}

const CLIENTS: [Client; 16] = [
    Client {
        what: "`iscsi-ls`, `iscsi-inq`: discovery, with and without a grant",
        packages: &["libiscsi-bin"],
        command: "clients discovery",
    },
    Client {
        what: "`iscsi-ls`, `iscsi-inq`: through a redirected login",
        packages: &["libiscsi-bin"],
        command: "clients redirect",
    },
    Client {
        what: "`iscsi-ls`, `iscsi-inq`: mutual CHAP, and impostors",
        packages: &["libiscsi-bin"],
        command: "clients mutual",
    },
    Client {
        what: "`iscsi-swp`, `iscsi-readcapacity16`, `iscsi-perf`: write protection, capacity, random reads",
        packages: &["libiscsi-bin"],
        command: "clients tools",
    },
    Client {
        what: "`iscsi-test-cu`: all tests, two paths ([results](conformance.md))",
        packages: &["libiscsi-bin"],
        command: "clients suite",
    },
    Client {
        what: "`qemu-img` convert and compare of a file system",
        packages: &["qemu-block-extra"],
        command: "clients image",
    },
    Client { what: "the same with CHAP", packages: &["qemu-block-extra"], command: "clients chap" },
    Client {
        what: "the same with digests",
        packages: &["qemu-block-extra"],
        command: "clients digests",
    },
    Client {
        what: "`qemu-io` patterns; plain, CHAP, digests, blocks of 4096 bytes",
        packages: &["qemu-block-extra"],
        command: "clients patterns",
    },
    Client {
        what: "a QEMU guest whose disk is the volume; plain, CHAP and digests",
        packages: &["qemu-system-x86"],
        command: "clients guest",
    },
    Client {
        what: "iPXE booting a machine from the volume; plain, CHAP, mutual CHAP",
        packages: &["ipxe-qemu"],
        command: "clients pxe",
    },
    Client {
        what: "Linux: discovery, CHAP, digests, ext4 and XFS",
        packages: &["linux-image-amd64", "open-iscsi"],
        command: "interop files",
    },
    Client {
        what: "the same with mutual CHAP, and impostors, on blocks of 4096 bytes",
        packages: &["linux-image-amd64", "open-iscsi"],
        command: "interop large-blocks",
    },
    Client {
        what: "Linux: two paths, one of them killed",
        packages: &["linux-image-amd64", "open-iscsi", "multipath-tools"],
        command: "interop multipath",
    },
    Client {
        what: "Linux: the target killed under I/O and started again",
        packages: &["linux-image-amd64", "open-iscsi"],
        command: "interop kill",
    },
    Client {
        what: "ours: 100,000 increments of a block by COMPARE AND WRITE, 8 sessions of 4 initiators",
        packages: &[],
        command: "interop increments",
    },
];

/// When, and at which commit.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    date: String,
    /// `None` when the binaries may be of another one; then nothing is noted.
    commit: Option<String>,
}

impl Now {
    pub(crate) fn find(no_build: bool) -> Result<Self, Failure> {
        let date = captured(Command::new("date").args(["-u", "+%F"]), QUESTION)?;
        Ok(Self {
            date: date.trim().to_owned(),
            commit: if no_build { None } else { Some(commit()?) },
        })
    }

    /// Notes that `command`, without the `cargo xtask` before it, has passed.
    pub(crate) fn passed(&self, command: &str) -> Result<(), Failure> {
        let Some(commit) = &self.commit else {
            return Ok(());
        };
        let path = root().join(PAGE);
        // The first run finds no page.
        let old = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, page(&old, command, &self.date, commit, version))
            .map_err(Failure::at(&path))
    }
}

/// The page with the rows of `command` made anew; those of the others are as in `old`.
fn page(
    old: &str,
    command: &str,
    date: &str,
    commit: &str,
    version: impl Fn(&str) -> String,
) -> String {
    let mut page = HEAD.to_owned();
    for Client { what, packages, command: of } in &CLIENTS {
        let start = format!("| {what} | ");
        let same = |line: &&str| line.starts_with(&start);
        if *of == command {
            let versions = packages.iter().map(|name| format!("{name} {}", version(name)));
            let versions = versions.collect::<Vec<_>>().join(", ");
            // Writing to text does not fail.
            let _ = writeln!(page, "{start}{versions} | {of} | {date} | {commit} |");
        } else if let Some(line) = old.lines().find(same) {
            let _ = writeln!(page, "{line}");
        } else {
            let _ = writeln!(page, "{start}{} | {of} | not noted yet | |", packages.join(", "));
        }
    }
    page
}

const QUESTION: Duration = Duration::from_secs(60);

/// What guests have, or else what is installed.
pub(crate) fn version(package: &str) -> String {
    let installed = || {
        let policy =
            captured(Command::new("apt-cache").args(["policy", package]), QUESTION).ok()?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Installed: "))?;
        (version != "(none)").then(|| version.to_owned())
    };
    Image::version(package).or_else(installed).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_renews_its_own_rows_and_keeps_those_of_others() {
        let first = page("", "interop kill", "2026-01-01", "abc", |_| "1".to_owned());
        let second = page(&first, "clients pxe", "2026-01-02", "abc", |_| "2".to_owned());
        let third = page(&second, "clients pxe", "2026-01-03", "abc", |_| "3".to_owned());
        for line in [
            "| linux-image-amd64 1, open-iscsi 1 | interop kill | 2026-01-01 | abc |",
            "| ipxe-qemu 3 | clients pxe | 2026-01-03 | abc |",
            "| ipxe-qemu 2 |",
            "| libiscsi-bin | clients suite | not noted yet | |",
        ] {
            let is_there = third.lines().any(|row| row.ends_with(line) || row.contains(line));
            assert_eq!(is_there, !line.contains(" 2 |"), "{line} in:\n{third}");
        }
        assert_eq!(third.lines().count(), second.lines().count());
    }

    #[test]
    fn each_part_and_each_scenario_has_a_row() {
        let parts = crate::clients::Part::ALL.map(|part| format!("clients {part}"));
        let scenarios = crate::interop::Scenario::ALL.map(|each| format!("interop {each}"));
        let mut commands: Vec<_> = parts.into_iter().chain(scenarios).collect();
        let mut rows: Vec<_> = CLIENTS.iter().map(|client| client.command.to_owned()).collect();
        commands.sort();
        rows.sort();
        assert_eq!(commands, rows);
    }
}
