//! The station's process: started, asked, looked at from outside, and killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outband_pool_api::{Client, Secret, Trust};
use rustix::param::clock_ticks_per_second;

use super::{Failure, seed};

/// One `outband-pool` over a state directory that outlives it.
#[derive(Debug)]
pub struct Station {
    program: PathBuf,
    state: PathBuf,
    announce: SocketAddr,
    process: Option<Child>,
}

impl Station {
    /// Where it will be. Nothing runs yet.
    pub fn new(program: &Path, state: &Path) -> Result<Self, Failure> {
        // Free a moment ago. Units must find the next process of the station at the same port.
        let announce = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { program: program.to_owned(), state: state.to_owned(), announce, process: None })
    }

    #[must_use]
    pub fn announce(&self) -> SocketAddr {
        self.announce
    }

    /// Runs it until it can be asked.
    pub fn start(&mut self) -> Result<Client, Failure> {
        let config = self.state.with_extension("toml");
        let text = format!(
            "state_dir = {:?}\npool = \"{}\"\nlisten = \"127.0.0.1:0\"\nannounce = \"{}\"\n\
             policy = \"auto\"\n[log]\nfilter = \"error\"\n",
            self.state,
            seed::POOL,
            self.announce
        );
        fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&config).stdout(Stdio::piped());
        let process = self.process.insert(command.spawn()?);
        let mut url = String::new();
        let out = process.stdout.take().ok_or("it has no output")?;
        BufReader::new(out).read_line(&mut url)?;
        let read = |name: &str| fs::read_to_string(self.state.join(name));
        let token = Secret::new(read("admin.token")?.trim());
        Ok(Client::new(url.trim(), token, &Trust::Ca(read("ca.pem")?))?)
    }

    /// As its host's owner has it: with no other right than its own token.
    pub fn client_of(&self, client: &Client, token: Secret) -> Result<Client, Failure> {
        let ca = fs::read_to_string(self.state.join("ca.pem"))?;
        Ok(Client::new(client.url(), token, &Trust::Ca(ca))?)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn proc(&self, name: &str) -> Result<String, Failure> {
        let process = self.process.as_ref().ok_or("it does not run")?;
        Ok(fs::read_to_string(format!("/proc/{}/{name}", process.id()))?)
    }

    /// Processor time that it has used: utime and stime of proc_pid_stat(5).
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let stat = self.proc("stat")?;
        // The program's name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| {
            let field = fields.get(place).ok_or("stat is short")?;
            field.parse::<u64>().map_err(Failure::from)
        };
        let all = ticks(11)? + ticks(12)?;
        Ok(Duration::from_millis(all * 1000 / clock_ticks_per_second()))
    }

    /// The most memory that it had at once: VmHWM of proc_pid_status(5), in MiB.
    pub fn memory_mib(&self) -> Result<u64, Failure> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
        Ok(kib.trim().parse::<u64>()? / 1024)
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}
