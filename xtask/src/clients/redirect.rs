//! libiscsi at a target that sends its hosts on to another one.

use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process::{captured, finished};
use crate::target::{Target, folder, with};

const LIMIT: Duration = Duration::from_secs(30);

/// The volume's name, and so the target's: the same here and there.
const NAME: &str = "moved";

pub(super) fn run() -> Result<(), Failure> {
    let (there, here) = (folder()?, folder()?);
    with(there.path(), &["--memory", "64MiB", "--name", NAME], |there| {
        // Of another size, which shows who has answered.
        let moved = ["--memory", "16MiB", "--name", NAME, "--redirect", there.portal()];
        with(here.path(), &moved, sees_the_other)?;
        let for_good = [&moved[..], &["--permanent"]].concat();
        with(here.path(), &for_good, hears_of_the_other)
    })
}

/// libiscsi 1.19 follows a temporary move only; of a permanent one it tells.
fn hears_of_the_other(here: &Target) -> Result<(), Failure> {
    let (status, answer) = finished(Command::new("iscsi-inq").arg(here.url()), LIMIT)?;
    if status.success() { expect(&answer, "OUTBAND") } else { expect(&answer, "moved permanently") }
}

fn sees_the_other(here: &Target) -> Result<(), Failure> {
    let inquiry = captured(Command::new("iscsi-inq").arg(here.url()), LIMIT)?;
    expect(&inquiry, "OUTBAND")?;
    let portal = format!("iscsi://{}", here.portal());
    let list = captured(Command::new("iscsi-ls").args(["--show-luns", &portal]), LIMIT)?;
    expect(&list, &format!("Target:{}", here.name()))?;
    // It works the size out from the last block's address, so it shows less than the 64 MiB.
    expect(&list, "Size:63M")
}

fn expect(output: &str, part: &str) -> Result<(), Failure> {
    if output.contains(part) {
        println!("  {part}");
        return Ok(());
    }
    Err(Failure::wrong(format!("expected {part:?} in:\n{output}")))
}
