//! The peer that our results are shown beside: tgt in userspace, with a control socket and ports of
//! its own, so that one that serves on this machine is left alone.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::process::{Guard, captured, finished, indented, tool};

const NAME: &str = "iqn.2026-11.local.outband:peer";
/// It names the socket only.
const CONTROL: &str = "7";
const START: Duration = Duration::from_secs(30);
const QUESTION: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Tgt {
    process: Guard,
    folder: PathBuf,
    urls: Vec<String>,
}

/// An image as a logical unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit<'a> {
    pub(crate) image: &'a Path,
    /// WCE. Without it every write is durable before it is answered.
    pub(crate) write_cache: bool,
}

/// The caching mode page of a unit without a write cache, as `tgt-admin` sets it.
const NO_WRITE_CACHE: &str =
    "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0";

impl Tgt {
    /// Serves a file of `size` bytes in `folder` as LUN 1 on two portals.
    pub(crate) fn start(folder: &Path, size: u64) -> Result<Self, Failure> {
        let image = folder.join("tgt.img");
        let file = File::create(&image).map_err(Failure::at(&image))?;
        file.set_len(size).map_err(Failure::at(&image))?;
        let tgtd = Command::new(tool("tgtd")?);
        Self::launch(tgtd, folder, &[Unit { image: &image, write_cache: true }])
    }

    /// Starts `tgtd`, which may have words before it, and serves `units` as LUN 1 and on, on two
    /// portals. Its log and socket lie in `folder`.
    pub(crate) fn launch(
        tgtd: Command,
        folder: &Path,
        units: &[Unit<'_>],
    ) -> Result<Self, Failure> {
        let portals = free_portals()?;
        let process = Guard(spawn(tgtd, folder, &portals[0])?);
        let urls = portals.iter().map(|portal| format!("iscsi://{portal}/{NAME}/1")).collect();
        let mut tgt = Self { process, folder: folder.to_owned(), urls };
        tgt.answers()?;
        tgt.tell(&format!("--mode portal --op new --param portal={}", portals[1]))?;
        tgt.tell(&format!("--mode target --op new --tid 1 --targetname {NAME}"))?;
        for (index, unit) in units.iter().enumerate() {
            let image = unit.image.to_str().expect("a temporary folder's name is text");
            let lun = format!("--mode logicalunit --tid 1 --lun {}", index + 1);
            tgt.tell(&format!("{lun} --op new --backing-store {image}"))?;
            if !unit.write_cache {
                tgt.tell(&format!("{lun} --op update --params {NO_WRITE_CACHE}"))?;
            }
        }
        tgt.tell("--mode target --op bind --tid 1 --initiator-address ALL")?;
        Ok(tgt)
    }

    fn tell(&self, arguments: &str) -> Result<(), Failure> {
        captured(&mut self.adm(arguments)?, QUESTION).map(|_| ())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Of the same logical unit by its two portals.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Until it takes commands on its socket.
    fn answers(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            let (status, _) = finished(&mut self.adm("--mode target --op show")?, QUESTION)?;
            if status.success() {
                return Ok(());
            }
            let ended = self.process.0.try_wait().map_err(Failure::at(Path::new("tgtd")))?;
            if ended.is_some() || Instant::now() >= deadline {
                let log = fs::read_to_string(self.folder.join("tgtd.log")).unwrap_or_default();
                return Err(Failure::wrong(format!(
                    "tgtd does not answer; its log:{}",
                    indented(&log)
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn adm(&self, arguments: &str) -> Result<Command, Failure> {
        let mut command = Command::new(tool("tgtadm")?);
        command.args(["-C", CONTROL, "--lld", "iscsi"]).args(arguments.split(' '));
        command.env("TGT_IPC_SOCKET", socket(&self.folder));
        Ok(command)
    }
}

fn spawn(mut tgtd: Command, folder: &Path, portal: &str) -> Result<Child, Failure> {
    let path = folder.join("tgtd.log");
    let log = File::create(&path).map_err(Failure::at(&path))?;
    let err = log.try_clone().map_err(Failure::at(&path))?;
    tgtd.args(["-f", "-C", CONTROL, "--iscsi", &format!("portal={portal}")])
        .env("TGT_IPC_SOCKET", socket(folder))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(err)
        .spawn()
        .map_err(Failure::at(Path::new("tgtd")))
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("tgtd.socket")
}

/// tgt takes no port 0, so two that are free now are named. Somebody else may take one before tgt
/// does; then it says so and ends.
fn free_portals() -> Result<[String; 2], Failure> {
    let bind = || {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address.to_string()))
        })
    };
    let failed = |source| Failure::Io { what: "taking a free port".into(), source };
    // Held together, so that they differ.
    let (first, second) = (bind().map_err(failed)?, bind().map_err(failed)?);
    Ok([first.1, second.1])
}
