//! A machine, and what its script says on the serial port line by line.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::image::Image;
use crate::failure::Failure;
use crate::process::{Guard, indented, tool};

/// For everything a scenario does, under software emulation on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// A word from the guest's script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard<'l> {
    /// Something succeeded.
    Ok(&'l str),
    /// It asks for something to be done out here.
    Please(&'l str),
    /// Something may now not be lost any more.
    Acknowledged(u64),
}

#[derive(Debug)]
pub(crate) struct Machine {
    process: Guard,
    lines: Receiver<String>,
    /// All it said, for the message when it fails.
    said: String,
}

impl Machine {
    /// Starts a guest that runs `scenario` (see `library.sh`), and finds `variables` set.
    pub(crate) fn start(
        image: &Image,
        folder: &Path,
        variables: &[(&str, String)],
        scenario: &str,
    ) -> Result<Self, Failure> {
        let ram_disk = folder.join("initrd");
        let variables = variables.iter().map(|(name, value)| format!("{name}='{value}'\n"));
        image.ram_disk(&ram_disk, &variables.collect::<String>(), scenario)?;
        let qemu = tool("qemu-system-x86_64")?;
        let mut child = Command::new(&qemu)
            .args(["-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-nic", "user,model=virtio-net-pci"])
            .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&ram_disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(Failure::at(&qemu))?;
        let console = child.stdout.take().expect("standard output is a pipe");
        let (sender, lines) = mpsc::channel();
        // Ends with the machine: the pipe closes, or nobody receives any more.
        thread::spawn(move || {
            let lines = BufReader::new(console).split(b'\n').map_while(Result::ok);
            for line in lines {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process: Guard(child), lines, said: String::new() })
    }

    /// Gives each word of the script to `hear`, until the script is done and the machine off.
    pub(crate) fn run(
        mut self,
        mut hear: impl FnMut(Heard<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + LIMIT;
        let mut done = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) if done => break,
                Err(RecvTimeoutError::Disconnected) => return Err(self.failed("ended too early")),
                Err(RecvTimeoutError::Timeout) => return Err(self.failed("takes too long")),
            };
            if !line.starts_with("guest: acknowledged") {
                self.said += &format!("{line}\n");
            }
            match line.strip_prefix("guest: ") {
                Some("done") => done = true,
                Some(words) => match heard(words) {
                    Some(heard) => {
                        hear(heard).map_err(|failure| self.failed(&failure.to_string()))?;
                    }
                    None => return Err(self.fails(words)),
                },
                None => {}
            }
        }
        let failed = |source| Failure::Io { what: "waiting for the guest".into(), source };
        self.process.wait_for(Duration::from_secs(30)).map_err(failed)?;
        Ok(())
    }

    /// With what it says after the script gave up.
    fn fails(&mut self, words: &str) -> Failure {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(20)) {
            self.said += &format!("{line}\n");
        }
        self.failed(words)
    }

    fn failed(&self, what: &str) -> Failure {
        Failure::wrong(format!("the guest {what}; its console:{}", indented(&self.said)))
    }
}

/// `None` for a failure.
fn heard(words: &str) -> Option<Heard<'_>> {
    let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
    match kind {
        "ok" => Some(Heard::Ok(rest)),
        "please" => Some(Heard::Please(rest)),
        "acknowledged" => rest.parse().ok().map(Heard::Acknowledged),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_script_are_told_apart() {
        assert_eq!(heard("ok mount /dev/sda /mnt"), Some(Heard::Ok("mount /dev/sda /mnt")));
        assert_eq!(heard("please kill the target"), Some(Heard::Please("kill the target")));
        assert_eq!(heard("acknowledged 17"), Some(Heard::Acknowledged(17)));
        assert_eq!(heard("failed mount"), None);
        assert_eq!(heard("acknowledged much"), None);
    }
}
