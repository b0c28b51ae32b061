//! Hosts that take and do not give, at the real program: thousands of idle connections, logins a byte at a
//! time, text without an end, data that is announced and never sent, answers that nobody reads. Memory
//! stays within what was configured, and a healthy host is served meanwhile (P23, P24).

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use common::raw::{Raw, config};
use common::unit::Served;
use outband_protocol::ids::{Lun, Ttt};
use outband_protocol::pdu::{Request, ScsiCommand, TaskAttribute, TextRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const IDLE: usize = 2_000;
const SLOW: usize = 500;
const CONNECTIONS_MAX: u64 = 2_600;
const MIB: u64 = 1 << 20;
/// What `serve` gives to the data of tasks, and to receiving: see `ServerConfig::default`.
const POOLS: u64 = (256 + 128) * MIB;
/// What a connection may have besides: what it receives into once the pool is empty, and its state.
const EACH: u64 = 32 << 10;
/// For everything else, the volume among it.
const REST: u64 = 64 * MIB;

/// Processes that get no more memory than this from the kernel: a control group, of either version.
struct Group(PathBuf);

impl Group {
    /// None where none can be made; then only what is resident is looked at.
    fn of(pid: u32, limit: u64) -> Option<Self> {
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.into_iter().find_map(|(root, file)| {
            let group = Self(Path::new(root).join(format!("outband-limits-{pid}")));
            std::fs::create_dir(&group.0).ok()?;
            group.set(file, limit)?;
            group.set("cgroup.procs", pid.into())?;
            Some(group)
        })
    }

    fn set(&self, file: &str, to: u64) -> Option<()> {
        // Not made if it is not there: the directory may be no control group.
        let mut file = OpenOptions::new().write(true).open(self.0.join(file)).ok()?;
        file.write_all(to.to_string().as_bytes()).ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

struct Scene {
    served: Served,
    /// Behind the process in it, which has to end first.
    _group: Option<Group>,
    healthy: Raw,
    before: u64,
    connections: u64,
}

impl Scene {
    fn open() -> Self {
        let args = ["--memory", "8M", "--any-host", "--sessions-per-portal", "64", "--shards", "2"];
        let served = Served::start(&args);
        let healthy = served.session(1);
        let most = POOLS + REST + CONNECTIONS_MAX * EACH;
        let group = Group::of(served.process.0.id(), most);
        if group.is_none() {
            println!("no control group can be made here: resident memory is looked at only");
        }
        let mut scene = Self { served, _group: group, healthy, before: 0, connections: 1 };
        scene.before = scene.memory();
        scene.is_well();
        scene
    }

    /// Resident, in bytes.
    fn memory(&self) -> u64 {
        let pid = self.served.process.0.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kib << 10
    }

    /// The healthy session reads, and the program has no more than it may.
    fn is_well(&mut self) {
        for lba in 0..20 {
            let read = self.healthy.read(lba, TaskAttribute::Simple);
            self.healthy.ends(read, "00");
        }
        let cap = self.before + POOLS + REST + self.connections * EACH;
        let memory = self.memory();
        assert!(memory <= cap, "{} MiB of {} MiB", memory / MIB, cap / MIB);
    }

    fn connect(&mut self) -> TcpStream {
        self.connections += 1;
        TcpStream::connect(self.served.portal).unwrap()
    }

    /// A session that may send unasked.
    fn session(&mut self, isid: u8) -> Raw {
        self.connections += 1;
        let mut config = config(Some(&self.served.target), "bad", isid);
        config.chap = None;
        config.offer.initial_r2t = false;
        let mut session = Raw::with(self.served.portal, config);
        session.attentions();
        session
    }
}

#[test]
fn thousands_of_connections_that_say_little_or_nothing_harm_nobody() {
    // Ours here, and the program's there, which inherits this.
    let limit = getrlimit(Resource::Nofile);
    let least = 2 * (IDLE + SLOW) as u64;
    let is_enough = limit.maximum.is_none_or(|most| most >= least);
    assert!(is_enough, "raise the hard limit of open files (ulimit -Hn) to {least}");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut scene = Scene::open();
    let idle: Vec<_> = (0..IDLE).map(|_| scene.connect()).collect();
    scene.is_well();
    let mut slow: Vec<_> = (0..SLOW).map(|_| scene.connect()).collect();
    // The beginning of a Login Request that says it has eight KiB of text.
    let mut header = [0; 48];
    (header[0], header[1], header[6]) = (0x43, 0x87, 0x20);
    for byte in header.chunks(1).chain([&b"InitiatorName="[..]]) {
        for stream in &mut slow {
            stream.write_all(byte).unwrap();
        }
        scene.is_well();
    }
    drop((idle, slow));
    scene.is_well();
}

#[test]
fn text_and_data_without_an_end_harm_nobody() {
    let mut scene = Scene::open();
    let mut writers: Vec<_> = (1..=16).map(|isid| scene.session(isid)).collect();
    for writer in &mut writers {
        // As many as the window has at first, each with a little of what it announces.
        for _ in 0..8 {
            let command = writer.command(&[0x2a, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
            let (last, write, expected_len) = (false, true, 256 << 10);
            let command = ScsiCommand { last, write, expected_len, ..command };
            writer.send(Request::Command(command), &[7; 4096]);
        }
    }
    scene.is_well();
    let mut talkers: Vec<_> = (17..=24).map(|isid| scene.session(isid)).collect();
    // Each piece says that more comes, until the target has had enough of it.
    for talker in &mut talkers {
        for _ in 0..12 {
            let (order, itt) = (talker.order(true), talker.itt());
            let (last, more, lun, ttt) = (false, true, Lun::ZERO, Ttt::NONE);
            let request = TextRequest { order, last, more, lun, itt, ttt };
            talker.send(Request::Text(request), &[b'k'; 4096]);
        }
        scene.is_well();
    }
    drop((writers, talkers));
    scene.is_well();
}

#[test]
fn hosts_that_do_not_read_their_answers_harm_nobody() {
    let mut scene = Scene::open();
    let mut deaf: Vec<_> = (1..=16).map(|isid| scene.session(isid)).collect();
    for host in &mut deaf {
        for _ in 0..8 {
            let command = host.command(&[0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
            let (read, expected_len) = (true, 1 << 20);
            host.send(Request::Command(ScsiCommand { read, expected_len, ..command }), &[]);
        }
        scene.is_well();
    }
    drop(deaf);
    scene.is_well();
}
