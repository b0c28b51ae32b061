//! The volume that a guest uses: a file, for one host only, with CHAP and digests.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::target::Target;

const HOST: &str = "iqn.2026-11.local.outband:guest";
const USER: &str = "guest";
const SECRET: &str = "not-so-secret-16";
/// What the target proves itself by.
const UNIT: (&str, &str) = ("unit", "nor-is-this-one-1");
const FILE: &str = "volume.img";
/// mkfs.xfs makes nothing smaller than 300 MiB.
const SIZE: u64 = 512 << 20;

#[derive(Debug)]
pub(super) struct Volume {
    folder: PathBuf,
    /// Logical blocks of 4096 bytes.
    pub(super) large_blocks: bool,
    /// The target proves itself too.
    pub(super) mutual: bool,
}

impl Volume {
    pub(super) fn new(folder: &Path) -> Result<Self, Failure> {
        for (name, secret) in [("secret", SECRET), ("unit-secret", UNIT.1)] {
            let path = folder.join(name);
            fs::write(&path, secret).map_err(Failure::at(&path))?;
            let only_us = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&path, only_us).map_err(Failure::at(&path))?;
        }
        let volume = Self { folder: folder.to_owned(), large_blocks: false, mutual: false };
        let file = File::create(volume.file()).map_err(Failure::at(&volume.file()))?;
        file.set_len(SIZE).map_err(Failure::at(&volume.file()))?;
        Ok(volume)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn block_size(&self) -> u32 {
        if self.large_blocks { 4096 } else { 512 }
    }

    /// Serves it at `listen`, and tells the host the ports of `advertise`, where the guest finds
    /// them: in QEMU's user network 10.0.2.2 is the machine that QEMU runs on.
    pub(super) fn serve(&self, listen: &[&str], advertise: &[u16]) -> Result<Target, Failure> {
        let text = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let mut arguments = vec![text(FILE), "--host".to_owned(), HOST.to_owned()];
        let chap = ["--chap-user", USER, "--chap-secret-file", &text("secret")].map(str::to_owned);
        arguments.extend(chap);
        if self.mutual {
            let secret = text("unit-secret");
            let mutual = ["--mutual-chap-user", UNIT.0, "--mutual-chap-secret-file", &secret];
            arguments.extend(mutual.map(str::to_owned));
        }
        arguments.extend(["--block-size".to_owned(), self.block_size().to_string()]);
        for port in advertise {
            arguments.extend(["--advertise".to_owned(), format!("10.0.2.2:{port}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Target::listening(&self.folder, &arguments, listen)
    }

    /// What the guest's script is told.
    pub(super) fn variables(&self, port: u16) -> Vec<(&'static str, String)> {
        let (unit, secret) = if self.mutual { UNIT } else { ("", "") };
        vec![
            ("BLOCK_SIZE", self.block_size().to_string()),
            ("UNIT_USER", unit.to_owned()),
            ("UNIT_SECRET", secret.to_owned()),
            ("PORT", port.to_string()),
            ("INITIATOR", HOST.to_owned()),
            ("CHAP_USER", USER.to_owned()),
            ("CHAP_SECRET", SECRET.to_owned()),
        ]
    }

    /// Looks into the file for the records 0 to `count`-1 that the guest wrote.
    pub(super) fn has_records(&self, count: u64) -> Result<(), Failure> {
        let path = self.file();
        let mut file = File::open(&path).map_err(Failure::at(&path))?;
        for number in 0..count {
            let mut block = [0; 4096];
            file.read_exact(&mut block).map_err(Failure::at(&path))?;
            let expected = format!("record {number:08}\n");
            if !block.starts_with(expected.as_bytes()) {
                return Err(Failure::wrong(format!("the volume lost record {number}")));
            }
        }
        Ok(())
    }
}

/// A port of this machine that is free now. Somebody else may take it; then the target says so.
pub(super) fn free_port() -> Result<u16, Failure> {
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let failed = |source| Failure::Io { what: "taking a free port".into(), source };
    taken.map(|address| address.port()).map_err(failed)
}

/// The port that a target's first portal is told by.
pub(super) fn port_of(target: &Target) -> u16 {
    let port = target.portal().rsplit(':').next().and_then(|port| port.parse().ok());
    port.expect("the target printed a URL with a port")
}
