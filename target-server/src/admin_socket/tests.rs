//! The commands as typed, against a running unit and against a state directory nobody holds.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use outband_control::access_store::Store;
use outband_control::machine::Os;
use outband_control::secret::UnitSecret;

use super::redirects::Stored;
use super::*;
use crate::media::{Catalog, Holdings};

#[derive(Parser, Debug)]
struct Cli {
    #[command(subcommand)]
    command: AdminCommand,
}

/// A unit of which there is nothing to see inside.
#[derive(Debug)]
struct Quiet;

impl Inside for Quiet {
    fn dump(&self) -> serde_json::Value {
        serde_json::json!({ "shards": [] })
    }
}

fn quiet() -> Arc<dyn Inside> {
    Arc::new(Quiet)
}

/// Runs a command line on the unit in `dir`; paths are relative to it.
fn outband(dir: &Path, line: &str) -> Result<String, String> {
    let state = dir.join("state");
    let fill = |word: &str| word.replace('@', dir.to_str().unwrap());
    let words = ["outband-target".to_owned()]
        .into_iter()
        .chain(line.split_whitespace().map(fill))
        .chain(["--state-dir".to_owned(), state.to_str().unwrap().to_owned()]);
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    run(cli.command).map_err(|error| error.to_string())
}

/// What an administrator does on a first day.
fn check(dir: &Path) {
    let added = outband(dir, "device add @/disk --size 32M").unwrap();
    assert!(added.contains("32 MiB") || added.contains("32.0 MiB"), "{added}");
    let again = outband(dir, "device add @/disk --size 32M").unwrap_err();
    assert!(again.contains("already a device of this unit"), "{again}");
    let refused = outband(dir, "volume create db 100M --allow-volatile").unwrap_err();
    assert!(refused.contains("do not fit"), "{refused}");
    for (size, blocks) in [("1023K", "512"), ("9E", "512"), ("8M", "1024")] {
        let line = format!("volume create db {size} --block-size {blocks} --allow-volatile");
        let refused = outband(dir, &line).unwrap_err();
        let why = if blocks == "512" { "from 1 MiB to 8 EiB" } else { "512 or 4096 bytes" };
        assert!(refused.contains(why), "{refused}");
    }
    outband(dir, "volume create large 3M --block-size 4K --allow-volatile").unwrap();
    let volumes = outband(dir, "volume ls -o json").unwrap();
    let volumes: serde_json::Value = serde_json::from_str(&volumes).unwrap();
    assert_eq!((&volumes[0]["blocks"], &volumes[0]["block_size"]), (&768.into(), &4096.into()));
    outband(dir, "volume rm large").unwrap();
    outband(dir, "volume create db 8M --allow-volatile").unwrap();
    let volumes = outband(dir, "volume ls -o json").unwrap();
    let volumes: serde_json::Value = serde_json::from_str(&volumes).unwrap();
    let volume = &volumes[0];
    assert_eq!((&volume["name"], &volume["blocks"]), (&"db".into(), &16384.into()));
    assert_eq!((&volume["start_lba"], &volume["end_lba"]), (&16384.into(), &32767.into()));
    assert_eq!(volume["state"], "online");
    outband(dir, "partition create db --size 2M").unwrap();
    let partitions = outband(dir, "partition grow db.p1 4M").unwrap();
    assert!(partitions.contains("db.p1") && partitions.contains("8191"), "{partitions}");
    let beyond = outband(dir, "partition grow db.p1 9M").unwrap_err();
    assert!(beyond.contains("the volume has 16384 blocks"), "{beyond}");
    assert_eq!(outband(dir, "partition rm db.p1").unwrap(), "removed db.p1\n");
    outband(dir, "volume grow db 16M").unwrap();
    let high = outband(dir, "volume set db --write-policy high -o json").unwrap();
    assert!(high.contains("\"high\""), "{high}");
    let name = "iqn.2026-11.local.outband:main:elsewhere.p2";
    outband(dir, &format!("redirect add {name} 192.0.2.7 --permanent")).unwrap();
    let bad = outband(dir, "redirect add elsewhere 192.0.2.7:3260,1").unwrap_err();
    assert!(bad.contains("not where a host can be sent"), "{bad}");
    let redirects = outband(dir, "redirect ls").unwrap();
    assert!(redirects.contains("elsewhere.p2") && redirects.contains("192.0.2.7:3260"));
    let removed = outband(dir, "redirect rm elsewhere.p2").unwrap();
    assert_eq!(removed, "removed redirect of elsewhere.p2\n");
    assert!(outband(dir, "redirect rm elsewhere.p2").unwrap_err().contains("no redirect"));
    let busy = outband(dir, "device rm @/disk").unwrap_err();
    assert!(busy.contains("volume `db`"), "{busy}");
    outband(dir, "volume rm db").unwrap();
    assert_eq!(outband(dir, "volume ls").unwrap().lines().count(), 1, "only the heading");
}

#[test]
fn a_running_unit_does_what_the_commands_say() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let holdings = Holdings::new(Catalog::open(&state).unwrap());
    let socket =
        AdminSocket::listen(&state, holdings.clone(), Arc::new(Stored::new(&state)), quiet())
            .unwrap();
    let mode = std::fs::metadata(state.join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    check(dir.path());
    assert_eq!(holdings.report().devices.len(), 1, "the unit itself did it");
    let dump: serde_json::Value =
        serde_json::from_str(&outband(dir.path(), "debug dump").unwrap()).unwrap();
    assert_eq!(dump, serde_json::json!({ "shards": [] }));
    let loud = outband(dir.path(), "log x=loud").unwrap_err();
    assert!(loud.contains("write for example info"), "{loud}");
    drop(socket);
    assert!(!state.join(SOCKET).exists());
    let held = outband(dir.path(), "device ls").unwrap_err();
    assert!(held.contains("in use by process"), "{held}");
}

#[test]
fn without_a_unit_the_commands_open_the_state_directory_themselves() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path());
    for line in ["debug dump", "log debug"] {
        assert!(outband(dir.path(), line).unwrap_err().contains("no unit runs"), "{line}");
    }
    // A unit that was killed leaves its socket behind.
    let dead = dir.path().join("state").join(SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(outband(dir.path(), "device ls").unwrap().contains("disk"));
}

#[test]
fn a_unit_that_does_not_run_leaves_its_pool_with_its_identity_and_grants() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let secret = UnitSecret::try_from("5e".repeat(32)).unwrap();
    let running = Catalog::open(&state).unwrap();
    let before = {
        let store = Store::open(&state).unwrap();
        let identity = store.start(&Os).unwrap();
        store.enrol(&secret).unwrap();
        identity
    };
    let held = outband(dir.path(), "leave-pool").unwrap_err();
    assert!(held.contains("in use by process"), "{held}");
    let again = Store::open(&state).unwrap().start(&Os).unwrap();
    assert_eq!(again.secret, Some(secret));
    drop(running);
    assert_eq!(outband(dir.path(), "leave-pool").unwrap(), "removed this unit from its pool\n");
    let after = Store::open(&state).unwrap().start(&Os).unwrap();
    assert_eq!((after.id, after.fingerprint()), (before.id, before.fingerprint()));
    assert_eq!(after.secret, None);
}

#[test]
fn a_refused_device_leaves_no_file_behind() {
    let dir = tempfile::tempdir().unwrap();
    let refused = outband(dir.path(), "device add @/tiny --size 1M").unwrap_err();
    assert!(refused.contains("at least 9 MiB"), "{refused}");
    assert!(!dir.path().join("tiny").exists());
}

#[test]
fn only_root_and_the_units_own_user_are_heard() {
    assert!(server::may_ask(0, 1000) && server::may_ask(1000, 1000));
    assert!(!server::may_ask(1001, 1000) && !server::may_ask(1001, 0));
}

#[test]
fn a_request_that_makes_no_sense_is_dropped_and_the_next_one_answered() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let holdings = Holdings::new(Catalog::open(&state).unwrap());
    let _socket =
        AdminSocket::listen(&state, holdings, Arc::new(Stored::new(&state)), quiet()).unwrap();
    for nonsense in ["{}\n", "not json\n", "{\"do\":\"format-everything\"}\n"] {
        let mut stream = std::os::unix::net::UnixStream::connect(state.join(SOCKET)).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "", "{nonsense}");
    }
    // Without its descriptor a device is not taken.
    let stream = std::os::unix::net::UnixStream::connect(state.join(SOCKET)).unwrap();
    let request = wire::Request::DeviceImport { path: "/dev/null".into() };
    wire::send(&stream, &request, None).unwrap();
    let (answer, _) = wire::receive::<wire::Answer>(&stream).unwrap();
    assert!(answer.unwrap_err().contains("without the device's descriptor"));
    assert!(outband(dir.path(), "device ls").is_ok());
}
