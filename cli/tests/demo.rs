//! The whole system by the one command that a new user types, and the other commands against the
//! pool that it leaves running.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Guard, outband};
use rustix::process::{Pid, Signal, kill_process};

const AT_MOST: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(40);

/// A directory on a disk: the demo's files must not be in memory.
fn ground() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn the_demo_shows_the_whole_system_and_leaves_nothing_behind() {
    let ground = ground();
    let output = common::run(outband().arg("demo").arg("--dir").arg(ground.path()), AT_MOST);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let in_order = [
        "1. A station starts",
        "2. Three units start",
        "3. Hosts A and B",
        "start LBA",
        "end LBA",
        "CHAP user",
        "4. Each writes random data",
        "5. Host B tries host A's volume",
        "refused: login status 0202",
        "6. A fourth unit joins",
        "the longest pause host A saw was",
        "7. The station is killed",
        "state intact",
        "8. The fourth unit is stopped in order",
        "noticed after",
        "Summary",
        "Everything that was read was compared",
    ];
    let mut rest = said.as_str();
    for line in in_order {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is not in its place:\n{said}"));
        rest = &rest[at..];
    }
    for unit in ["unit-1", "unit-2", "unit-3", "unit-4"] {
        for stage in ["startup: ", "need storage info: ", "inventory: ", "joined: "] {
            let told = said.lines().any(|line| line.contains(unit) && line.contains(stage));
            assert!(told, "{unit} {stage} is not in\n{said}");
        }
    }
    assert!(!said.contains('\x1b'), "no colours where there is no terminal");
    assert_eq!(ground.path().read_dir().unwrap().count(), 0, "its directory is gone");
}

/// A demo that stays, and what it says to export.
struct Stay {
    process: Guard,
    exports: BTreeMap<String, String>,
}

impl Stay {
    fn start(ground: &Path) -> Self {
        let mut process = Guard(
            outband()
                .args(["demo", "--stay", "--dir"])
                .arg(ground)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let mut exports = BTreeMap::new();
        let started = Instant::now();
        for line in lines.map_while(Result::ok) {
            assert!(started.elapsed() < AT_MOST, "the demo takes too long");
            if let Some((name, value)) =
                line.trim().strip_prefix("export ").and_then(|line| line.split_once('='))
            {
                exports.insert(name.to_owned(), value.to_owned());
            }
            if line.contains("password-secret") {
                break;
            }
        }
        assert!(exports.contains_key("OUTBAND_STATION"), "{exports:?}");
        Self { process, exports }
    }

    fn outband(&self, line: &str) -> Command {
        let mut command = outband();
        for (name, value) in &self.exports {
            if name.starts_with("OUTBAND_") {
                command.env(name, value);
            }
        }
        command.args(line.split(' '));
        command
    }

    /// Runs a command that must end with `status`; what it says.
    fn run(&self, line: &str, status: i32) -> String {
        let output = common::run(&mut self.outband(line), AT_MOST);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{line}: {said}{errors}");
        said + &errors
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.0.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

/// Processes of this program whose command line names `directory`.
fn children_in(directory: &Path) -> Vec<PathBuf> {
    let directory = directory.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .map_while(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("--stop-with-stdin") && line.contains(directory)
        })
        .collect()
}

fn wait_for_no_children(directory: &Path) {
    let started = Instant::now();
    while !children_in(directory).is_empty() {
        assert!(started.elapsed() < STOP, "{:?} still run", children_in(directory));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_command_works_against_the_pool_that_stays() {
    let ground = ground();
    let mut stay = Stay::start(ground.path());
    look_around(&stay);
    copy_and_measure(&stay, ground.path());
    change(&stay);
    assert_eq!(children_in(ground.path()).len(), 4, "a station and three units");
    stay.signal(Signal::INT);
    let status = stay.process.wait(STOP).expect("it ends");
    assert_eq!(status.code(), Some(0));
    wait_for_no_children(ground.path());
}

fn look_around(stay: &Stay) {
    assert!(stay.run("pool status", 0).contains("3 joined, 1 left"));
    assert!(stay.run("pool token", 0).starts_with("obj"));
    assert!(stay.run("unit ls", 0).contains("unit-3"));
    assert!(stay.run("unit show unit-1", 0).contains("unit-1.img"));
    assert!(stay.run("unit show unit-9", 3).contains("there is no unit \"unit-9\""));
    assert!(stay.run("host ls", 0).contains("host-a"));
    assert!(stay.run("job ls", 0).contains("create"));
    assert!(stay.run("events", 0).contains("unit-joined"));
    let units: serde_json::Value = serde_json::from_str(&stay.run("-o json unit ls", 0)).unwrap();
    assert_eq!(units.as_array().unwrap().len(), 4);
}

fn copy_and_measure(stay: &Stay, directory: &Path) {
    let made = stay.run("volume create mine --size 32M --host host-b", 0);
    assert!(made.contains("granted") && made.contains("hidden"), "{made}");
    assert!(stay.run("volume create mine --size 32M --host host-b", 4).contains("exists already"));
    assert!(stay.run("volume create --size 1P --host host-b", 4).contains("largest"));
    assert!(!stay.run("volume show mine --show-secret", 0).contains("hidden"));
    let file = directory.join("file");
    // Ends within a block.
    let bytes: Vec<u8> =
        (0..5_000_001_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(&file, &bytes).unwrap();
    let back = directory.join("back");
    let (from, to) = (file.to_str().unwrap(), back.to_str().unwrap());
    assert!(stay.run(&format!("cp {from} volume:mine"), 0).contains("read back and equal"));
    let copied = stay.run(&format!("cp volume:mine {to} --length {}", bytes.len()), 0);
    assert!(copied.contains("read back and equal"), "{copied}");
    assert!(std::fs::read(&back).unwrap() == bytes);
    let whole = directory.join("whole");
    stay.run(&format!("cp volume:mine {}", whole.to_str().unwrap()), 0);
    let whole = std::fs::read(&whole).unwrap();
    assert_eq!(whole.len(), 32 << 20);
    assert!(whole[bytes.len()..].iter().all(|byte| *byte == 0), "nothing beyond was changed");
    let tiny = format!("cp {from} volume:mine --length 4M");
    assert!(stay.run(&tiny, 0).contains("4 MiB"));
    assert!(stay.run("bench volume:mine --secs 1s", 0).contains("IOPS"));
    let write = "-o json bench volume:mine --secs 1s --rw randwrite --depth 4 --yes-erase";
    let report: serde_json::Value = serde_json::from_str(&stay.run(write, 0)).unwrap();
    assert!(report["iops"].as_f64().unwrap() > 0.0);
}

fn change(stay: &Stay) {
    assert!(stay.run("volume grow mine --size 64M", 0).contains("grow mine: done"));
    assert!(stay.run("volume show mine", 0).contains("64 MiB"));
    assert!(stay.run("volume release mine", 0).contains("release mine: done"));
    assert!(stay.run("cp volume:mine /dev/null", 4).contains("no host may use it"));
    assert!(stay.run("volume assign mine --host host-a", 0).contains("assign mine: done"));
    assert!(stay.run("volume rm mine", 2).contains("--yes-erase"));
    assert!(stay.run("volume rm mine --yes-erase", 0).contains("delete mine: done"));
    assert!(stay.run("volume show mine", 3).contains("there is no volume \"mine\""));
    assert!(stay.run("host rm host-a", 4).contains("volume"));
    let added = stay.run("host add host-c --iqn iqn.2026-11.local.test:c", 0);
    let token = added.lines().find_map(|line| line.strip_prefix("token")).unwrap().trim();
    // The command line comes before the environment, and a host is no administrator.
    assert!(stay.run(&format!("--token {token} unit ls"), 4).contains("not allowed"));
    assert!(stay.run(&format!("--token {token} volume ls"), 0).contains("none"));
    assert!(stay.run("--token wrong volume ls", 4).contains("--token-file"));
    stay.run("host rm host-c", 0);
}

#[test]
fn when_the_demo_is_killed_its_children_end_by_themselves() {
    let ground = ground();
    let mut process = Guard(
        outband()
            .args(["demo", "--dir"])
            .arg(ground.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("4. Each writes")));
    assert_eq!(children_in(ground.path()).len(), 4, "a station and three units");
    process.0.kill().unwrap();
    wait_for_no_children(ground.path());
}

#[test]
fn a_child_that_dies_fails_the_step_under_way_and_shows_its_log() {
    let ground = ground();
    let mut process = Guard(
        outband()
            .args(["demo", "--dir"])
            .arg(ground.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("4. Each writes")));
    let unit = children_in(ground.path()).into_iter().find(|path| {
        let line = std::fs::read(path.join("cmdline")).unwrap();
        String::from_utf8_lossy(&line).contains("unit-3.toml")
    });
    let id = unit.unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    let status = process.wait(AT_MOST).expect("it ends");
    assert_eq!(status.code(), Some(1));
    let mut errors = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("the demo failed at step 4: Each writes random data"), "{errors}");
    let told = |text: &str| said.iter().any(|line| line.contains(text));
    assert!(told("failed: unit-3 ended by itself"), "{said:#?}");
    assert!(told("the end of unit-3's log"), "{said:#?}");
    wait_for_no_children(ground.path());
}
