//! The unit's configuration file: its shape, its defaults, and what may not be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use outband_control::config_file::{self, ConfigError};
use outband_control::secret::JoinToken;
use outband_pool_api::Size;
use serde::Deserialize;

/// `unit.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitConfig {
    /// What people call this unit; the machine's host name if not said.
    pub name: String,
    /// Where the unit keeps its identity, its catalog and its grants.
    pub state_dir: PathBuf,
    /// iSCSI portals.
    pub listen: Vec<SocketAddr>,
    /// How hosts reach those portals; needed where `listen` has a wildcard.
    pub advertise: Vec<Advertised>,
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
    /// Devices of memory, gone with the process.
    pub memory: Vec<MemoryDevice>,
    /// Files taken as devices at the start, and made if they are not there.
    pub file: Vec<FileDevice>,
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
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 3260))],
            advertise: Vec::new(),
            pool: "main".to_owned(),
            api_listen: SocketAddr::from(([0, 0, 0, 0], 3261)),
            api_advertise: None,
            station: None,
            join_token: None,
            join_token_file: None,
            shards: None,
            buffer_memory: None,
            memory: Vec::new(),
            file: Vec::new(),
        }
    }
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
        if self.listen.is_empty() {
            return Err("listen names no portal; say for example [\"0.0.0.0:3260\"]".to_owned());
        }
        let wildcard = self.listen.iter().find(|address| address.ip().is_unspecified());
        if let (Some(wildcard), true) = (wildcard, self.advertise.is_empty()) {
            return Err(format!(
                "listen has {wildcard}, which no host can connect to; say in advertise which \
                 address hosts are to use"
            ));
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
        assert_eq!(config.listen, [SocketAddr::from(([0, 0, 0, 0], 3260))]);
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
    }

    #[test]
    fn an_advertised_address_may_go_without_a_port() {
        let config = parse("advertise = [\"192.0.2.1\", \"[2001:db8::1]:3261\"]").unwrap();
        assert_eq!(config.advertise[0].0.port(), 0);
        assert_eq!(config.advertise[1].0.port(), 3261);
    }
}
