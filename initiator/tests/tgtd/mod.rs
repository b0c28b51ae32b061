//! tgtd in the foreground, for one test: a socket for its control, a portal and a file of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "a module of a test")]

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const NAME: &str = "iqn.2026-11.local.tgt:disk";
/// LUN 0 of tgt is its controller.
pub const LUN: u8 = 1;
const LEN: u64 = 64 << 20;
const TID: &str = "1";

const INSTALL: &str = "tgt is missing; install it with `cargo xtask tools`, or with \
     `sudo apt-get install --yes tgt`";

/// Who proves itself, and how.
#[derive(Clone, Copy)]
pub struct Account {
    pub user: &'static str,
    pub secret: &'static str,
}

/// A running tgtd with one disk of 64 MiB. It ends with the test.
pub struct Tgtd {
    child: Child,
    port: u16,
    dir: TempDir,
    block_size: u32,
    /// What the disk's name is made of.
    serial: u32,
}

impl Tgtd {
    pub fn start(block_size: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("1")).unwrap().set_len(LEN).unwrap();
        let (child, port) = spawn(&dir, None);
        let tgtd = Self { child, port, dir, block_size, serial: 1 };
        tgtd.configure();
        tgtd
    }

    pub fn portal(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a crash ends it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// At the same portal, with the same disk unless it was exchanged.
    pub fn start_again(&mut self) {
        // A killed tgtd leaves its socket behind, and another does not start over it.
        let _ = std::fs::remove_file(self.dir.path().join("control.0"));
        self.child = spawn(&self.dir, Some(self.port)).0;
        self.configure();
    }

    /// The next start has another disk under the same name.
    pub fn exchange(&mut self) {
        self.serial += 1;
        let file = self.dir.path().join(self.serial.to_string());
        File::create(file).unwrap().set_len(LEN).unwrap();
    }

    /// It does nothing any more, and its connections stay.
    pub fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    pub fn go_on(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// Changes a parameter of the disk.
    pub fn set(&self, parameter: &str) {
        let lun = LUN.to_string();
        let disk = ["--mode", "logicalunit", "--tid", TID, "--lun", &lun];
        self.admin(&[&["--op", "update", "--params", parameter], &disk[..]].concat());
    }

    /// The host must prove itself as `host`, and the target proves itself as `unit` when asked.
    pub fn require(&self, host: Account, unit: Option<Account>) {
        for (account, outgoing) in
            [(Some(host), None), (unit, Some("--outgoing"))].into_iter().filter_map(both)
        {
            let user = ["--mode", "account", "--user", account.user];
            let secret = ["--op", "new", "--password", account.secret];
            self.admin(&[&user[..], &secret].concat());
            let bind = [&user[..], &["--op", "bind", "--tid", TID]].concat();
            self.admin(&bind.into_iter().chain(outgoing).collect::<Vec<_>>());
        }
    }

    fn configure(&self) {
        let (lun, block_size) = (LUN.to_string(), self.block_size.to_string());
        let file = self.dir.path().join(self.serial.to_string());
        let file = file.to_str().unwrap();
        let target = ["--tid", TID];
        self.admin(&[&["--op", "new", "--mode", "target", "-T", NAME], &target[..]].concat());
        for digest in ["HeaderDigest", "DataDigest"] {
            // Without this it knows none.
            let value = ["--mode", "target", "--name", digest, "--value", "CRC32C,None"];
            self.admin(&[&["--op", "update"], &value[..], &target].concat());
        }
        let disk = ["--op", "new", "--mode", "logicalunit", "--lun", &lun];
        let medium = ["--backing-store", file, "--blocksize", &block_size];
        self.admin(&[&disk[..], &medium, &target].concat());
        self.set(&format!("scsi_id=disk{0},scsi_sn=disk{0}", self.serial));
        self.admin(&[&["--op", "bind", "--mode", "target", "-I", "ALL"], &target[..]].concat());
    }

    fn admin(&self, arguments: &[&str]) {
        let output = Command::new("tgtadm")
            .args(["-C", "0", "--lld", "iscsi"])
            .args(arguments)
            .env("TGT_IPC_SOCKET", self.dir.path().join("control"))
            .output()
            .expect(INSTALL);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tgtadm {arguments:?}: {said}");
    }
}

impl Drop for Tgtd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn both<T>((account, outgoing): (Option<Account>, T)) -> Option<(Account, T)> {
    Some((account?, outgoing))
}

/// Starts it and waits until it listens and can be told what to do. tgt takes no port 0: a free one
/// is looked for, and if somebody else takes it meanwhile, the next.
fn spawn(dir: &TempDir, port: Option<u16>) -> (Child, u16) {
    for _ in 0..5 {
        let port = port.unwrap_or_else(free_port);
        let portal = format!("portal=127.0.0.1:{port}");
        let mut child = Command::new("tgtd")
            .args(["-f", "-C", "0", "--iscsi", &portal])
            .env("TGT_IPC_SOCKET", dir.path().join("control"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(INSTALL);
        if listens(&mut child, port) {
            return (child, port);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("tgtd does not start");
}

fn listens(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
