//! A child process of the demo: this same program as a station or a unit. However the demo ends,
//! it ends: by SIGTERM, by SIGKILL when the handle is dropped, and by itself when its standard
//! input closes because the demo was killed.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child as Process, Command};

use crate::failure::Failure;

/// From SIGTERM to the end; what takes longer is killed.
const STOP: Duration = Duration::from_secs(15);

pub(super) struct Child {
    pub(super) name: String,
    process: Process,
    log: PathBuf,
}

impl Child {
    /// Starts `outband KIND run --config FILE`. The log of an earlier child of this name goes on.
    pub(super) fn start(
        name: &str,
        kind: &str,
        config: &Path,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::os("find this program"))?;
        let log = directory.join(format!("{name}.log"));
        let doing = || Failure::os(format!("write {}", log.display()));
        let errors = File::options().create(true).append(true).open(&log).map_err(doing())?;
        let words = errors.try_clone().map_err(doing())?;
        let process = Command::new(program)
            .args([kind, "run", "--stop-with-stdin", "--config"].map(OsStr::new))
            .arg(config)
            .env_remove("OUTBAND_LOG")
            .stdin(Stdio::piped())
            .stdout(words)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::os(format!("start {name}")))?;
        Ok(Self { name: name.to_owned(), process, log })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// SIGTERM, and no waiting.
    pub(super) fn terminate(&self) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // It may have ended in this moment.
            let _ = kill_process(id, Signal::TERM);
        }
    }

    /// Waits for the end after `terminate`; kills what takes too long.
    pub(super) async fn stopped(&mut self) -> Result<(), Failure> {
        let name = self.name.clone();
        match tokio::time::timeout(STOP, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::Failed(format!("{name} ended with {status}"))),
            Ok(Err(error)) => Err(Failure::os(format!("wait for {name}"))(error)),
            Err(_) => {
                self.kill().await?;
                Err(Failure::Failed(format!("{name} did not stop within {} s", STOP.as_secs())))
            }
        }
    }

    /// SIGKILL, and waits for the end.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.process.kill().await.map_err(Failure::os(format!("kill {}", self.name)))
    }

    /// The last lines of its log.
    pub(super) fn tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        last_lines(&text, lines)
    }
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_at_most_as_long_as_the_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
