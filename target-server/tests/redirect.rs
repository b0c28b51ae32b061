//! A login sent on from one running target to another, and the table that says where to.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outband_control::access::{ANY_HOST, Epoch, Grant};
use outband_control::access_store::Store;
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_initiator::{Config, Disk, Error};

/// A process that ends with the test, however the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
    command.args(args);
    command
}

/// `outband-target serve` of some memory as volume `v`, and the portal that it prints.
fn serve(args: &[&str]) -> (Process, String) {
    let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--memory", "8M", "--name", "v"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let portal = url.strip_prefix("iscsi://").and_then(|url| url.split('/').next());
    (Process(child), portal.unwrap().to_owned())
}

async fn disk(portal: &str) -> Disk {
    let config = Config::new(portal, format!("{TARGET_PREFIX}:local:v"));
    Disk::connect(config.initiator("iqn.2026-11.local.host:t")).await.unwrap()
}

async fn first_byte(disk: &Disk) -> u8 {
    disk.read_at(0, 512).await.unwrap()[0]
}

#[tokio::test]
async fn our_initiator_follows_a_redirect_for_a_while_and_for_good() {
    let (_new, there) = serve(&[]);
    disk(&there).await.write_at(0, vec![0x77; 512]).await.unwrap();
    for lasts in [&[][..], &["--permanent"]] {
        let args: Vec<_> = ["--redirect", &there].iter().chain(lasts).copied().collect();
        let (_old, here) = serve(&args);
        assert_eq!(first_byte(&disk(&here).await).await, 0x77, "{args:?}");
    }
}

/// A unit of its own, with a volume `v` on a file, granted to everybody.
struct Unit<'d> {
    dir: &'d Path,
    process: Process,
    portal: String,
}

impl<'d> Unit<'d> {
    fn start(dir: &'d Path) -> Self {
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

    /// A first start: the grant is there before the volume is.
    fn first(dir: &'d Path) -> Self {
        let state = dir.join("state");
        std::fs::create_dir(&state).unwrap();
        let config = format!(
            "state_dir = {state:?}\npool = \"local\"\nlisten = [\"127.0.0.1:0\"]\nshards = 2\n\
             [[file]]\npath = {:?}\nsize = \"32M\"\n",
            dir.join("device")
        );
        std::fs::write(dir.join("unit.toml"), config).unwrap();
        let store = Store::open(&state).unwrap();
        let old = store.table(TargetNames::new(TARGET_PREFIX, "local")).unwrap();
        let mut table = old.clone();
        let grant = Grant {
            subject: "v".parse().unwrap(),
            host: ANY_HOST.to_owned(),
            chap: None,
            sources: Vec::new(),
            epoch: Epoch(1),
            sessions_per_portal: 1,
        };
        table.grant(grant).unwrap();
        store.save(&old, &table).unwrap();
        drop(store);
        let unit = Self::start(dir);
        unit.outband("volume create v 8M --allow-volatile");
        unit
    }

    fn outband(&self, line: &str) -> String {
        let mut command = command(&line.split(' ').collect::<Vec<_>>());
        let output = command.arg("--state-dir").arg(self.dir.join("state")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_moved_to_another_unit_and_the_redirect_survives_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = Unit::first(dir.path());
    let (_new, there) = serve(&[]);
    disk(&there).await.write_at(0, vec![0x77; 512]).await.unwrap();
    let host = disk(&unit.portal).await;
    host.write_at(0, vec![0x11; 512]).await.unwrap();
    assert!(unit.outband("volume set v --write-policy high").contains("high"));

    unit.outband(&format!("redirect add v {there}"));
    let mut moved = false;
    for _ in 0..400 {
        // It went where it was sent, and takes what is there for another volume, which it is.
        moved = matches!(host.read_at(0, 512).await, Err(Error::Replaced));
        if moved {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(moved, "the session was not asked to leave");
    assert!(unit.outband("redirect ls").contains(&there));

    unit.process.0.kill().unwrap();
    unit.process.0.wait().unwrap();
    let unit = Unit::start(dir.path());
    assert_eq!(first_byte(&disk(&unit.portal).await).await, 0x77);
    unit.outband(&format!("redirect rm {TARGET_PREFIX}:local:v"));
    assert_eq!(first_byte(&disk(&unit.portal).await).await, 0x11, "served here again");
}
