//! Mutual CHAP with libiscsi: it asks the target to prove itself, and believes no other.
//!
//! QEMU's driver has no option for that; iPXE does it in `guest.rs`.

use std::process::Command;
use std::time::Duration;

use super::login::{Login, SECRET, UNIT, UNIT_SECRET, USER};
use crate::failure::Failure;
use crate::process::{captured, finished, tool};
use crate::target::{Target, folder, with};

const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    let served = |login: Login| -> Result<Vec<String>, Failure> {
        let volume = ["--memory", "64MiB"].map(str::to_owned).into_iter();
        Ok(volume.chain(login.served(folder.path())?).collect())
    };
    let start = |arguments: Vec<String>, clients: fn(&Target) -> Result<(), Failure>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        with(folder.path(), &arguments, clients)
    };
    start(served(Login::MutualChap)?, |target| {
        believes(target, UNIT, UNIT_SECRET)?;
        doubts(target, UNIT, "some-other-secret")?;
        doubts(target, "another-unit", UNIT_SECRET)
    })?;
    println!("  a target that proves itself is believed, with other words it is not");
    // It lets the host in, and has nothing to prove itself by.
    start(served(Login::Chap)?, |target| doubts(target, UNIT, UNIT_SECRET))?;
    println!("  one that cannot prove itself is not believed");
    Ok(())
}

fn believes(target: &Target, unit: &str, secret: &str) -> Result<(), Failure> {
    for mut command in logins(target, unit, secret)? {
        captured(&mut command, LIMIT)?;
    }
    Ok(())
}

fn doubts(target: &Target, unit: &str, secret: &str) -> Result<(), Failure> {
    for mut command in logins(target, unit, secret)? {
        let (status, said) = finished(&mut command, LIMIT)?;
        if status.success() {
            return Err(Failure::wrong(format!("{unit} with {secret} was believed: {said}")));
        }
    }
    Ok(())
}

/// To discover and to use the volume, with what the target is to prove itself by.
fn logins(target: &Target, unit: &str, secret: &str) -> Result<[Command; 2], Failure> {
    let proof = format!("?target_user={unit}&target_password={secret}");
    let mut list = Command::new(tool("iscsi-ls")?);
    list.arg(format!("iscsi://{USER}%{SECRET}@{}/{proof}", target.portal()));
    let mut inquiry = Command::new(tool("iscsi-inq")?);
    inquiry.arg(format!("{}{proof}", target.url_as(USER, SECRET)));
    Ok([list, inquiry])
}
