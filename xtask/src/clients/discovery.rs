//! What a host sees when it asks: the target, its one logical unit, its identity. And what a host
//! without a grant does not see.

use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process::{captured, finished};
use crate::target::{Target, folder, with};

const LIMIT: Duration = Duration::from_secs(30);
const HOST: &str = "iqn.2026-11.local.outband:host-a";
const STRANGER: &str = "iqn.2026-11.local.outband:host-b";

pub(super) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    with(folder.path(), &["--memory", "64MiB", "--host", HOST], |target| {
        a_host_sees_its_volume(target)?;
        a_host_reads_who_the_volume_is(target)?;
        a_stranger_is_turned_away(target)
    })
}

fn a_host_sees_its_volume(target: &Target) -> Result<(), Failure> {
    let portal = format!("iscsi://{}", target.portal());
    let list = iscsi("iscsi-ls", HOST, &["--show-luns", &portal])?;
    expect(&list, &format!("Target:{}", target.name()))?;
    expect(&list, &format!("Portal:{}", target.portal()))?;
    expect(&list, "Lun:0")?;
    expect(&list, "Type:DIRECT_ACCESS")?;
    // It works the size out from the last block's address, so it shows less than the 64 MiB.
    expect(&list, "Size:63M")?;
    expect(&iscsi("iscsi-ls", HOST, &["--url", &portal])?, target.url())
}

fn a_host_reads_who_the_volume_is(target: &Target) -> Result<(), Failure> {
    let standard = iscsi("iscsi-inq", HOST, &[target.url()])?;
    expect(&standard, "Peripheral Device Type:DIRECT_ACCESS")?;
    expect(&standard, "OUTBAND")?;
    let pages = iscsi("iscsi-inq", HOST, &["-e", "1", "-c", "0", target.url()])?;
    for page in ["0x00", "0x80", "0x83", "0xb0", "0xb1", "0xb2"] {
        expect(&pages, &format!("Page:{page}"))?;
    }
    let identity = iscsi("iscsi-inq", HOST, &["-e", "1", "-c", "131", target.url()])?;
    expect(&identity, "NAA")
}

fn a_stranger_is_turned_away(target: &Target) -> Result<(), Failure> {
    let portal = format!("iscsi://{}", target.portal());
    let mut ls = Command::new("iscsi-ls");
    let (_, list) = finished(ls.args(["-i", STRANGER, &portal]), LIMIT)?;
    if list.contains(target.name()) {
        return Err(Failure::wrong(format!("a stranger was told of the target: {list}")));
    }
    let mut inq = Command::new("iscsi-inq");
    let (status, answer) = finished(inq.args(["-i", STRANGER, target.url()]), LIMIT)?;
    if status.success() {
        return Err(Failure::wrong(format!("a stranger could log in: {answer}")));
    }
    println!("  a host without a grant is told: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}

fn iscsi(program: &str, host: &str, arguments: &[&str]) -> Result<String, Failure> {
    captured(Command::new(program).args(["-i", host]).args(arguments), LIMIT)
}

/// Letters count the same: some versions print page codes in capitals.
fn expect(output: &str, part: &str) -> Result<(), Failure> {
    if output.to_lowercase().contains(&part.to_lowercase()) {
        println!("  {part}");
        return Ok(());
    }
    Err(Failure::wrong(format!("expected {part:?} in:\n{output}")))
}
