//! The unit's configuration file: its shape, its defaults, and what may not be.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use outband_control::config_file::{self, ConfigError};
use outband_control::secret::JoinToken;
use outband_pool_api::Size;
use outband_protocol::scsi::port_groups::PORTS_MAX;
use serde::Deserialize;

use crate::exports::Portal;

/// A hundredth of a second: a thread that looks for longer hardly ever sleeps.
pub const BUSY_POLL_US_MAX: u16 = 10_000;

/// Of `buffer_memory`, for each shard: a burst of a MiB goes through a buffer of its own, and with less
/// than twice that it would wait for all others, if not for ever.
const SHARD_MEMORY_MIN: u64 = 2 << 20;

/// `unit.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitConfig {
    /// What people call this unit; the machine's host name if not said.
    pub name: String,
    /// Where the unit keeps its identity, its catalog and its grants.
    pub state_dir: PathBuf,
    /// iSCSI portals of no particular network; one on loopback if no portal is named at all.
    pub listen: Option<Vec<SocketAddr>>,
    /// How hosts reach those portals; needed where `listen` has a wildcard.
    pub advertise: Vec<Advertised>,
    /// iSCSI portals that name their network.
    pub portal: Vec<PortalConfig>,
    /// The pool's name, a part of every target name.
    pub pool: String,
    /// The unit API, which the station calls.
    pub api_listen: SocketAddr,
    /// How the station reaches it.
    pub api_advertise: Option<SocketAddr>,
    /// Where the station hears announcements, `host:port`; without one the unit works by itself.
    pub station: Option<String>,
    /// The pool's join token.
    pub join_token: Option<String>,
    /// A file with it.
    pub join_token_file: Option<PathBuf>,
    /// Threads that serve; one a processor if not said.
    pub shards: Option<NonZeroU16>,
    /// Memory for data in flight.
    pub buffer_memory: Option<Size>,
    /// Where `GET /metrics` is answered in the clear, with figures for a monitoring system; nowhere
    /// if not said.
    pub metrics_listen: Option<SocketAddr>,
    /// Commands that take so many milliseconds or longer are named in the log; none if not said.
    pub slow_io_ms: Option<NonZeroU64>,
    /// Microseconds for which a thread that has nothing to do looks for something before it sleeps,
    /// at most 10,000; none if not said.
    pub busy_poll_us: u16,
    /// Devices of memory, gone with the process.
    pub memory: Vec<MemoryDevice>,
    /// Files taken as devices at the start, and made if they are not there.
    pub file: Vec<FileDevice>,
}

/// A portal of a network. Portals of one network are one portal group: hosts that reach one of
/// them reach all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortalConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How hosts reach it; needed where `listen` is a wildcard.
    pub advertise: Option<Advertised>,
    /// What people call the network.
    pub network: String,
}

/// A device of memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryDevice {
    /// What it is called.
    pub name: String,
    /// How large it is.
    pub size: Size,
}

/// A file that is a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDevice {
    /// Where it is.
    pub path: PathBuf,
    /// How large to make it if it is not there.
    pub size: Size,
    /// Reads and writes go through the page cache and not around it.
    #[serde(default)]
    pub page_cache: bool,
}

/// An address with or without a port; 0 stands for the portal's own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Advertised(pub SocketAddr);

impl TryFrom<String> for Advertised {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(address) = SocketAddr::from_str(&text) {
            return Ok(Self(address));
        }
        IpAddr::from_str(&text)
            .map(|ip| Self(SocketAddr::new(ip, 0)))
            .map_err(|_| format!("\"{text}\" is neither an address nor an address and a port"))
    }
}

impl Default for UnitConfig {
    fn default() -> Self {
        Self {
            name: host_name(),
            state_dir: "/var/lib/outband-target".into(),
            listen: None,
            advertise: Vec::new(),
            portal: Vec::new(),
            pool: "main".to_owned(),
            api_listen: SocketAddr::from(([0, 0, 0, 0], 3261)),
            api_advertise: None,
            station: None,
            join_token: None,
            join_token_file: None,
            shards: None,
            buffer_memory: None,
            metrics_listen: None,
            slow_io_ms: None,
            busy_poll_us: 0,
            memory: Vec::new(),
            file: Vec::new(),
        }
    }
}

fn processors() -> u16 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unit".to_owned() } else { name }
}

impl UnitConfig {
    /// Reads and checks `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config_file::load(path)?;
        config.check().map_err(|what| ConfigError::Wrong { path: path.to_owned(), what })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.listen.as_ref().is_some_and(Vec::is_empty) && self.portal.is_empty() {
            return Err("listen names no portal; say for example [\"0.0.0.0:3260\"]".to_owned());
        }
        let networks: BTreeSet<&str> = self.portal.iter().map(|at| at.network.as_str()).collect();
        // Portals without a network are one, too.
        if networks.len() >= PORTS_MAX {
            let most = PORTS_MAX - 1;
            return Err(format!(
                "[[portal]] names {} networks; {most} is the most",
                networks.len()
            ));
        }
        let plain = self.listen.iter().flatten().filter(|_| self.advertise.is_empty());
        let named = self.portal.iter().filter(|portal| portal.advertise.is_none());
        let untold = plain.chain(named.map(|portal| &portal.listen));
        if let Some(wildcard) = untold.into_iter().find(|address| address.ip().is_unspecified()) {
            return Err(format!(
                "listen has {wildcard}, which no host can connect to; say in advertise which \
                 address hosts are to use"
            ));
        }
        if self.busy_poll_us > BUSY_POLL_US_MAX {
            let asked = self.busy_poll_us;
            return Err(format!("busy_poll_us is {asked}; {BUSY_POLL_US_MAX} is the most"));
        }
        let shards = self.shards.map_or_else(processors, NonZeroU16::get);
        let least = u64::from(shards) * SHARD_MEMORY_MIN;
        if self.buffer_memory.is_some_and(|memory| memory.0 < least) {
            let least = least >> 20;
            return Err(format!("buffer_memory for {shards} shards is {least}MiB or more"));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if self.pool.is_empty() || !self.pool.chars().all(fits) {
            return Err(format!("pool \"{}\" must be a-z, 0-9, '-' and '.'", self.pool));
        }
        match (&self.station, &self.join_token, &self.join_token_file) {
            (Some(_), None, None) => {
                Err("station is given, so join_token_file (or join_token) is needed too".to_owned())
            }
            (_, Some(_), Some(_)) => {
                Err("join_token and join_token_file are given; leave one away".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Every portal: where to listen, and its portal group tag. A network has the tag of its first
    /// mention, so that portals added at the end change none.
    pub fn portals(&self) -> Vec<Portal> {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 3260));
        let plain = match (&self.listen, self.portal.is_empty()) {
            (Some(listen), _) => listen.clone(),
            (None, true) => vec![loopback],
            (None, false) => Vec::new(),
        };
        let mut networks: Vec<Option<&str>> = Vec::new();
        let mut group = |network| {
            let known = networks.iter().position(|known| *known == network);
            let at = known.unwrap_or_else(|| {
                networks.push(network);
                networks.len() - 1
            });
            u16::try_from(at + 1).unwrap_or(u16::MAX)
        };
        let plain = plain.into_iter().map(|address| (address, None));
        let named = self.portal.iter().map(|portal| (portal.listen, Some(portal.network.as_str())));
        let portal = |(address, network)| Portal { address, group: group(network) };
        plain.chain(named).map(portal).collect()
    }

    /// How hosts are told of them; empty when just as they listen.
    pub fn advertised(&self) -> Vec<Portal> {
        let listens = self.portals();
        let (plain, named) = listens.split_at(listens.len() - self.portal.len());
        if self.advertise.is_empty() && self.portal.iter().all(|portal| portal.advertise.is_none())
        {
            return Vec::new();
        }
        let told = |at: &Portal, told: Advertised| {
            let port = if told.0.port() == 0 { at.address.port() } else { told.0.port() };
            Portal { address: SocketAddr::new(told.0.ip(), port), group: at.group }
        };
        let mut all = if self.advertise.is_empty() { plain.to_vec() } else { Vec::new() };
        for (place, address) in self.advertise.iter().enumerate() {
            // One that listens everywhere may be told of by several addresses.
            all.extend(plain.get(place).or_else(|| plain.first()).map(|at| told(at, *address)));
        }
        let named = named.iter().zip(&self.portal);
        all.extend(named.map(|(at, portal)| portal.advertise.map_or(*at, |to| told(at, to))));
        all
    }

    /// The pool's join token.
    pub fn token(&self) -> io::Result<JoinToken> {
        let text = match (&self.join_token, &self.join_token_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?,
            (None, None) => String::new(),
        };
        Ok(JoinToken::new(text.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UnitConfig, String> {
        let config: UnitConfig =
            config_file::parse(Path::new("unit.toml"), text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn the_example_works_as_shipped() {
        let config = parse(include_str!("../../examples/unit.toml")).unwrap();
        assert_eq!(config.listen.unwrap(), [SocketAddr::from(([0, 0, 0, 0], 3260))]);
    }

    #[test]
    fn a_mistyped_key_is_answered_by_its_line_and_the_nearest_key() {
        let refused = parse("name = \"a\"\nstaet_dir = \"/x\"\n").unwrap_err();
        assert_eq!(refused, "unit.toml:2: unknown key \"staet_dir\"; did you mean \"state_dir\"?");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(parse("listen = [\"0.0.0.0:3260\"]").unwrap_err().contains("advertise"));
        assert!(parse("station = \"s:7444\"").unwrap_err().contains("join_token_file"));
        assert!(parse("pool = \"Main\"").unwrap_err().contains("a-z"));
        assert!(parse("advertise = [\"here\"]").unwrap_err().contains("neither"));
        assert!(parse("listen = []").unwrap_err().contains("no portal"));
        let little = parse("shards = 3\nbuffer_memory = \"5MiB\"").unwrap_err();
        assert_eq!(little, "buffer_memory for 3 shards is 6MiB or more");
        assert!(parse("shards = 3\nbuffer_memory = \"6MiB\"").is_ok());
        assert!(parse("busy_poll_us = 10001").unwrap_err().contains("10000 is the most"));
    }

    #[test]
    fn portals_of_one_network_are_one_portal_group() {
        let shown = |portals: Vec<Portal>| -> Vec<String> {
            portals.iter().map(|at| format!("{},{}", at.address, at.group)).collect()
        };
        let check = |text: &str, listens: &[&str], told: &[&str]| {
            let config = parse(text).unwrap();
            assert_eq!(shown(config.portals()), listens, "{text}");
            assert_eq!(shown(config.advertised()), told, "{text}");
        };
        check("", &["127.0.0.1:3260,1"], &[]);
        let several = "listen = [\"0.0.0.0:3260\"]\nadvertise = [\"10.0.0.5\", \"10.3.0.5:860\"]\n";
        check(several, &["0.0.0.0:3260,1"], &["10.0.0.5:3260,1", "10.3.0.5:860,1"]);
        let named = "[[portal]]\nlisten = \"10.1.0.5:3260\"\nnetwork = \"blue\"\n\
                     [[portal]]\nlisten = \"10.2.0.5:3260\"\nnetwork = \"red\"\n";
        check(named, &["10.1.0.5:3260,1", "10.2.0.5:3260,2"], &[]);
        let third = "[[portal]]\nlisten = \"0.0.0.0:3261\"\nadvertise = \"10.1.0.6\"\n\
                     network = \"blue\"\n";
        let listens = ["10.1.0.5:3260,1", "10.2.0.5:3260,2", "0.0.0.0:3261,1"];
        let told = ["10.1.0.5:3260,1", "10.2.0.5:3260,2", "10.1.0.6:3261,1"];
        check(&format!("{named}{third}"), &listens, &told);
        let listens = ["0.0.0.0:3260,1", "10.1.0.5:3260,2", "10.2.0.5:3260,3"];
        let told = ["10.0.0.5:3260,1", "10.3.0.5:860,1", "10.1.0.5:3260,2", "10.2.0.5:3260,3"];
        check(&format!("{several}{named}"), &listens, &told);
        let untold = "[[portal]]\nlisten = \"0.0.0.0:3260\"\nnetwork = \"blue\"\n";
        assert!(parse(untold).unwrap_err().contains("advertise"));
    }

    #[test]
    fn more_networks_than_target_ports_can_be_counted_are_refused() {
        let portals = |count: usize| {
            let portal = |at: usize| {
                let listen = format!("\"10.0.{at}.5:3260\"");
                format!("[[portal]]\nlisten = {listen}\nnetwork = \"n{at}\"\n")
            };
            (0..count).map(portal).collect::<String>()
        };
        assert_eq!(parse(&portals(254)).unwrap().portals().len(), 254);
        let refused = parse(&portals(255)).unwrap_err();
        assert_eq!(refused, "[[portal]] names 255 networks; 254 is the most");
    }

    #[test]
    fn an_advertised_address_may_go_without_a_port() {
        let config = parse("advertise = [\"192.0.2.1\", \"[2001:db8::1]:3261\"]").unwrap();
        assert_eq!(config.advertise[0].0.port(), 0);
        assert_eq!(config.advertise[1].0.port(), 3261);
    }
}
