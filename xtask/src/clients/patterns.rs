//! `qemu-io`: writes, zeros, discards and reads that verify patterns, by QEMU's block layer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::login::Login;
use crate::failure::Failure;
use crate::process::{captured, finished, indented, tool};
use crate::target::{Target, folder, with};

const LIMIT: Duration = Duration::from_secs(60);

/// In order: neighbours, a write across both, ends that are no block's, the last block, zeros with
/// and without unmapping, and many requests at once.
const PATTERNS: &str = "write -P 0x11 0 1M
write -P 0x22 1M 1M
write -P 0x33 512k 1M
read -P 0x11 0 512k
read -P 0x33 512k 1M
read -P 0x22 1536k 512k
write -f -P 0x44 8193k 3k
read -P 0x44 8193k 3k
write -P 0x55 67104768 4k
read -P 0x55 67104768 4k
write -z 1M 256k
read -P 0 1M 256k
write -P 0x66 16M 16M
write -z -u 20M 4M
read -P 0 20M 4M
discard 28M 1M
read -P 0x66 16M 4M
read -P 0x66 24M 4M
aio_write -P 0x71 32M 64k
aio_write -P 0x72 33M 1M
aio_write -P 0x73 34M 4M
aio_flush
aio_read -P 0x71 32M 64k
aio_read -P 0x72 33M 1M
aio_read -P 0x73 34M 4M
aio_flush
flush";

pub(super) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    for (login, more) in [
        (Login::Plain, ""),
        (Login::Plain, "--block-size 4096"),
        (Login::Chap, ""),
        (Login::ChapAndDigests, "--write-policy high"),
    ] {
        let mut arguments = vec!["--memory".to_owned(), "64MiB".to_owned()];
        arguments.extend(more.split_whitespace().map(str::to_owned));
        arguments.extend(login.served(folder.path())?);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        println!("  {login:?} {more}");
        with(folder.path(), &arguments, |target| patterns(target, login))?;
    }
    in_a_file(folder.path())
}

/// Where discarding makes holes.
fn in_a_file(folder: &Path) -> Result<(), Failure> {
    let file = folder.join("patterns.img");
    let file = super::login::text(&file);
    println!("  Plain, in a file");
    with(folder, &[file, "--size", "64MiB", "--any-host"], |target| patterns(target, Login::Plain))
}

fn patterns(target: &Target, login: Login) -> Result<(), Failure> {
    let lines = PATTERNS.lines();
    captured(&mut qemu_io(target, login, lines)?, LIMIT)?;
    // By another process, so that nothing remembered can answer.
    let reads = PATTERNS.lines().filter(|line| line.starts_with("aio_read")).chain(["aio_flush"]);
    captured(&mut qemu_io(target, login, reads)?, LIMIT)?;
    the_check_can_fail(target, login)
}

fn the_check_can_fail(target: &Target, login: Login) -> Result<(), Failure> {
    let mut wrong = qemu_io(target, login, ["read -P 0x72 32M 64k"])?;
    let (status, said) = finished(&mut wrong, LIMIT)?;
    if status.success() || !said.contains("Pattern verification failed") {
        return Err(Failure::wrong(format!(
            "qemu-io overlooked a wrong pattern:{}",
            indented(&said)
        )));
    }
    Ok(())
}

pub(super) fn qemu_io<'l>(
    target: &Target,
    login: Login,
    lines: impl IntoIterator<Item = &'l str>,
) -> Result<Command, Failure> {
    let mut command = Command::new(tool("qemu-io")?);
    command.args(lines.into_iter().flat_map(|line| ["-c", line]));
    command.args(login.objects()).args(["--image-opts", &login.image_opts(target)]);
    Ok(command)
}
