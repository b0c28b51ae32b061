//! A machine whose disk is the volume: QEMU's own initiator under a guest, and iPXE within one. Both
//! boot from the volume, read it and write it; `qemu-io` looks afterwards.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::login::{Login, SECRET, UNIT, UNIT_SECRET, USER, text};
use super::patterns::qemu_io;
use crate::boot_sector::{self, GOOD, HELLO, PATTERN, READS, Run, WRITES};
use crate::failure::Failure;
use crate::process::{captured, indented, tool};
use crate::target::{Target, folder, with};

/// Under software emulation on a busy machine. Idle, the slower of the two takes six seconds.
const LIMIT: Duration = Duration::from_secs(280);

/// QEMU logs in, for the guest's virtio disk.
pub(super) fn disk() -> Result<(), Failure> {
    for login in [Login::Plain, Login::ChapAndDigests] {
        println!("  {login:?}");
        booted(login, |target, _| {
            let drive = format!("{},if=virtio", login.image_opts(target));
            let mut machine = machine()?;
            machine.args(login.objects()).args(["-drive", &drive]);
            Ok(machine)
        })?;
    }
    Ok(())
}

/// The guest's network card has iPXE in it, which gets a script by TFTP and logs in itself.
pub(super) fn pxe() -> Result<(), Failure> {
    for login in [Login::Plain, Login::Chap, Login::MutualChap] {
        println!("  {login:?}");
        booted(login, |target, folder| {
            fs::write(folder.join("boot.ipxe"), script(target, login))
                .map_err(Failure::at(folder))?;
            let network = format!("user,id=net,tftp={},bootfile=boot.ipxe", text(folder));
            let mut machine = machine()?;
            machine.args(["-netdev", &network, "-device", "e1000,netdev=net", "-boot", "n"]);
            Ok(machine)
        })?;
    }
    Ok(())
}

/// In QEMU's user network 10.0.2.2 is the machine that QEMU runs on.
fn script(target: &Target, login: Login) -> String {
    let port = target.portal().rsplit(':').next().unwrap_or_default();
    let mut script = "#!ipxe\nset initiator-iqn iqn.2026-11.local.outband:ipxe\n".to_owned();
    if login.chap() {
        script += &format!("set username {USER}\nset password {SECRET}\n");
    }
    if login == Login::MutualChap {
        script += &format!("set reverse-username {UNIT}\nset reverse-password {UNIT_SECRET}\n");
    }
    script + &format!("sanboot iscsi:10.0.2.2::{port}:0:{}\n", target.name())
}

fn machine() -> Result<Command, Failure> {
    let mut machine = Command::new(tool("qemu-system-x86_64")?);
    machine.args(["-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none"]);
    machine.args(["-serial", "stdio", "-no-reboot"]);
    Ok(machine)
}

fn booted(
    login: Login,
    machine: impl Fn(&Target, &Path) -> Result<Command, Failure>,
) -> Result<(), Failure> {
    let folder = folder()?;
    let sector = folder.path().join("sector");
    fs::write(&sector, boot_sector::bytes()).map_err(Failure::at(&sector))?;
    let mut arguments = vec!["--memory".to_owned(), "64MiB".to_owned()];
    arguments.extend(login.served(folder.path())?);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    with(folder.path(), &arguments, |target| {
        let boot = format!("write -s {} 0 512", text(&sector));
        let expected = format!("write -P {PATTERN} {}", span(READS));
        captured(&mut qemu_io(target, login, [boot.as_str(), &expected])?, LIMIT)?;
        let said = captured(&mut machine(target, folder.path())?, LIMIT)?;
        for line in [HELLO, GOOD] {
            if !said.contains(line) {
                return Err(Failure::wrong(format!(
                    "no {line:?} from the guest:{}",
                    indented(&said)
                )));
            }
            println!("  {line}");
        }
        let written = format!("read -P {PATTERN} {}", span(WRITES));
        captured(&mut qemu_io(target, login, [written.as_str()])?, LIMIT).map(|_| ())
    })
}

fn span(run: Run) -> String {
    format!("{} {}", run.offset, run.len)
}
