//! Running the built binary, with a bound on everything.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// `outband`, without what the environment of whoever runs the tests says.
pub(crate) fn outband() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outband"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OUTBAND_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end; kills it when that takes longer than `at_most`.
pub(crate) fn run(command: &mut Command, at_most: Duration) -> Output {
    let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let stdout = drain(child.0.stdout.take().unwrap());
    let stderr = drain(child.0.stderr.take().unwrap());
    let status = child.wait(at_most);
    let status = status.unwrap_or_else(|| {
        drop(child);
        panic!("{command:?} did not end within {at_most:?}");
    });
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// Kills what still runs when a test is over.
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// How it has ended; nothing when it did not within `at_most`.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < at_most {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
