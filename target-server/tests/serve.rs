//! The binary as a user runs it: `outband-target serve`, its first line, its stop, its refusals,
//! and what survives kill -9.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes wrap, and are to")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use outband_initiator::{Config, Disk};

/// A process that ends with the test, however the test ends.
struct Target {
    child: Child,
    url: String,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
    command.args(args);
    command
}

fn serve(args: &[&str]) -> Target {
    let mut child = command(&["serve", "--listen", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    Target { child, url: url.trim().to_owned() }
}

fn refused(args: &[&str]) -> String {
    let Output { status, stderr, .. } = command(args).output().unwrap();
    assert!(!status.success(), "{args:?} was not refused");
    String::from_utf8(stderr).unwrap()
}

impl Target {
    async fn disk(&self) -> Disk {
        let config = Config::from_url(&self.url).unwrap();
        Disk::connect(config.initiator("iqn.2026-11.local.host:t")).await.unwrap()
    }

    /// Asks it to stop, and waits for a bounded time.
    fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[tokio::test]
async fn the_first_line_is_a_url_that_works_and_sigterm_ends_it_in_order() {
    let mut target = serve(&["--memory", "8M", "--any-host"]);
    assert!(target.url.starts_with("iscsi://127.0.0.1:"), "{}", target.url);
    assert!(target.url.ends_with("/iqn.2026-11.local.outband:local:memory/0"), "{}", target.url);
    let disk = target.disk().await;
    disk.write_at(0, vec![3; 4096]).await.unwrap();
    assert!(target.stop().success());
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    for policy in ["normal", "high"] {
        let mut acknowledged = [0u8; 8];
        for round in 1..=4u8 {
            let mut target = serve(&[file, "--size", "8M", "--write-policy", policy]);
            let disk = target.disk().await;
            for (at, value) in acknowledged.iter_mut().enumerate() {
                let offset = at as u64 * 65_536;
                let before = disk.read_at(offset, 65_536).await.unwrap();
                assert!(before.iter().all(|byte| *byte == *value || *value == 0), "block {at}");
                *value = round * 8 + at as u8;
                disk.write_at(offset, vec![*value; 65_536]).await.unwrap();
            }
            target.child.kill().unwrap();
            target.child.wait().unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_in_use_is_refused_by_its_users_pid() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    let target = serve(&[file, "--size", "8M"]);
    let said = refused(&["serve", file, "--listen", "127.0.0.1:0"]);
    assert!(said.contains(&format!("in use by process {}", target.child.id())), "{said}");
}

#[test]
fn what_cannot_be_served_is_refused_with_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let missing = refused(&["serve", &at("none.img")]);
    assert!(missing.contains("--size"), "{missing}");
    let open = refused(&["serve", "--memory", "8M", "--listen", "0.0.0.0:0"]);
    assert!(open.contains("--host") && open.contains("--any-host"), "{open}");
    let wildcard = refused(&["serve", "--memory", "8M", "--listen", "0.0.0.0:0", "--any-host"]);
    assert!(wildcard.contains("--advertise"), "{wildcard}");
    let secret = at("secret");
    std::fs::write(&secret, "short\n").unwrap();
    let chap = ["serve", "--memory", "8M", "--chap-user", "a", "--chap-secret-file", &secret];
    let short = refused(&chap);
    assert!(short.contains("at least 12 bytes"), "{short}");
    let odd = at("odd.img");
    std::fs::write(&odd, vec![0; 1000]).unwrap();
    let odd = refused(&["serve", &odd]);
    assert!(odd.contains("whole number"), "{odd}");
}

/// A loop device over `file`; detached when dropped.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(Self(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[tokio::test]
async fn a_block_device_is_served_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    std::fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: making a loop device takes root");
        return;
    }
    let device = Loop::over(&file).expect("root can make a loop device");
    let target = serve(&[&device.0, "--any-host"]);
    let disk = target.disk().await;
    assert_eq!(disk.capacity(), 8 << 20);
    disk.write_at(1 << 20, vec![0x5a; 1 << 20]).await.unwrap();
    disk.flush().await.unwrap();
    assert!(disk.read_at(1 << 20, 1 << 20).await.unwrap().iter().all(|byte| *byte == 0x5a));
    disk.unmap(1 << 20, 64 << 10).await.unwrap();
    assert!(disk.read_at(1 << 20, 64 << 10).await.unwrap().iter().all(|byte| *byte == 0));
    drop(target);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes[(1 << 20) + (64 << 10)..2 << 20].iter().all(|byte| *byte == 0x5a));
}
