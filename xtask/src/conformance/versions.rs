//! The outside programs and their versions, as the package manager knows them.

use std::process::Command;
use std::time::Duration;

use crate::process::captured;

/// What is tried, with which package, by which command.
pub(super) struct Client {
    pub(super) what: &'static str,
    pub(super) package: &'static str,
    pub(super) command: &'static str,
}

pub(super) const CLIENTS: [Client; 13] = [
    Client {
        what: "`iscsi-test-cu`, all tests, two paths",
        package: "libiscsi-bin",
        command: "conformance",
    },
    Client {
        what: "`iscsi-ls`, `iscsi-inq`: discovery, with and without a grant",
        package: "libiscsi-bin",
        command: "clients discovery",
    },
    Client {
        what: "`iscsi-swp`, `iscsi-readcapacity16`: software write protection on and off",
        package: "libiscsi-bin",
        command: "clients tools",
    },
    Client {
        what: "`iscsi-perf`: random reads",
        package: "libiscsi-bin",
        command: "clients tools",
    },
    Client {
        what: "`qemu-img` convert and compare of a file system; plain, CHAP, digests",
        package: "qemu-block-extra",
        command: "clients image",
    },
    Client {
        what: "`qemu-io` patterns; plain, CHAP, digests",
        package: "qemu-block-extra",
        command: "clients patterns",
    },
    Client {
        what: "a QEMU guest whose disk is the volume",
        package: "qemu-system-x86",
        command: "clients guest",
    },
    Client {
        what: "iPXE booting a machine from the volume",
        package: "ipxe-qemu",
        command: "clients pxe",
    },
    Client {
        what: "Linux: discovery, CHAP, digests, ext4 and XFS",
        package: "open-iscsi",
        command: "interop files",
    },
    Client {
        what: "Linux: the kernel of those guests",
        package: "linux-image-amd64",
        command: "interop",
    },
    Client {
        what: "Linux: two paths, one of them killed",
        package: "multipath-tools",
        command: "interop multipath",
    },
    Client {
        what: "Linux: the target killed under I/O and started again",
        package: "open-iscsi",
        command: "interop kill",
    },
    Client { what: "our initiator against another target", package: "tgt", command: "test" },
];

/// For each client, its version here.
pub(super) fn found() -> Vec<(&'static Client, String)> {
    CLIENTS.iter().map(|client| (client, version(client.package))).collect()
}

/// What is installed, or what would be: guests are made of packages that are not installed here.
fn version(package: &str) -> String {
    let policy = captured(Command::new("apt-cache").args(["policy", package]), QUESTION);
    policy.ok().and_then(|policy| version_in(&policy)).unwrap_or_else(|| "unknown".to_owned())
}

const QUESTION: Duration = Duration::from_secs(60);

fn version_in(policy: &str) -> Option<String> {
    let after = |word: &str| {
        let found = policy.lines().find_map(|line| line.trim().strip_prefix(word));
        found.filter(|version| *version != "(none)").map(str::to_owned)
    };
    after("Installed: ").or_else(|| after("Candidate: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_version_goes_before_the_candidate() {
        let policy = "tgt:\n  Installed: 1.0.85\n  Candidate: 1.0.86\n";
        assert_eq!(version_in(policy).as_deref(), Some("1.0.85"));
        let absent = policy.replace("1.0.85", "(none)");
        assert_eq!(version_in(&absent).as_deref(), Some("1.0.86"));
        assert_eq!(version_in("N: Unable to locate package tgt"), None);
    }
}
