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
/// mkfs.xfs makes nothing smaller than 300 MiB.
const SIZE: u64 = 512 << 20;

#[derive(Debug)]
pub(super) struct Volume {
    folder: PathBuf,
}

impl Volume {
    pub(super) fn new(folder: &Path) -> Result<Self, Failure> {
        let secret = folder.join("secret");
        fs::write(&secret, SECRET).map_err(Failure::at(&secret))?;
        let only_us = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&secret, only_us).map_err(Failure::at(&secret))?;
        let volume = Self { folder: folder.to_owned() };
        let file = File::create(volume.file()).map_err(Failure::at(&volume.file()))?;
        file.set_len(SIZE).map_err(Failure::at(&volume.file()))?;
        Ok(volume)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("volume.img")
    }

    /// Serves it at `listen`, and tells the host the ports of `advertise`, where the guest finds
    /// them: in QEMU's user network 10.0.2.2 is the machine that QEMU runs on.
    pub(super) fn serve(&self, listen: &[&str], advertise: &[u16]) -> Result<Target, Failure> {
        let (file, secret) = (self.file(), self.folder.join("secret"));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments = vec![text(&file), "--host".to_owned(), HOST.to_owned()];
        let chap = ["--chap-user", USER, "--chap-secret-file", &text(&secret)].map(str::to_owned);
        arguments.extend(chap);
        for port in advertise {
            arguments.extend(["--advertise".to_owned(), format!("10.0.2.2:{port}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Target::listening(&self.folder, &arguments, listen)
    }

    /// What the guest's script is told.
    pub(super) fn variables(port: u16) -> Vec<(&'static str, String)> {
        vec![
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
