//! Where the load goes: `iscsi://ADDR:PORT/TARGET/LUN` or `nbd://ADDR:PORT/EXPORT`.

use std::net::SocketAddr;
use std::str::FromStr;

use outband_protocol::ids::IscsiName;

/// A server and what to use of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Url {
    /// A logical unit.
    Iscsi(IscsiUrl),
    /// An export.
    Nbd(NbdUrl),
}

/// A logical unit of a target. Addresses are numbers: a load waits for no name server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IscsiUrl {
    /// The target's portal.
    pub portal: SocketAddr,
    /// TargetName.
    pub target: IscsiName,
    /// Below 256.
    pub lun: u8,
}

/// An export of an NBD server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NbdUrl {
    /// Where it listens.
    pub server: SocketAddr,
    /// The export's name; most have one without a name.
    pub export: String,
}

/// The text names no server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a load goes to iscsi://ADDRESS:PORT/TARGET/LUN or nbd://ADDRESS:PORT/EXPORT, not to {0}")]
pub struct BadUrl(String);

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = match text.split_once("://") {
            Some(("iscsi", rest)) => iscsi(rest).map(Self::Iscsi),
            Some(("nbd", rest)) => nbd(rest).map(Self::Nbd),
            _ => None,
        };
        url.ok_or_else(|| BadUrl(text.to_owned()))
    }
}

fn iscsi(text: &str) -> Option<IscsiUrl> {
    let (portal, rest) = text.split_once('/')?;
    let (target, lun) = rest.rsplit_once('/')?;
    let (portal, lun) = (portal.parse().ok()?, lun.parse().ok()?);
    Some(IscsiUrl { portal, target: IscsiName::new(target).ok()?, lun })
}

fn nbd(text: &str) -> Option<NbdUrl> {
    let (server, export) = text.split_once('/').unwrap_or((text, ""));
    Some(NbdUrl { server: server.parse().ok()?, export: export.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_others_are_not() {
        let url = "iscsi://127.0.0.1:3260/iqn.2026-11.local.outband:local:disk/1".parse().unwrap();
        let Url::Iscsi(url) = url else { panic!("not iSCSI") };
        assert_eq!((url.portal.port(), url.lun), (3260, 1));
        assert_eq!(url.target.as_str(), "iqn.2026-11.local.outband:local:disk");
        let Ok(Url::Nbd(url)) = "nbd://[::1]:10809".parse() else { panic!("not NBD") };
        assert_eq!(url.export, "");
        for text in ["", "iscsi://h/t/0", "iscsi://127.0.0.1:1/t", "http://127.0.0.1:1/"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
