//! The real program as a unit: its configuration, its state directory, its starts and stops.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outband_control::access::{ANY_HOST, AccessTable, Epoch, Grant};
use outband_control::access_store::Store;
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_protocol::login::initiator::Config;

use super::raw::{Raw, config};

/// A process that ends with the test, however the test ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to stop, and waits for a bounded time.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return assert!(status.success(), "{status}");
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
    command.args(args);
    command
}

/// `outband-target serve`, and how hosts reach it.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) portal: SocketAddr,
    pub(crate) target: String,
}

impl Served {
    /// With these arguments, on a port of its own.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command(&["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let (portal, rest) = url.strip_prefix("iscsi://").unwrap().split_once('/').unwrap();
        let target = rest.strip_suffix("/0").unwrap().to_owned();
        Self { process: Process(child), portal: portal.parse().unwrap(), target, url }
    }

    /// A session of host `a` that has been told of all there was.
    pub(crate) fn session(&self, isid: u8) -> Raw {
        let config = Config { chap: None, ..config(Some(&self.target), "a", isid) };
        let mut session = Raw::with(self.portal, config);
        session.attentions();
        session
    }
}

/// Lets every host use volume `v`, so that a unit needs no station.
pub(crate) fn everybody(epoch: u64) -> Grant {
    Grant {
        subject: "v".parse().unwrap(),
        host: ANY_HOST.to_owned(),
        chap: None,
        sources: Vec::new(),
        epoch: Epoch(epoch),
        sessions_per_portal: 1,
    }
}

/// A unit of the pool `local`, whose volume `v` is granted to everybody.
pub(crate) struct Unit<'d> {
    dir: &'d Path,
    pub(crate) process: Process,
    pub(crate) portal: String,
}

impl<'d> Unit<'d> {
    /// With the state that is there from a first start.
    pub(crate) fn start(dir: &'d Path) -> Self {
        let mut child = command(&["--config", dir.join("unit.toml").to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let portal = log.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("portal portal=").map(|(_, portal)| portal.trim().to_owned())
        });
        // Read on, or the unit would wait for somebody to.
        std::thread::spawn(move || log.for_each(drop));
        Self { dir, process: Process(child), portal: portal.expect("the unit names its portal") }
    }

    /// A first start with one device, and the volume on it.
    pub(crate) fn first(dir: &'d Path) -> Self {
        let unit = Self::on_devices(dir, 1, 1);
        unit.outband("volume create v 8M --allow-volatile");
        unit
    }

    /// A first start with so many devices of 32 MiB, and no volume yet. The grant is there before that.
    pub(crate) fn on_devices(dir: &'d Path, devices: u8, sessions_per_portal: u16) -> Self {
        let state = dir.join("state");
        std::fs::create_dir(&state).unwrap();
        let mut config = format!(
            "state_dir = {state:?}\npool = \"local\"\nlisten = [\"127.0.0.1:0\"]\nshards = 2\n"
        );
        for device in 0..devices {
            let path = dir.join(format!("device{device}"));
            config += &format!("[[file]]\npath = {path:?}\nsize = \"32M\"\n");
        }
        std::fs::write(dir.join("unit.toml"), config).unwrap();
        let grant = Grant { sessions_per_portal, ..everybody(1) };
        Self::change(dir, |table| table.grant(grant).unwrap());
        Self::start(dir)
    }

    /// Changes who may use what, while the unit does not run.
    pub(crate) fn change<T>(dir: &Path, change: impl FnOnce(&mut AccessTable) -> T) {
        let store = Store::open(&dir.join("state")).unwrap();
        let old = store.table(TargetNames::new(TARGET_PREFIX, "local")).unwrap();
        let mut table = old.clone();
        change(&mut table);
        store.save(&old, &table).unwrap();
    }

    /// As `serve` prints it.
    pub(crate) fn url(&self) -> String {
        format!("iscsi://{}/{TARGET_PREFIX}:local:v/0", self.portal)
    }

    /// One of the program's commands to the running unit; what it says.
    pub(crate) fn outband(&self, line: &str) -> String {
        let mut command = command(&line.split(' ').collect::<Vec<_>>());
        let output = command.arg("--state-dir").arg(self.dir.join("state")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}
