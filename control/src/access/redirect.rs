//! Where hosts are sent that log in to a target which lives elsewhere.

use std::fmt;
use std::str::FromStr;

use outband_protocol::keys::PortalAddress;
use serde::{Deserialize, Serialize};

/// A portal of the target's new place. It is told in a Login Response with status 0101 or 0102
/// (RFC 7143 §11.13.5), to hosts that have a grant on the target and have proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where.
    pub address: RedirectAddress,
    /// Hosts are to remember it (0102). If not, they ask here again at their next login (0101).
    #[serde(default)]
    pub permanent: bool,
}

/// `host[:port]`, an IPv6 address in brackets; never with a portal group tag (§13.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectAddress(PortalAddress);

/// Not such an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not where a host can be sent; write for example 192.0.2.7:3260 or [2001:db8::7]")]
pub struct BadRedirect(String);

impl FromStr for RedirectAddress {
    type Err = BadRedirect;

    fn from_str(text: &str) -> Result<Self, BadRedirect> {
        let address = text.parse::<PortalAddress>().ok().filter(|address| address.tag.is_none());
        let wildcard = |host: &str| {
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
        };
        address
            .filter(|address| !wildcard(&address.host))
            .map(Self)
            .ok_or_else(|| BadRedirect(text.to_owned()))
    }
}

impl TryFrom<String> for RedirectAddress {
    type Error = BadRedirect;

    fn try_from(text: String) -> Result<Self, BadRedirect> {
        text.parse()
    }
}

impl From<RedirectAddress> for String {
    fn from(address: RedirectAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for RedirectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port_and_nothing_else() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7:3260"),
            ("192.0.2.7:860", "192.0.2.7:860"),
            ("[2001:db8::7]", "[2001:db8::7]:3260"),
            ("unit-2.example:3261", "unit-2.example:3261"),
        ] {
            assert_eq!(text.parse::<RedirectAddress>().unwrap().to_string(), shown);
        }
        for text in ["", "192.0.2.7:3260,1", "0.0.0.0:3260", "[::]:1", "a b", "host:0", "host:x"] {
            assert!(text.parse::<RedirectAddress>().is_err(), "{text}");
        }
    }
}
