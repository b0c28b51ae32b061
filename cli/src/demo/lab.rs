//! The processes of the demo and where they keep their things; and waiting for something to become
//! true while the pool's events are shown.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outband_pool_api::{Client, Secret, Size, Trust, Unit};
use serde::Serialize;
use tempfile::TempDir;

use super::child::Child;
use super::ground::Ground;
use super::show::Show;
use crate::failure::Failure;
use crate::pattern::Random;

pub(super) const POOL: &str = "demo";
const PAUSE: Duration = Duration::from_millis(25);
/// Outside of the ports that the system gives to clients: a station that was killed finds its own
/// again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

pub(super) struct Lab {
    directory: TempDir,
    pub(super) ground: Ground,
    ports: (u16, u16),
    station: Option<Child>,
    units: Vec<Child>,
    client: Option<Client>,
    /// Number of the last event that was shown.
    seen: u64,
}

#[derive(Serialize)]
struct StationFile<'a> {
    state_dir: &'a Path,
    pool: &'a str,
    listen: String,
    announce: String,
    policy: &'a str,
    quarantine: Quarantine,
}

/// Here units are killed on purpose.
#[derive(Serialize, Default)]
struct Quarantine {
    leaves: u32,
}

#[derive(Serialize)]
struct UnitFile<'a> {
    name: &'a str,
    state_dir: PathBuf,
    listen: [&'a str; 1],
    pool: &'a str,
    api_listen: &'a str,
    station: String,
    join_token_file: PathBuf,
    /// A machine of many processors would want more buffers than a demo is to take.
    shards: u16,
    buffer_memory: &'a str,
    file: Vec<FileDevice>,
    memory: Vec<MemoryDevice<'a>>,
}

#[derive(Serialize)]
struct FileDevice {
    path: PathBuf,
    size: u64,
}

#[derive(Serialize)]
struct MemoryDevice<'a> {
    name: &'a str,
    size: u64,
}

/// What a unit keeps its volumes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Media {
    File(Size),
    Memory(Size),
}

impl Lab {
    pub(super) fn new(ground: Ground) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("outband-demo-")
            .tempdir_in(&ground.parent)
            .map_err(Failure::os(format!("make a directory in {}", ground.parent.display())))?;
        Ok(Self {
            directory,
            ground,
            ports: free_ports()?,
            station: None,
            units: Vec::new(),
            client: None,
            seen: 0,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.0)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.path("station").join("ca.pem")
    }

    pub(super) fn admin_token(&self) -> PathBuf {
        self.path("station").join("admin.token")
    }

    /// The administrator's.
    pub(super) fn client(&self) -> Client {
        self.client.clone().expect("the first step has started the station")
    }

    /// Somebody else's, by another token.
    pub(super) fn client_with(&self, token: Secret) -> Result<Client, Failure> {
        let ca = self.ca();
        let ca =
            std::fs::read_to_string(&ca).map_err(Failure::os(format!("read {}", ca.display())))?;
        Ok(Client::new(&self.url(), token, &Trust::Ca(ca))?)
    }

    /// Starts the station, for the first time or again, and waits until it answers.
    pub(super) async fn start_station(&mut self) -> Result<(), Failure> {
        let config = self.path("station.toml");
        let state_dir = self.path("station");
        let file = StationFile {
            state_dir: &state_dir,
            pool: POOL,
            listen: format!("127.0.0.1:{}", self.ports.0),
            announce: format!("127.0.0.1:{}", self.ports.1),
            policy: "auto",
            quarantine: Quarantine::default(),
        };
        write_toml(&config, &file)?;
        self.station = Some(Child::start("station", "station", &config, self.directory.path())?);
        // Its events are numbered from its start.
        self.seen = 0;
        let bound = Instant::now() + Duration::from_secs(15);
        loop {
            self.check_children()?;
            if let Ok(token) = std::fs::read_to_string(self.admin_token())
                && let Ok(client) = self.client_with(Secret::new(token.trim()))
                && client.pool().await.is_ok()
            {
                self.client = Some(client);
                return Ok(());
            }
            if Instant::now() > bound {
                return Err(Failure::Failed("the station does not answer".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// SIGKILL: no chance to tidy up.
    pub(super) async fn kill_station(&mut self) -> Result<(), Failure> {
        let mut station = self.station.take().expect("the station runs");
        station.kill().await
    }

    pub(super) fn station_id(&self) -> u32 {
        self.station.as_ref().map_or(0, Child::id)
    }

    /// Writes the pool's join token to where the units look for it.
    pub(super) async fn save_join_token(&self) -> Result<(), Failure> {
        let token = self.client().join_token().await?;
        self.write_secret("join-token", token.token.expose())
    }

    /// A file that nobody else may read.
    pub(super) fn write_secret(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Failure::os(format!("write {}", path.display())))
    }

    pub(super) fn start_unit(&mut self, name: &str, media: Media) -> Result<(), Failure> {
        let (mut file, mut memory) = (Vec::new(), Vec::new());
        match media {
            Media::File(Size(size)) => {
                file.push(FileDevice { path: self.path(&format!("{name}.img")), size });
            }
            Media::Memory(Size(size)) => memory.push(MemoryDevice { name: "ram0", size }),
        }
        let config = self.path(&format!("{name}.toml"));
        let contents = UnitFile {
            name,
            state_dir: self.path(name),
            listen: ["127.0.0.1:0"],
            pool: POOL,
            api_listen: "127.0.0.1:0",
            station: format!("127.0.0.1:{}", self.ports.1),
            join_token_file: self.path("join-token"),
            shards: 2,
            buffer_memory: "64M",
            file,
            memory,
        };
        write_toml(&config, &contents)?;
        self.units.push(Child::start(name, "unit", &config, self.directory.path())?);
        Ok(())
    }

    /// The unit as a process; from now on it may end.
    pub(super) fn take_unit(&mut self, name: &str) -> Child {
        let index = self.units.iter().position(|unit| unit.name == name);
        self.units.remove(index.expect("the unit runs"))
    }

    /// Shows the pool's events until `is_so` says yes.
    pub(super) async fn until<F>(
        &mut self,
        show: &Show,
        what: &str,
        at_most: Duration,
        is_so: impl Fn(Client) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<bool, outband_pool_api::Error>>,
    {
        let started = Instant::now();
        loop {
            self.check_children()?;
            let so = is_so(self.client()).await?;
            self.show_events(show).await?;
            if so {
                return Ok(());
            }
            if started.elapsed() > at_most {
                let at_most = at_most.as_secs();
                return Err(Failure::Failed(format!("{what} did not happen within {at_most} s")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Shows what has happened in the pool since the last time.
    pub(super) async fn show_events(&mut self, show: &Show) -> Result<(), Failure> {
        let client = self.client();
        for event in client.events(self.seen).await? {
            self.seen = event.number;
            let what = match event.kind.as_str() {
                "unit-started" => format!("startup: {}", event.text),
                "unit-need-info" => format!("need storage info: the station {}", event.text),
                "unit-enrolled" => format!("enrolled: {}", event.text),
                "unit-inventory" => inventory(&client.unit(&event.subject).await?),
                "unit-joined" => format!("joined: {}", event.text),
                "unit-left" => format!("shutdown: {}", event.text),
                "host-added" => format!("registered: {}", event.text),
                "job-done" => event.text,
                kind => format!("{kind}: {}", event.text),
            };
            show.line(&event.subject, &what);
        }
        Ok(())
    }

    /// None of the children may end by itself.
    fn check_children(&mut self) -> Result<(), Failure> {
        for child in self.station.iter_mut().chain(&mut self.units) {
            if let Some(status) = child.ended() {
                let name = &child.name;
                return Err(Failure::Failed(format!("{name} ended by itself, with {status}")));
            }
        }
        Ok(())
    }

    /// Waits until a child has ended by itself.
    pub(super) async fn child_ended(&mut self) -> Failure {
        loop {
            if let Err(ended) = self.check_children() {
                return ended;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The last lines of every log.
    pub(super) fn tails(&self, lines: usize) -> Vec<(String, String)> {
        let children = self.station.iter().chain(&self.units);
        children.map(|child| (child.name.clone(), child.tail(lines))).collect()
    }

    /// Stops everything in order. Units first, so that the station hears them leave.
    pub(super) async fn end(mut self) {
        for unit in &self.units {
            unit.terminate();
        }
        for unit in &mut self.units {
            // Whatever is wrong with it, it is gone after this.
            let _ = unit.stopped().await;
        }
        if let Some(station) = &mut self.station {
            station.terminate();
            let _ = station.stopped().await;
        }
    }
}

/// Devices and volumes, as the station has them from the unit.
fn inventory(unit: &Unit) -> String {
    let devices = unit.devices.iter().map(|device| {
        let name = Path::new(&device.path).file_name().unwrap_or_default();
        let kind = if device.volatile { "memory" } else { "file" };
        format!("{kind} {} of {}", name.to_string_lossy(), device.total)
    });
    let devices: Vec<String> = devices.collect();
    let volumes = match unit.volumes {
        1 => "1 volume".to_owned(),
        count => format!("{count} volumes"),
    };
    format!("inventory: {}, {volumes}", devices.join(", "))
}

fn write_toml<T: Serialize>(path: &Path, contents: &T) -> Result<(), Failure> {
    let text = toml::to_string(contents).expect("paths in a temporary directory are Unicode");
    std::fs::write(path, text).map_err(Failure::os(format!("write {}", path.display())))
}

/// A free TCP port and a free UDP port.
fn free_ports() -> Result<(u16, u16), Failure> {
    let seed = Random::seed().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut random = Random::new(seed);
    let width = u64::from(PORTS.end - PORTS.start);
    for _ in 0..1000 {
        let offset = u16::try_from(random.below(width)).expect("the width is a u16");
        let (tcp, udp) =
            (PORTS.start + offset, PORTS.start + (offset + 1) % (PORTS.end - PORTS.start));
        let local = Ipv4Addr::LOCALHOST;
        if TcpListener::bind((local, tcp)).is_ok() && UdpSocket::bind((local, udp)).is_ok() {
            return Ok((tcp, udp));
        }
    }
    Err(Failure::Failed("no free port on 127.0.0.1 was found".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_are_what_the_programs_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut ground = Ground::choose(Some(directory.path())).unwrap();
        ground.parent = directory.path().to_owned();
        let path = directory.path().join("unit.toml");
        let file = UnitFile {
            name: "unit-1",
            state_dir: directory.path().join("state"),
            listen: ["127.0.0.1:0"],
            pool: POOL,
            api_listen: "127.0.0.1:0",
            station: "127.0.0.1:1".to_owned(),
            join_token_file: directory.path().join("join-token"),
            shards: 2,
            buffer_memory: "64M",
            file: vec![FileDevice { path: directory.path().join("a.img"), size: 1 << 30 }],
            memory: vec![MemoryDevice { name: "ram0", size: 1 << 30 }],
        };
        write_toml(&path, &file).unwrap();
        outband_target_server::unit::UnitConfig::load(&path).unwrap();
        let path = directory.path().join("station.toml");
        let file = StationFile {
            state_dir: directory.path(),
            pool: POOL,
            listen: "127.0.0.1:0".to_owned(),
            announce: "127.0.0.1:0".to_owned(),
            policy: "auto",
            quarantine: Quarantine::default(),
        };
        write_toml(&path, &file).unwrap();
        outband_pool_manager::config::Config::load(&path).unwrap();
    }
}
