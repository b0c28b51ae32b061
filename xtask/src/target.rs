//! One `outband-target serve` of this build on a free port, ended on every path.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::process::{Guard, built, indented};

/// From its start to the line that says it serves.
const START: Duration = Duration::from_secs(30);
/// From SIGTERM to its end.
const STOP: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Target {
    process: Guard,
    /// `iscsi://ADDR/IQN/0` for each portal, as it printed them.
    urls: Vec<String>,
    log: PathBuf,
}

impl Target {
    /// Serves what `arguments` say on a free port; its log lies in `folder`.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Result<Self, Failure> {
        Self::listening(folder, arguments, &["127.0.0.1:0"])
    }

    /// The same with a portal for each address of `listen`.
    pub(crate) fn listening(
        folder: &Path,
        arguments: &[&str],
        listen: &[&str],
    ) -> Result<Self, Failure> {
        let log = folder.join("target.log");
        let stderr = File::create(&log).map_err(Failure::at(&log))?;
        let binary = built("outband-target")?;
        let child = Command::new(&binary)
            .arg("serve")
            .args(arguments)
            .args(listen.iter().flat_map(|address| ["--listen", address]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Failure::at(&binary))?;
        let mut target = Self { process: Guard(child), urls: Vec::new(), log };
        let lines = target.first_lines(listen.len());
        if lines.len() < listen.len() || !lines.iter().all(|line| line.starts_with("iscsi://")) {
            return Err(target.failed(&format!("said {lines:?} and not its URLs")));
        }
        target.urls = lines;
        Ok(target)
    }

    /// As many of its first `count` lines as come in time.
    fn first_lines(&mut self, count: usize) -> Vec<String> {
        let stdout = self.process.0.stdout.take().expect("standard output is a pipe");
        let (sender, receiver) = mpsc::channel();
        // Ends with the target: the pipe closes, or nobody receives any more.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        (0..count).map_while(|_| receiver.recv_timeout(START).ok()).collect()
    }

    /// `iscsi://ADDR/IQN/0` of the first portal.
    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    /// The same for each portal, in the order in which they were asked for.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// `ADDR`, with its port.
    pub(crate) fn portal(&self) -> &str {
        self.part(0)
    }

    /// The target's name.
    pub(crate) fn name(&self) -> &str {
        self.part(1)
    }

    fn part(&self, index: usize) -> &str {
        let mut parts = self.url().trim_start_matches("iscsi://").split('/');
        parts.nth(index).unwrap_or_default()
    }

    /// The URL with what libiscsi wants in front for CHAP.
    pub(crate) fn url_as(&self, user: &str, secret: &str) -> String {
        self.url().replacen("iscsi://", &format!("iscsi://{user}%{secret}@"), 1)
    }

    /// Ends it the orderly way and says whether that went well.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.process.0.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a process id");
        // It fails only for a process that has ended, which the status will tell.
        let _ = kill_process(pid, Signal::TERM);
        match self.process.wait_for(STOP) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(self.failed(&format!("ended with {status}"))),
            Ok(None) => Err(self.failed("did not stop on SIGTERM")),
            Err(source) => Err(Failure::Io { what: "waiting for the target".into(), source }),
        }
    }

    fn failed(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        Failure::wrong(format!("outband-target {what}; its log:{}", indented(&log)))
    }

    /// Adds the target's log to a client's failure.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        self.failed(&format!("was running when a client failed: {failure}"))
    }
}

/// A volume in memory of `size`, served while `clients` runs, then stopped.
pub(crate) fn with(
    folder: &Path,
    arguments: &[&str],
    clients: impl FnOnce(&Target) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let target = Target::start(folder, arguments)?;
    clients(&target).map_err(|failure| target.explain(failure))?;
    target.stop()
}

pub(crate) fn folder() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("outband-clients-")
        .tempdir()
        .map_err(|source| Failure::Io { what: "a temporary folder".into(), source })
}
