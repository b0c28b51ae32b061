//! Ours: `outband-target serve`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use outband_initiator::Algorithm;

use super::{Account, LEN, Place, Program};

pub(crate) const OUTBAND: Program = Program {
    name: "iqn.2026-11.local.outband:local:disk",
    lun: 0,
    algorithms: &Algorithm::ALL,
    pads: true,
    start,
};

fn start(place: &Place<'_>, port: Option<u16>) -> (Child, SocketAddr) {
    let setup = &place.setup;
    let mut command = Command::new(program());
    command.arg("serve").arg(&place.disk).args(["--name", "disk", "--any-host"]);
    command.args(["--size", &LEN.to_string(), "--block-size", &setup.block_size.to_string()]);
    command.args(["--sessions-per-portal", "4", "--shards", "2"]);
    command.args(["--listen", &format!("127.0.0.1:{}", port.unwrap_or(0))]);
    if setup.read_only {
        command.arg("--read-only");
    }
    for (account, kind) in [(setup.host, "chap"), (setup.itself, "mutual-chap")] {
        if let Some(Account { user, secret }) = account {
            let file = place.dir.join(kind);
            std::fs::write(&file, secret).unwrap();
            command.args([format!("--{kind}-user"), user.to_owned()]);
            command.arg(format!("--{kind}-secret-file")).arg(file);
        }
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.strip_prefix("iscsi://").and_then(|rest| rest.split('/').next());
    (child, address.expect("it prints its URL when it serves").parse().unwrap())
}

/// The binary of this build, which lies one folder above the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("outband-target");
    let missing = "outband-target is missing: cargo build --package outband-target-server";
    assert!(path.is_file(), "{missing}");
    path
}
