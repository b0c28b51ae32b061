//! Running other programs: cargo with its output in view, clients with a time limit.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, root};

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    cargo_with(arguments, &[])
}

pub(crate) fn cargo_with(arguments: &[&str], more: &[String]) -> Result<(), Failure> {
    visible(Command::new("cargo").args(arguments).args(more).current_dir(root()))
}

/// Runs `command` with this process's output.
pub(crate) fn visible(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(not_started(command))?;
    outcome(command, status, String::new()).map(|_| ())
}

/// Standard output and error of a program that had to end within `limit`, mixed as they came.
pub(crate) fn captured(command: &mut Command, limit: Duration) -> Result<String, Failure> {
    let (status, output) = finished(command, limit)?;
    outcome(command, status, output)
}

/// Like [`captured`], for programs that read something.
pub(crate) fn captured_with(
    command: &mut Command,
    input: Stdio,
    limit: Duration,
) -> Result<String, Failure> {
    let (status, output) = finished_with(command, input, limit)?;
    outcome(command, status, output)
}

/// Like [`captured`], for programs that are expected to fail.
pub(crate) fn finished(
    command: &mut Command,
    limit: Duration,
) -> Result<(ExitStatus, String), Failure> {
    finished_with(command, Stdio::null(), limit)
}

fn finished_with(
    command: &mut Command,
    input: Stdio,
    limit: Duration,
) -> Result<(ExitStatus, String), Failure> {
    let temporary = |source| Failure::Io { what: "a temporary file".into(), source };
    let mut file = tempfile::tempfile().map_err(temporary)?;
    let out = file.try_clone().map_err(temporary)?;
    let err = file.try_clone().map_err(temporary)?;
    command.stdin(input).stdout(out).stderr(err);
    let mut child = Guard(command.spawn().map_err(not_started(command))?);
    let status = child.wait_for(limit).map_err(not_started(command))?;
    let output = read_all(&mut file).map_err(temporary)?;
    match status {
        Some(status) => Ok((status, output)),
        None => Err(Failure::TooLong {
            command: shown(command),
            seconds: limit.as_secs(),
            output: indented(&output),
        }),
    }
}

fn read_all(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn outcome(command: &Command, status: ExitStatus, output: String) -> Result<String, Failure> {
    if status.success() {
        return Ok(output);
    }
    let (command, status) = (shown(command), status.to_string());
    Err(Failure::Command { command, status, output: indented(&output) })
}

fn not_started(command: &Command) -> impl FnOnce(std::io::Error) -> Failure {
    let what = format!("`{}` could not be run", shown(command));
    move |source| Failure::Io { what, source }
}

/// The command as one would type it, near enough.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The last lines of `output`, set apart from the message they follow.
pub(crate) fn indented(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let tail = &lines[lines.len().saturating_sub(60)..];
    tail.iter().map(|line| format!("\n    {line}")).collect()
}

/// A child process that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// Its status, or `None` when it runs on after `limit`.
    pub(crate) fn wait_for(&mut self, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the process has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The commit that this is a build of, marked where more than documents was changed since.
pub(crate) fn commit() -> Result<String, Failure> {
    let git = |arguments: &[&str]| {
        captured(Command::new("git").args(arguments).current_dir(root()), Duration::from_secs(60))
    };
    let name = git(&["describe", "--always", "--exclude=*"])?;
    let changes = git(&["status", "--porcelain", "--", ".", ":(exclude)docs", ":(exclude)qa"])?;
    let mark = if changes.is_empty() { "" } else { "-dirty" };
    Ok(format!("{}{mark}", name.trim()))
}

/// Where a program is. The administrator's folders are looked into too: a user's PATH often lacks
/// them, and `mke2fs` and `debugfs` need no privilege.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The same for one that `cargo xtask tools` installs.
pub(crate) fn tool(name: &str) -> Result<PathBuf, Failure> {
    program(name).ok_or_else(|| Failure::wrong(format!("{name} is missing: cargo xtask tools")))
}

/// A binary of this workspace, built in the same profile as xtask and so lying beside it.
pub(crate) fn built(name: &str) -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(Failure::at(Path::new("xtask")))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::wrong(format!("{} is missing: cargo build --workspace", path.display())))
}

/// A folder in cargo's target folder, for what is to be found there later.
pub(crate) fn kept(name: &str) -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(Failure::at(Path::new("xtask")))?;
    // The program lies in the folder of its profile.
    let target = own.ancestors().nth(2).expect("cargo put it two folders deep");
    let folder = target.join("xtask").join(name);
    fs::create_dir_all(&folder).map_err(Failure::at(&folder))?;
    Ok(folder)
}
