//! tgt in userspace, with a socket of its own for its control, so that one that serves on this
//! machine is left alone.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use outband_initiator::Algorithm;

use super::{Account, Place, Program, listens};

/// LUN 0 of tgt is its controller. It calls SHA-1 by the number of SHA-256, and knows no other
/// algorithm beside MD5. Padding it writes as zeros over its own data, the first of the next segment.
pub(crate) const TGT: Program = Program {
    name: "iqn.2026-11.local.tgt:disk",
    lun: 1,
    algorithms: &[Algorithm::Md5],
    pads: false,
    start,
};

const LUN: &str = "1";
const TID: &str = "1";

const INSTALL: &str = "tgt is missing; install it with `cargo xtask tools`, or with \
     `sudo apt-get install --yes tgt`";

fn start(place: &Place<'_>, port: Option<u16>) -> (Child, SocketAddr) {
    let started = spawn(place, port);
    configure(place);
    started
}

/// Starts it and waits until it listens. tgt takes no port 0: a free one is looked for, and if
/// somebody else takes it meanwhile, the next.
fn spawn(place: &Place<'_>, port: Option<u16>) -> (Child, SocketAddr) {
    // A killed tgtd leaves its socket behind, and another does not start over it.
    let _ = std::fs::remove_file(place.dir.join("control.0"));
    for _ in 0..5 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or_else(free_port)));
        let mut child = command(place, "tgtd")
            .args(["-f", "-C", "0", "--iscsi", &format!("portal={address}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(INSTALL);
        if listens(&mut child, address) {
            return (child, address);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("tgtd does not start");
}

fn configure(place: &Place<'_>) {
    let setup = &place.setup;
    let (disk, block_size) = (place.disk.to_str().unwrap(), setup.block_size.to_string());
    tell(place, &["--mode", "target", "--op", "new", "--tid", TID, "-T", TGT.name]);
    // What it has to be told before it agrees to as much as it can.
    for (key, value) in
        [("HeaderDigest", "CRC32C,None"), ("DataDigest", "CRC32C,None"), ("InitialR2T", "No")]
    {
        let pair = ["--name", key, "--value", value];
        tell(place, &[&["--mode", "target", "--op", "update", "--tid", TID], &pair[..]].concat());
    }
    let unit = ["--mode", "logicalunit", "--tid", TID, "--lun", LUN];
    let medium = ["--op", "new", "--backing-store", disk, "--blocksize", &block_size];
    tell(place, &[&unit[..], &medium].concat());
    let serial = format!("scsi_id=disk{0},scsi_sn=disk{0}", place.serial);
    let (thin, read_only) = (u8::from(setup.thin), u8::from(setup.read_only));
    let more = format!("thin_provisioning={thin},readonly={read_only}");
    for parameters in [&serial, &more] {
        tell(place, &[&unit[..], &["--op", "update", "--params", parameters]].concat());
    }
    for (account, outgoing) in [(setup.host, &[][..]), (setup.itself, &["--outgoing"])] {
        if let Some(Account { user, secret }) = account {
            let account = ["--mode", "account", "--user", user];
            tell(place, &[&account[..], &["--op", "new", "--password", secret]].concat());
            let bind = ["--op", "bind", "--tid", TID];
            tell(place, &[&account[..], &bind, outgoing].concat());
        }
    }
    tell(place, &["--mode", "target", "--op", "bind", "--tid", TID, "-I", "ALL"]);
}

fn tell(place: &Place<'_>, arguments: &[&str]) {
    let mut command = command(place, "tgtadm");
    let output = command.args(["-C", "0", "--lld", "iscsi"]).args(arguments).output();
    let output = output.expect(INSTALL);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tgtadm {arguments:?}: {said}");
}

/// A user's PATH often lacks the administrator's folders, and neither program needs privilege.
fn command(place: &Place<'_>, name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut command = Command::new(name);
    command.env("PATH", env::join_paths(folders).unwrap());
    command.env("TGT_IPC_SOCKET", place.dir.join("control"));
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
