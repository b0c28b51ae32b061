//! A pool to look at: `outband demo --stay`, and where its station is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::process::{Guard, built, captured, indented};

/// The whole demo, on a busy machine.
const START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(30);
const QUESTION: Duration = Duration::from_secs(60);
/// What it says last, and what of it is wanted.
const NAMES: [&str; 3] = ["OUTBAND_STATION", "OUTBAND_CA", "OUTBAND_TOKEN_FILE"];

pub(super) struct Lab {
    process: Guard,
    said: BTreeMap<String, String>,
    pub(super) token: String,
}

impl Lab {
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let program = built("outband")?;
        let log = folder.join("demo.log");
        let stderr = File::create(&log).map_err(Failure::at(&log))?;
        let mut child = Command::new(&program)
            .args(["demo", "--stay"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Failure::at(&program))?;
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let process = Guard(child);
        let (sender, lines) = mpsc::channel();
        // Ends with the demo: the pipe closes, or nobody receives any more. It is read on, so that
        // the demo never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let said = exports(&lines).map_err(|heard| {
            let complaints = fs::read_to_string(&log).unwrap_or_default();
            let said = indented(&format!("{heard}{complaints}"));
            Failure::wrong(format!("`outband demo --stay` did not say where it is:{said}"))
        })?;
        let path = Path::new(&said[NAMES[2]]);
        let token = fs::read_to_string(path).map_err(Failure::at(path))?.trim().to_owned();
        Ok(Self { process, said, token })
    }

    /// The station's URL of `path`, which begins with a stroke.
    pub(super) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.said[NAMES[0]].trim_end_matches('/'))
    }

    /// `outband` as the administrator.
    pub(super) fn outband(&self, arguments: &[&str]) -> Result<String, Failure> {
        captured(Command::new(built("outband")?).args(arguments).envs(&self.said), QUESTION)
    }

    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.process.0.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a process id");
        // It fails only for a process that has ended, which the status will tell.
        let _ = kill_process(pid, Signal::TERM);
        match self.process.wait_for(STOP) {
            Ok(Some(status)) if status.success() => Ok(()),
            other => Err(Failure::wrong(format!("the demo did not end well: {other:?}"))),
        }
    }
}

/// What the demo says to export, once it has said all of it; otherwise everything that it said.
fn exports(lines: &Receiver<String>) -> Result<BTreeMap<String, String>, String> {
    let mut said = BTreeMap::new();
    let mut heard = String::new();
    let deadline = Instant::now() + START;
    while !NAMES.iter().all(|name| said.contains_key(*name)) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else { return Err(heard) };
        if let Some((name, value)) = export(&line) {
            said.insert(name.to_owned(), value.to_owned());
        }
        heard.push_str(&line);
        heard.push('\n');
    }
    Ok(said)
}

fn export(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix("export ")?.split_once('=')?;
    Some((name, value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read_from_what_the_demo_says() {
        assert_eq!(export("    export A=https://b:1"), Some(("A", "https://b:1")));
        assert_eq!(export("alias outband=x"), None);
    }
}
