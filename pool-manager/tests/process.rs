//! `outband-pool` as a process: its configuration, its exit statuses, and what survives kill -9.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use outband_pool_api::{Client, Secret, Trust};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outband-pool");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn check(config: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("station.toml");
    std::fs::write(&path, config).unwrap();
    run(&["--config", path.to_str().unwrap(), "config", "check"])
}

struct Station {
    process: Child,
    client: Client,
}

impl Station {
    fn start(state: &Path) -> Self {
        let config = state.with_extension("toml");
        let text = format!(
            "state_dir = {state:?}\nlisten = \"127.0.0.1:0\"\nannounce = \"127.0.0.1:0\"\n\
             policy = \"auto\"\n[log]\nfilter = \"warn\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new(PROGRAM)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let read = |name: &str| std::fs::read_to_string(state.join(name)).unwrap();
        let token = Secret::new(read("admin.token").trim());
        let client = Client::new(url.trim(), token, &Trust::Ca(read("ca.pem"))).unwrap();
        Self { process, client }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_example_passes_the_check_and_a_mistyped_key_does_not() {
    let good = check(include_str!("../examples/station.toml"));
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8(good.stdout).unwrap().ends_with("station.toml: good\n"));
    let bad = check("pool = \"main\"\nlisen = \"127.0.0.1:1\"\n");
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8(bad.stderr).unwrap();
    let expected = "station.toml:2: unknown key \"lisen\"; did you mean \"listen\"?\n";
    assert!(said.ends_with(expected), "{said}");
    assert_eq!(run(&["config", "check"]).status.code(), Some(2), "no file is named");
    assert_eq!(run(&["--config", "/does/not/exist"]).status.code(), Some(2));
    assert!(run(&["--version"]).stdout.starts_with(b"outband-pool 0."));
    assert!(String::from_utf8(run(&["--help"]).stdout).unwrap().contains("--config"));
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for number in 0..5 {
        let mut station = Station::start(&state);
        let hosts = station.client.hosts().await.unwrap();
        assert_eq!(hosts.len(), number, "every host that was answered");
        let iqn = format!("iqn.2026-11.test:{number}");
        station.client.add_host(&format!("host-{number}"), &iqn).await.unwrap();
        // SIGKILL, by the standard library's contract on Unix.
        station.process.kill().unwrap();
        station.process.wait().unwrap();
    }
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut station = Station::start(&directory.path().join("state"));
    station.client.pool().await.unwrap();
    let id = station.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(station.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_backup_is_made_while_the_station_runs_and_put_back_after_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let station = Station::start(&state);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(station.client.add_host("a", "iqn.2026-11.test:a")).unwrap();
    // The station has a free port; the command reads the address in its configuration.
    let config = directory.path().join("backup.toml");
    let listen = station.client.url().strip_prefix("https://").unwrap();
    std::fs::write(&config, format!("state_dir = {state:?}\nlisten = \"{listen}\"\n")).unwrap();
    let file = directory.path().join("pool.backup");
    let with = |arguments: &[&str]| {
        let config = ["--config", config.to_str().unwrap()];
        run(&[&config[..], arguments].concat())
    };
    let made = with(&["backup", "--to", file.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "every secret of the pool is in it");
    runtime.block_on(station.client.remove_host("a")).unwrap();

    let restore = ["restore", file.to_str().unwrap(), "--replace"];
    let running = with(&restore);
    assert!(String::from_utf8_lossy(&running.stderr).contains("stop it first"), "{running:?}");
    drop(station);
    let occupied = with(&restore[..2]);
    assert!(String::from_utf8_lossy(&occupied.stderr).contains("--replace"), "{occupied:?}");
    assert!(with(&restore).status.success());
    let station = Station::start(&state);
    assert_eq!(runtime.block_on(station.client.hosts()).unwrap().len(), 1);

    // And in an empty directory: clients trust it as before.
    drop(station);
    std::fs::rename(&state, directory.path().join("lost")).unwrap();
    assert!(with(&restore[..2]).status.success());
    let station = Station::start(&state);
    assert_eq!(runtime.block_on(station.client.hosts()).unwrap().len(), 1);
}
