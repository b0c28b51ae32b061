//! libiscsi's smaller tools: software write protection by `iscsi-swp`, capacity, some load.

use std::process::Command;
use std::time::Duration;

use super::login::Login;
use super::patterns::qemu_io;
use crate::failure::Failure;
use crate::process::{captured, finished, indented, tool};
use crate::target::{Target, folder, with};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    with(folder.path(), &["--memory", "64MiB", "--any-host"], |target| {
        expect(&said("iscsi-readcapacity16", &[target.url()])?, "Total size:67108864")?;
        write_protection(target)?;
        load(target)
    })
}

/// Set by one session, seen and obeyed by the next, and ended again.
fn write_protection(target: &Target) -> Result<(), Failure> {
    said("iscsi-swp", &["-s", "on", target.url()])?;
    expect(&said("iscsi-swp", &[target.url()])?, "SWP:1")?;
    let (status, output) =
        finished(&mut qemu_io(target, Login::Plain, ["write -P 0x5a 0 4k"])?, LIMIT)?;
    if status.success() || !output.contains("write protected") {
        return Err(Failure::wrong(format!(
            "a protected volume was written:{}",
            indented(&output)
        )));
    }
    said("iscsi-swp", &["-s", "off", target.url()])?;
    let lines = ["write -P 0x5a 0 4k", "read -P 0x5a 0 4k"];
    captured(&mut qemu_io(target, Login::Plain, lines)?, LIMIT)?;
    println!("  iscsi-swp: on, and writes are refused; off, and they are not");
    Ok(())
}

/// Random reads, sixteen at a time, for a second.
fn load(target: &Target) -> Result<(), Failure> {
    let output = said("iscsi-perf", &["-t", "1", "-r", "-m", "16", "-b", "8", target.url()])?;
    if output.contains("failed") {
        return Err(Failure::wrong(format!("iscsi-perf:{}", indented(&output))));
    }
    expect(&output, "finished.")
}

fn said(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    captured(Command::new(tool(program)?).args(arguments), LIMIT)
}

fn expect(output: &str, part: &str) -> Result<(), Failure> {
    if output.contains(part) {
        println!("  {part}");
        return Ok(());
    }
    Err(Failure::wrong(format!("expected {part:?} in:{}", indented(output))))
}
