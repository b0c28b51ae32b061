//! A target with one disk of 64 MiB, started for one test and ended with it.

mod outband;
mod tgt;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use outband_initiator::{Algorithm, Config};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::INITIATOR;
pub(crate) use outband::OUTBAND;
pub(crate) use tgt::TGT;

pub(crate) const LEN: u64 = 64 << 20;

/// From its start until it serves.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// What differs from one target to the next.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    /// The target's name.
    pub(crate) name: &'static str,
    /// The disk's logical unit number.
    pub(crate) lun: u8,
    /// The CHAP algorithms that it knows by the numbers of RFC 7143 §12.1.3 and of IANA.
    pub(crate) algorithms: &'static [Algorithm],
    /// It pads a data segment with bytes that are not those of the next one.
    pub(crate) pads: bool,
    /// Starts it at a port, or at a free one; returns when it serves.
    start: fn(&Place<'_>, Option<u16>) -> (Child, SocketAddr),
}

/// What a test wants of its peer.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Bytes in a block.
    pub(crate) block_size: u32,
    pub(crate) read_only: bool,
    /// Thin, where the peer leaves that open.
    pub(crate) thin: bool,
    /// Who hosts must prove to be.
    pub(crate) host: Option<Account>,
    /// What it proves to be, where a host asks.
    pub(crate) itself: Option<Account>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { block_size: 512, read_only: false, thin: true, host: None, itself: None }
    }
}

/// Who proves itself, and how.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) secret: &'static str,
}

/// What a program is started with.
struct Place<'p> {
    dir: &'p Path,
    /// The file that is the disk.
    disk: PathBuf,
    /// Tells the disk from others behind the same name.
    serial: u32,
    setup: Setup,
}

/// A running target.
pub(crate) struct Peer {
    program: Program,
    setup: Setup,
    dir: TempDir,
    serial: u32,
    child: Child,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn start(program: Program, setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(&dir, 1, setup);
        let (child, address) = (program.start)(&place, None);
        Self { program, setup, dir, serial: 1, child, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn name(&self) -> &'static str {
        self.program.name
    }

    /// For its disk, straight or by another `portal` that leads to it.
    pub(crate) fn config_by(&self, portal: SocketAddr) -> Config {
        let Program { name, lun, algorithms, .. } = self.program;
        let config = Config::new(portal.to_string(), name).initiator(INITIATOR).lun(lun);
        config.chap_algorithms(algorithms)
    }

    pub(crate) fn config(&self) -> Config {
        self.config_by(self.address)
    }

    /// As a crash ends it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// At the same portal, with the same disk unless it was exchanged.
    pub(crate) fn start_again(&mut self) {
        let place = Place::new(&self.dir, self.serial, self.setup);
        (self.child, self.address) = (self.program.start)(&place, Some(self.address.port()));
    }

    /// The next start has another disk under the same name.
    pub(crate) fn exchange(&mut self) {
        self.serial += 1;
    }

    /// It does nothing any more, and its connections stay.
    pub(crate) fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    pub(crate) fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'p> Place<'p> {
    fn new(dir: &'p TempDir, serial: u32, setup: Setup) -> Self {
        let disk = dir.path().join(serial.to_string());
        if !disk.exists() {
            File::create(&disk).unwrap().set_len(LEN).unwrap();
        }
        Self { dir: dir.path(), disk, serial, setup }
    }
}

/// Waits until the peer listens at `address`; false if it ends before.
fn listens(child: &mut Child, address: SocketAddr) -> bool {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}
