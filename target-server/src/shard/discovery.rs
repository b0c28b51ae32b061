//! Discovery sessions. They belong to no target, so those that must know of each other meet on one
//! shard by their initiator's name.

use outband_protocol::ids::Tsih;
use outband_protocol::login::target::Identity;
use outband_protocol::pdu::LoginStatus;
use outband_ring::Ring;

use super::Shard;
use super::conn::Conn;
use super::peer::Phase;
use super::token::ConnKey;

/// The shard of an initiator port's discovery sessions.
pub(super) fn home(identity: &Identity, shards: usize) -> usize {
    let name = identity.initiator.as_str().bytes().chain(identity.isid.0);
    name.map(usize::from).sum::<usize>() % shards
}

impl<R: Ring> Shard<R> {
    /// Lets a discovery session in, once an older one of the same initiator port by the same portal
    /// has ended (§7.4.2.1); that they name a target makes no difference.
    pub(super) fn admit_discovery(&mut self, key: ConnKey, identity: &Identity) {
        if identity.tsih != Tsih(0) {
            // It is never gone on with.
            return self.refuse(key, LoginStatus::SESSION_DOES_NOT_EXIST);
        }
        let local = self.peers[key].wire.local;
        let is_same = |conn: &Conn| {
            let held = conn.core.identity();
            conn.target.is_none()
                && held.initiator == identity.initiator
                && held.isid == identity.isid
        };
        let peers = self.peers.iter().filter(|(_, peer)| peer.wire.local == local);
        let older = peers.filter(|(_, peer)| match &peer.phase {
            Phase::Inside(conn) => is_same(conn),
            _ => false,
        });
        let older: Vec<_> = older.map(|(key, _)| key).collect();
        if older.is_empty() { self.let_in(key, None, 0) } else { self.replace(key, older) }
    }
}
