//! The station's configuration file. Every key has a default; an unknown one is refused with its
//! line and the nearest key there is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use outband_control::config_file::{self, ConfigError};
use serde::Deserialize;

use crate::app::Policy;
use crate::quarantine::Rules;

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the store, the CA and the administrator's token are kept. Made when missing.
    pub state_dir: PathBuf,
    /// The pool's name; it is part of the names of its targets.
    pub pool: String,
    /// Where the API answers, over HTTPS.
    pub listen: SocketAddr,
    /// Where units announce themselves, over UDP.
    pub announce: SocketAddr,
    /// Names and addresses by which clients call this station, for its certificate. `localhost`,
    /// the host's own name and the address of `listen` are in it anyway.
    pub names: Vec<String>,
    /// What becomes of a unit that knows the join token: `approve` or `auto`.
    #[serde(with = "policy")]
    pub policy: Policy,
    /// When a unit that keeps falling over gets nothing new.
    pub quarantine: Rules,
    pub log: Log,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// As tracing has it: `info`, or `info,outband_pool_manager=debug`.
    pub filter: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/outband-pool".into(),
            pool: "main".to_owned(),
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            announce: SocketAddr::from(([0, 0, 0, 0], 7444)),
            names: Vec::new(),
            policy: Policy::Approve,
            quarantine: Rules::default(),
            log: Log::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".to_owned() }
    }
}

mod policy {
    use serde::{Deserialize, Deserializer};

    use crate::app::Policy;

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Approve,
        Auto,
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Policy, D::Error> {
        Ok(match Word::deserialize(from)? {
            Word::Approve => Policy::Approve,
            Word::Auto => Policy::Auto,
        })
    }
}

impl Config {
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::checked(path, config_file::load(path)?)
    }

    /// `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::checked(path, config_file::parse(path, text)?)
    }

    fn checked(path: &Path, config: Self) -> Result<Self, ConfigError> {
        match config.check() {
            Ok(()) => Ok(config),
            Err(what) => Err(ConfigError::Wrong { path: path.to_owned(), what }),
        }
    }

    fn check(&self) -> Result<(), String> {
        crate::names::check("pool", &self.pool).map_err(|problem| problem.detail)?;
        if !self.state_dir.is_absolute() {
            let shown = self.state_dir.display();
            return Err(format!("state_dir must be an absolute path, not {shown}"));
        }
        match self.names.iter().find(|name| name.is_empty() || name.contains(char::is_whitespace)) {
            Some(name) => Err(format!("\"{name}\" in names is no host name or address")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(Path::new("station.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_what_is_the_default_anyway() {
        let example = include_str!("../examples/station.toml");
        let config = Config::parse(Path::new("station.toml"), example).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let text = "pool = \"main\"\n\nlisen = \"0.0.0.0:1\"\n";
        let expected = "station.toml:3: unknown key \"lisen\"; did you mean \"listen\"?";
        assert_eq!(refusal(text), expected);
        let expected = "station.toml:2: unknown key \"fromat\"; did you mean \"format\"?";
        assert_eq!(refusal("[log]\nfromat = \"json\"\n"), expected);
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        assert!(refusal("listen = \"here\"").starts_with("station.toml:1: "));
        assert!(refusal("\npolicy = \"maybe\"").starts_with("station.toml:2: "));
        assert!(refusal("pool = \"Main\"").contains("cannot name a pool"));
        assert!(refusal("state_dir = \"here\"").contains("absolute"));
        assert!(refusal("pool = ").starts_with("station.toml:1: "));
    }
}
