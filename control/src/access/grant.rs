//! One grant, and what it is made of.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::secret::Secret;

/// The host of a grant that is for every host. Only the unit itself makes such grants, for
/// `outband-target serve --any-host`; no initiator name looks like it and the API refuses it.
pub const ANY_HOST: &str = "*";

/// A number drawn from a volume's counter for each grant. It only grows. No grant has 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next one.
    ///
    /// # Panics
    /// After 2⁶⁴ grants of one volume.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a volume is granted fewer than 2^64 times"))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// This host may use this volume or partition, with these credentials, from this epoch on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The volume or partition.
    pub subject: Subject,
    /// The host's initiator name, or [`ANY_HOST`].
    pub host: String,
    /// What the host proves itself with. The same for all grants of a host.
    #[serde(default)]
    pub chap: Option<Chap>,
    /// Where the host may come from; empty is anywhere.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Drawn by the station for this grant alone.
    pub epoch: Epoch,
    /// Sessions that the host may have to one portal from one address.
    #[serde(default = "one_session")]
    pub sessions_per_portal: u16,
}

fn one_session() -> u16 {
    1
}

impl Grant {
    pub(super) fn is_for(&self, host: &str) -> bool {
        self.host == host || self.host == ANY_HOST
    }

    pub(super) fn takes(&self, source: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|net| net.contains(source))
    }
}

/// CHAP credentials of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chap {
    /// The name that the host gives.
    pub user: String,
    /// The secret that it proves to know.
    pub secret: Secret,
    /// What the target proves in turn, when the host asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual: Option<Mutual>,
}

/// The target's side of mutual CHAP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutual {
    /// The name that the target gives.
    pub user: String,
    /// The secret that it proves to know.
    pub secret: Secret,
}

/// An address, or a network of them (`10.0.0.0/24`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    net: IpAddr,
    prefix: u8,
}

/// Not an address or network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address, or an address, `/` and the length of a prefix")]
pub struct BadSource(String);

impl Source {
    /// Whether `address` is in this network. An IPv4 address that a dual-stack socket shows as an
    /// IPv6 one is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_top = |a: u128, b: u128, width: u32| {
            let ignored = width - u32::from(self.prefix);
            (a ^ b).checked_shr(ignored).unwrap_or(0) == 0
        };
        match (self.net, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                same_top(net.to_bits().into(), address.to_bits().into(), 32)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                same_top(net.to_bits(), address.to_bits(), 128)
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        let net = address.to_canonical();
        Self { net, prefix: if net.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Source {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let bad = || BadSource(text.to_owned());
        let Some((net, prefix)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| bad());
        };
        let whole = Self::from(net.parse::<IpAddr>().map_err(|_| bad())?);
        let prefix =
            prefix.parse().ok().filter(|prefix| *prefix <= whole.prefix).ok_or_else(bad)?;
        Ok(Self { prefix, ..whole })
    }
}

impl TryFrom<String> for Source {
    type Error = BadSource;

    fn try_from(text: String) -> Result<Self, BadSource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.net, self.prefix)
    }
}
