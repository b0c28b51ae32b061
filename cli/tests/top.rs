//! `outband top` on a terminal of 80 by 24, against a real station with a real unit.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use common::{Guard, outband};
use outband_pool_api::{Client, Scope, Secret, Size, TokenRequest, Trust, VolumeRequest, Wait};
use outband_pool_manager::app::Policy;
use outband_pool_manager::station::Addresses;
use outband_target_server::unit::{MemoryDevice, UnitConfig};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::oneshot;

const AT_MOST: Duration = Duration::from_secs(30);
/// What a terminal is told when the screen of a program is left (DEC private mode 1049).
const LEAVES: &str = "\u{1b}[?1049l";

/// A station and one unit, on threads of this process.
struct Pool {
    directory: tempfile::TempDir,
    addresses: Addresses,
    _stop: [oneshot::Sender<()>; 2],
}

impl Pool {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [(stop_station, station_stops), (stop_unit, unit_stops)] =
            [oneshot::channel(), oneshot::channel()];
        let config = outband_pool_manager::config::Config {
            state_dir: directory.path().join("station"),
            listen: "127.0.0.1:0".parse().unwrap(),
            announce: "127.0.0.1:0".parse().unwrap(),
            policy: Policy::Auto,
            ..Default::default()
        };
        let (tell, told) = oneshot::channel();
        let shutdown = async { drop(station_stops.await) };
        let ready = |addresses: &Addresses| tell.send(addresses.clone()).unwrap();
        tokio::spawn(outband_pool_manager::run(config, shutdown, ready));
        let addresses = told.await.unwrap();
        let pool = Self { directory, addresses, _stop: [stop_station, stop_unit] };
        let unit = UnitConfig {
            name: "shelf-1".to_owned(),
            state_dir: pool.directory.path().join("unit"),
            listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
            api_listen: "127.0.0.1:0".parse().unwrap(),
            station: Some(pool.addresses.announce.to_string()),
            join_token: Some(pool.admin().join_token().await.unwrap().token.expose().to_owned()),
            shards: "1".parse().ok(),
            memory: vec![MemoryDevice { name: "ram".to_owned(), size: Size(64 << 20) }],
            ..UnitConfig::default()
        };
        let shutdown = async { drop(unit_stops.await) };
        tokio::spawn(outband_target_server::unit::run(unit, shutdown));
        pool
    }

    fn url(&self) -> String {
        format!("https://{}", self.addresses.api)
    }

    fn admin(&self) -> Client {
        let token = Secret::new(text(&self.addresses.admin_token).trim());
        Client::new(&self.url(), token, &Trust::Ca(text(&self.addresses.ca))).unwrap()
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn outband(&self, token: &Path, arguments: &[&str]) -> Command {
        let mut command = outband();
        command.args(["--station", &self.url(), "--ca"]).arg(&self.addresses.ca);
        command.arg("--token-file").arg(token).args(arguments);
        command
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A terminal with a program on it.
struct Terminal {
    child: Guard,
    keyboard: File,
    printed: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn run(command: &mut Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap();
        let path = Path::new(path.to_str().unwrap());
        let open = || File::options().read(true).write(true).open(path).unwrap();
        let (keys, screen, errors) = (open(), open(), open());
        let child: Child = command.stdin(keys).stdout(screen).stderr(errors).spawn().unwrap();
        let keyboard = File::from(ours);
        let mut reader = keyboard.try_clone().unwrap();
        let (tell, printed) = mpsc::channel();
        // Ends with the last one that has the other end open.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if tell.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child: Guard(child), keyboard, printed, seen: String::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.seen.clear();
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads on until `is_so` says yes to what was printed since the last key.
    fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + AT_MOST;
        while !is_so(&self.seen) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(more) = self.printed.recv_timeout(left) else {
                panic!("no {what} in {:?}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn until_seen(&mut self, what: &str) {
        self.until(what, |seen| seen.contains(what));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_watches_a_volume_at_work_and_the_terminal_is_given_back() {
    let pool = Pool::start().await;
    let admin = pool.admin();
    admin.add_host("db", "iqn.2026-11.test:db").await.unwrap();
    let ask = VolumeRequest {
        size: Size(16 << 20),
        host: Some("db".to_owned()),
        name: Some("data".to_owned()),
        volatile: true,
        ..VolumeRequest::default()
    };
    let made = async {
        // Until the unit has joined there is no place for it.
        while admin.request_volume(&ask, "key", Wait::AtMost(AT_MOST)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(AT_MOST, made).await.unwrap();
    let (scope, host, valid_seconds) = (Scope::Viewer, None, None);
    let token = TokenRequest { name: "eve".to_owned(), scope, host, valid_seconds };
    let token = admin.new_token(&token).await.unwrap().secret;
    let viewer = pool.file("viewer.token", token.expose());

    let bench = ["bench", "volume:data", "--secs", "60s", "--depth", "4"];
    let mut bench = pool.outband(&pool.addresses.admin_token, &bench);
    let bench = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _bench = Guard(bench);
    tokio::task::spawn_blocking(move || watch(&pool, &viewer)).await.unwrap();
}

fn watch(pool: &Pool, viewer: &Path) {
    let mut top = Terminal::run(&mut pool.outband(viewer, &["top"]));
    top.until_seen("data");
    top.until_seen("shelf-1");
    // A close look, by the volume's own latencies, while it is at work.
    top.type_in("\r");
    // Of a screen only what changes is printed: words of a line may come apart.
    top.until("histogram", |seen| seen.contains("serves") && seen.contains('#'));
    top.type_in("\u{1b}");
    top.until_seen("VOLUME");
    top.type_in("4");
    top.until_seen("127.0.0.1:");
    top.type_in("q");
    let status = top.child.wait(AT_MOST).expect("it ends");
    top.until_seen(LEAVES);
    assert!(status.success(), "{status}");

    let mut top = Terminal::run(&mut pool.outband(viewer, &["top"]));
    top.until_seen("data");
    let pid = Pid::from_raw(i32::try_from(top.child.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(top.child.wait(AT_MOST).expect("it ends").code(), Some(130));
    top.until_seen(LEAVES);
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let station = ["--station", "https://127.0.0.1:1", "--token", "none"];
    let output = common::run(outband().args(station).arg("top"), AT_MOST);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs a terminal") && said.contains("outband status"), "{said}");
}
