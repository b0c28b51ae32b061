//! Who may log in to what, and where it lives: an immutable snapshot, swapped whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use outband_control::access::AccessTable;
use outband_protocol::ids::IscsiName;
use outband_protocol::scsi::copy::Cscd;
use uuid::Uuid;

use crate::scsi::is_named;

/// What every shard knows of the whole unit.
#[derive(Clone, Debug)]
pub struct Exports {
    /// Grants and credentials.
    pub access: AccessTable,
    /// Targets by iSCSI name.
    pub targets: BTreeMap<String, Route>,
    /// What SendTargets announces: never a wildcard.
    pub portals: Vec<Portal>,
}

/// A portal as hosts are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Where hosts connect to.
    pub address: SocketAddr,
    /// TargetPortalGroupTag: portals of one network share it.
    pub group: u16,
}

/// The portal group of portals that name no network.
pub const DEFAULT_GROUP: u16 = 1;

impl From<SocketAddr> for Portal {
    fn from(address: SocketAddr) -> Self {
        Self { address, group: DEFAULT_GROUP }
    }
}

/// Where a target lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of its shard.
    pub shard: usize,
    /// Identity of the volume.
    pub volume: Uuid,
    /// Identity of the target: the volume's, or a partition's.
    pub target: Uuid,
    /// Bytes in a block of it.
    pub block_size: u32,
    /// Blocks on it.
    pub blocks: u64,
}

impl Exports {
    /// Nothing for nobody.
    pub fn new(access: AccessTable, portals: Vec<Portal>) -> Self {
        Self { access, targets: BTreeMap::new(), portals }
    }

    /// The way to a target by its iSCSI name.
    pub fn route(&self, target: &IscsiName) -> Option<Route> {
        self.targets.get(target.as_str()).copied()
    }

    /// The target whose logical unit a descriptor of EXTENDED COPY means.
    pub fn named(&self, cscd: &Cscd) -> Option<(&str, Route)> {
        let found = self.targets.iter().find(|(_, route)| is_named(route.target, cscd));
        found.map(|(name, route)| (name.as_str(), *route))
    }

    /// The iSCSI names of the targets that `host` may use from `source` and that are here, or that
    /// it is sent on from here to.
    pub fn visible_to(&self, host: &IscsiName, source: IpAddr) -> impl Iterator<Item = String> {
        self.access.visible_to(host.as_str(), source).filter(move |name| {
            self.targets.contains_key(name.as_str())
                || self.access.redirect_for(host.as_str(), source, name).is_some()
        })
    }
}
