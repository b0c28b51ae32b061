//! SendTargets: what is asked (§13.3, appendix C), and the records of the answer.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::{TextError, TextQueue, pairs};
use crate::ids::IscsiName;

/// The port of iSCSI.
const PORT: u16 = 3260;

/// What a SendTargets request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Every target that the initiator may see. In discovery sessions only.
    All,
    /// One target.
    Target(IscsiName),
    /// The target of this session.
    ThisTarget,
}

impl Asked {
    /// Reads the value of SendTargets; `None` when it has no meaning.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "All" => Some(Self::All),
            "" => Some(Self::ThisTarget),
            name => IscsiName::new(name).ok().map(Self::Target),
        }
    }
}

/// A TargetAddress: host, port and, but for redirections, the portal group tag.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct PortalAddress {
    /// A name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Portal group tag.
    pub tag: Option<u16>,
}

/// Why a text is no TargetAddress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a target address is host[:port][,tag]")]
pub struct AddressError;

impl PortalAddress {
    /// A portal by its socket address.
    #[must_use]
    pub fn new(address: SocketAddr, tag: Option<u16>) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), tag }
    }
}

impl FromStr for PortalAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (place, tag) = match text.split_once(',') {
            Some((place, tag)) => (place, Some(tag.parse().map_err(|_| AddressError)?)),
            None => (text, None),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']').ok_or(AddressError)?;
                (host, if rest.is_empty() { None } else { Some(rest) })
            }
            None => match place.find(':') {
                Some(at) => (&place[..at], Some(&place[at..])),
                None => (place, None),
            },
        };
        let port = match port {
            Some(port) => {
                port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(AddressError)?
            }
            None => PORT,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(allowed) || port == 0 {
            return Err(AddressError);
        }
        Ok(Self { host: host.to_owned(), port, tag })
    }
}

impl fmt::Display for PortalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        self.tag.map_or(Ok(()), |tag| write!(f, ",{tag}"))
    }
}

/// A target of an answer to SendTargets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetRecord {
    /// Its name.
    pub name: IscsiName,
    /// Where it is; where it was asked for, if there is none.
    pub portals: Vec<PortalAddress>,
}

/// Writes the answer to SendTargets: every target with its portals.
pub fn send_targets(targets: &[TargetRecord], text: &mut TextQueue) {
    for target in targets {
        text.write("TargetName", &target.name);
        for portal in &target.portals {
            text.write("TargetAddress", portal);
        }
    }
}

/// Reads the answer to SendTargets. Records with a name or an address that cannot be one are left
/// out: one odd target does not hide the others.
pub fn parse_targets(text: &[u8]) -> Result<Vec<TargetRecord>, TextError> {
    let mut targets: Vec<TargetRecord> = Vec::new();
    let mut named = false;
    for pair in pairs(text) {
        let pair = pair?;
        match pair.key {
            "TargetName" => {
                let name = IscsiName::new(pair.value);
                named = name.is_ok();
                targets.extend(name.map(|name| TargetRecord { name, portals: Vec::new() }));
            }
            "TargetAddress" if named => {
                let target = targets.last_mut().expect("the last name was taken");
                target.portals.extend(pair.value.parse::<PortalAddress>());
            }
            _ => {}
        }
    }
    Ok(targets)
}
