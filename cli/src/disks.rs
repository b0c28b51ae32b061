//! Where the data is: a file, a volume by its iSCSI URL, or a volume of the pool by its name; and
//! as whom a volume is opened.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use outband_initiator::{Config, DigestWish, Discovery, Disk, Error};
use outband_pool_api::Secret;

use crate::failure::Failure;
use crate::link::StationArgs;

const VOLUME: &str = "volume:";
const URL: &str = "iscsi://";

/// One end of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    /// `iscsi://[USER[%SECRET]@]HOST[:PORT]/TARGET/LUN`, as other initiators write it.
    Url {
        url: String,
        user: Option<String>,
        secret: Option<Secret>,
    },
    /// `volume:NAME`, through the station.
    Volume(String),
}

/// Whatever is no URL and no `volume:` is a path.
impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if let Some(name) = text.strip_prefix(VOLUME) {
            return Ok(Self::Volume(name.to_owned()));
        }
        let Some(rest) = text.strip_prefix(URL) else {
            return Ok(Self::File(text.into()));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((who, portal)) = authority.rsplit_once('@') else {
            return Ok(Self::Url { url: text.to_owned(), user: None, secret: None });
        };
        let (user, secret) = match who.split_once('%') {
            Some((user, secret)) => (user, Some(Secret::new(secret))),
            None => (who, None),
        };
        let url = format!("{URL}{portal}/{path}");
        Ok(Self::Url { url, user: Some(user.to_owned()), secret })
    }
}

/// Without a secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url { url, .. } => f.write_str(url),
            Self::Volume(name) => write!(f, "{VOLUME}{name}"),
        }
    }
}

/// As whom a volume is opened. For `volume:NAME` the station says it.
#[derive(Args, Debug)]
#[command(next_help_heading = "This host, for iscsi:// URLs and portals")]
pub(crate) struct HostArgs {
    /// This host's iSCSI initiator name; made of the machine's name if not given
    #[arg(long, value_name = "IQN", env = "OUTBAND_INITIATOR")]
    initiator: Option<String>,
    /// The CHAP user; it may stand in the URL too, as iscsi://USER@HOST/…
    #[arg(long, value_name = "NAME", env = "OUTBAND_CHAP_USER")]
    chap_user: Option<String>,
    /// A file with the CHAP secret; the environment variable OUTBAND_CHAP_SECRET is read without it
    #[arg(long, visible_alias = "secret-file", value_name = "FILE")]
    chap_secret_file: Option<PathBuf>,
    /// Use no volume without CRC32C over headers and data; without this it is used where the target
    /// agrees
    #[arg(long, conflicts_with = "no_digests")]
    digests: bool,
    /// Use no CRC32C
    #[arg(long)]
    no_digests: bool,
}

impl HostArgs {
    /// How to open `place`, which is no file.
    pub(crate) async fn config(
        &self,
        place: &Place,
        station: &StationArgs,
    ) -> Result<Config, Failure> {
        let config = match place {
            Place::File(path) => {
                let path = path.display();
                return Err(Failure::Usage(format!(
                    "{path} is no volume; write volume:NAME or iscsi://HOST/TARGET/LUN"
                )));
            }
            Place::Url { url, user, secret } => {
                let config = Config::from_url(url)
                    .map_err(Failure::disk("the URL is not right"))?
                    .initiator(self.name());
                match self.credentials(user.as_deref(), secret.as_ref())? {
                    Some((user, secret)) => config.chap(user, secret),
                    None => config,
                }
            }
            Place::Volume(name) => {
                let volume = station.client()?.volume(name).await?;
                let Some(connection) = &volume.connection else {
                    let state = volume.state;
                    return Err(Failure::Refused(format!(
                        "{place} is {state}: no host may use it; see outband volume assign"
                    )));
                };
                Config::try_from(connection).map_err(Failure::disk(format!("opening {place}")))?
            }
        };
        Ok(match (self.digests, self.no_digests) {
            (true, _) => config.digests(DigestWish::Require),
            (_, true) => config.digests(DigestWish::Never),
            _ => config,
        })
    }

    /// Logs in to `place`.
    pub(crate) async fn open(&self, place: &Place, station: &StationArgs) -> Result<Disk, Failure> {
        let config = self.config(place, station).await?;
        Disk::connect(config).await.map_err(Failure::disk(format!("opening {place}")))
    }

    pub(crate) fn discovery(&self, portal: &str) -> Result<Discovery, Failure> {
        let discovery = Discovery::new(portal, self.name());
        Ok(match self.credentials(None, None)? {
            Some((user, secret)) => discovery.chap(user, secret),
            None => discovery,
        })
    }

    fn name(&self) -> String {
        self.initiator.clone().unwrap_or_else(|| {
            let system = rustix::system::uname();
            default_name(&system.nodename().to_string_lossy())
        })
    }

    /// User and secret, from the URL or from the options; both or neither.
    fn credentials(
        &self,
        user: Option<&str>,
        secret: Option<&Secret>,
    ) -> Result<Option<(String, String)>, Failure> {
        let user = user.or(self.chap_user.as_deref());
        let secret = match (secret, &self.chap_secret_file) {
            (Some(secret), _) => Some(secret.expose().to_owned()),
            (None, Some(path)) => Some(read_secret(path)?),
            (None, None) => std::env::var("OUTBAND_CHAP_SECRET").ok(),
        };
        match (user, secret) {
            (Some(user), Some(secret)) => Ok(Some((user.to_owned(), secret))),
            (None, None) => Ok(None),
            (Some(user), None) => Err(Failure::Usage(format!(
                "the CHAP secret of {user} is missing; give it with --chap-secret-file FILE"
            ))),
            (None, Some(_)) => Err(Failure::Usage(
                "a CHAP secret is given, so say with --chap-user whose it is".to_owned(),
            )),
        }
    }
}

fn read_secret(path: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!("cannot read the CHAP secret in {}: {error}", path.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A name of this machine that an iSCSI name can hold.
fn default_name(machine: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '.') => c,
        _ => '-',
    };
    let machine: String = machine.chars().map(fit).take(63).collect();
    let machine = if machine.is_empty() { "host" } else { &machine };
    format!("iqn.2026-11.local.outband.host:{machine}")
}

/// Why a login did not succeed, as the number on the wire, if it was the target that refused.
pub(crate) fn refusal(error: &Error) -> Option<String> {
    match error {
        Error::Denied(status) | Error::Refused(status) => Some(status.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str, user: Option<&str>, secret: Option<&str>) -> Place {
        let user = user.map(|user| user.to_owned());
        Place::Url { url: url.to_owned(), user, secret: secret.map(Secret::new) }
    }

    #[test]
    fn a_place_is_a_url_a_volume_or_a_path() {
        let table = [
            ("disk.img", Place::File("disk.img".into())),
            ("./volume:a", Place::File("./volume:a".into())),
            ("volume:a", Place::Volume("a".into())),
            ("iscsi://h:1/t/0", url("iscsi://h:1/t/0", None, None)),
            ("iscsi://u@h/t/0", url("iscsi://h/t/0", Some("u"), None)),
            ("iscsi://u%s@cret@h/t/0", url("iscsi://h/t/0", Some("u"), Some("s@cret"))),
        ];
        for (text, place) in table {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
    }

    #[test]
    fn a_place_is_shown_without_its_secret() {
        let place: Place = "iscsi://user%hush-hush@h/t/0".parse().unwrap();
        assert_eq!(place.to_string(), "iscsi://h/t/0");
    }

    #[test]
    fn a_machine_of_any_name_has_an_initiator_name() {
        assert_eq!(default_name("Db_1.Example"), "iqn.2026-11.local.outband.host:db-1.example");
        assert_eq!(default_name(""), "iqn.2026-11.local.outband.host:host");
    }
}
