//! From accept to full feature phase: the login, the one move to the target's shard, and the older
//! sessions that a new one replaces.

use std::net::IpAddr;
use std::time::Instant;

use outband_control::access::{Credentials as Known, Denied, Redirect};
use outband_protocol::Body;
use outband_protocol::ids::{IscsiName, Tsih};
use outband_protocol::login::target::{Demand, Event, Identity, Login, Settings as LoginSettings};
use outband_protocol::login::{Credentials, Secret};
use outband_protocol::pdu::LoginStatus;
use outband_protocol::scsi::reserve::InitiatorPort;
use outband_protocol::seeded::{self, Bug};
use outband_protocol::target;
use outband_ring::{Fd, Ring};

use super::Shard;
use super::conn::{Conn, Progress};
use super::desk::{Desk, Errand};
use super::discovery;
use super::mailbox::{Handover, Message};
use super::peer::{Continues, Knock, Peer, Phase};
use super::token::{ConnKey, TargetKey};
use super::wire::Wire;

/// Bytes of a CHAP challenge; never the same twice.
const CHALLENGE_LEN: usize = 24;

impl Peer {
    /// Bytes of a login.
    pub(crate) fn on_login<R: Ring>(&mut self, mut input: &[u8], desk: &mut Desk<R>) {
        let Phase::Entering(login) = &mut self.phase else {
            return;
        };
        loop {
            match login.next_event(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Identified(identity))) => {
                    let demand = demand(&identity.initiator, desk);
                    login.require(demand);
                }
                Ok(Some(Event::Ready(identity))) => {
                    let leftover = input.to_vec();
                    return self.on_ready(identity, leftover, desk);
                }
                Ok(Some(Event::Refused(status))) => {
                    tracing::warn!(peer = %self.wire.peer, %status, "login refused");
                    flush_login(login, &mut self.wire, desk);
                    self.phase = Phase::Refused;
                    return;
                }
                Err(error) => return self.leave(&error, desk),
            }
        }
        flush_login(login, &mut self.wire, desk);
    }

    /// Only the final response is missing.
    fn on_ready<R: Ring>(&mut self, identity: Identity, leftover: Vec<u8>, desk: &mut Desk<R>) {
        if let Some(redirect) = elsewhere(&identity, self.wire.peer.ip(), desk) {
            return self.redirect(&redirect, desk);
        }
        let deadline = desk.now + desk.settings.drain_deadline;
        let home = home(&identity, desk);
        let phase = std::mem::replace(&mut self.phase, Phase::Refused);
        let Phase::Entering(login) = phase else {
            return;
        };
        let knock = Box::new(Knock {
            login: *login,
            identity,
            leftover,
            continues: None,
            replaces: Vec::new(),
            deadline,
        });
        if home == desk.settings.index {
            self.phase = Phase::Waiting(knock);
            desk.errands.push_back(Errand::Admit(self.key));
        } else {
            self.phase = Phase::Moving(knock);
        }
    }

    /// Sends the initiator to where the target lives now.
    fn redirect<R: Ring>(&mut self, redirect: &Redirect, desk: &mut Desk<R>) {
        let Phase::Entering(login) = &mut self.phase else {
            return;
        };
        tracing::info!(peer = %self.wire.peer, address = %redirect.address, "login redirected");
        login.redirect(&redirect.address.to_string(), redirect.permanent);
        flush_login(login, &mut self.wire, desk);
        self.phase = Phase::Refused;
    }

    /// Moves to the shard of its target, once nothing of it is with the kernel.
    pub(crate) fn try_move<R: Ring>(&mut self, desk: &mut Desk<R>) {
        let Phase::Moving(knock) = &self.phase else {
            return;
        };
        let home = home(&knock.identity, desk);
        if !self.wire.is_still() {
            return;
        }
        let Phase::Moving(knock) = std::mem::replace(&mut self.phase, Phase::Refused) else {
            return;
        };
        let Some(handle) = desk.ring.release(self.wire.fd()) else {
            return self.leave(&"its socket could not move to the target's shard", desk);
        };
        let Knock { login, identity, leftover, .. } = *knock;
        let message = Message::Adopt(Box::new(Handover {
            handle,
            group: self.group,
            login,
            identity,
            leftover,
        }));
        desk.shards[home].send(message);
        self.phase = Phase::Leaving(super::peer::Leaving::nothing());
    }

    /// Ends a login that lacked only its final response.
    fn refuse<R: Ring>(&mut self, status: LoginStatus, desk: &mut Desk<R>) {
        let Phase::Waiting(knock) = &mut self.phase else {
            return;
        };
        let target = knock.identity.target.as_ref().map_or("discovery", IscsiName::as_str);
        tracing::warn!(
            peer = %self.wire.peer, host = %knock.identity.initiator, target, %status,
            "login refused"
        );
        knock.give_up(desk);
        knock.login.refuse(status);
        flush_login(&mut knock.login, &mut self.wire, desk);
        self.phase = Phase::Refused;
    }
}

/// The shard of the session.
fn home<R: Ring>(identity: &Identity, desk: &Desk<R>) -> usize {
    match &identity.target {
        None => discovery::home(identity, desk.shards.len()),
        Some(name) => desk.exports.route(name).map_or(desk.settings.index, |at| at.shard),
    }
}

/// Where a host is to be sent instead, once it has proved who it is: strangers learn nothing.
fn elsewhere<R: Ring>(identity: &Identity, source: IpAddr, desk: &Desk<R>) -> Option<Redirect> {
    let target = identity.target.as_ref()?;
    let access = &desk.exports.access;
    access.redirect_for(identity.initiator.as_str(), source, target.as_str()).cloned()
}

/// A fresh login on an accepted socket.
pub(crate) fn enter<R: Ring>(key: ConnKey, fd: Fd, group: u16, desk: &Desk<R>) -> Option<Peer> {
    let (peer, local) = desk.ends(fd)?;
    let settings = LoginSettings {
        offer: desk.settings.offer.clone(),
        target_portal_group_tag: group,
        alias: None,
    };
    let wire = Wire::new(key, fd, peer, local);
    let phase = Phase::Entering(Box::new(Login::new(settings)));
    Some(Peer::new(key, wire, group, phase, desk.now))
}

/// What a host must prove. One that nobody knows is asked like any other, for a secret that
/// nobody has: which names exist is not told (P25).
fn demand<R: Ring>(host: &IscsiName, desk: &mut Desk<R>) -> Demand {
    let mut random = [0; CHALLENGE_LEN + 1];
    (desk.entropy)(&mut random);
    let (challenge, id) = random.split_at(CHALLENGE_LEN);
    let secret =
        |secret: &outband_control::secret::Secret| Secret::new(secret.expose().as_bytes().to_vec());
    let credentials = match desk.exports.access.credentials(host.as_str()) {
        Known::Open => return Demand::None,
        Known::Chap(chap) => Credentials {
            user: chap.user.clone(),
            secret: secret(&chap.secret),
            mutual: chap.mutual.as_ref().map(|back| (back.user.clone(), secret(&back.secret))),
        },
        Known::Unknown => {
            let mut random = [0; 32];
            (desk.entropy)(&mut random);
            Credentials::decoy(random)
        }
    };
    Demand::Chap { credentials, id: id[0], challenge: challenge.to_vec() }
}

/// Everything the login wants said.
fn flush_login<R: Ring>(login: &mut Login, wire: &mut Wire, desk: &mut Desk<R>) {
    while let Some(transmit) = login.poll_transmit() {
        wire.out().head(transmit.head());
        if let Body::Bytes(bytes) = &transmit.body {
            wire.out().head(bytes);
            wire.out().head(&transmit.tail(bytes));
        }
    }
    wire.send(desk);
}

impl<R: Ring> Shard<R> {
    /// A connection has moved here.
    pub(super) fn adopt(&mut self, handover: Handover<R::Handle>) {
        let Handover { handle, group, login, identity, leftover } = handover;
        if self.stopping {
            return;
        }
        let desk = &mut self.desk;
        let fd = desk.ring.adopt(handle);
        let Some((peer, local)) = desk.ends(fd) else {
            return desk.ring.close(fd);
        };
        let deadline = desk.now + desk.settings.drain_deadline;
        let (continues, replaces) = (None, Vec::new());
        let knock = Knock { login, identity, leftover, continues, replaces, deadline };
        let key = self.peers.insert_with_key(|key| {
            let wire = Wire::new(key, fd, peer, local);
            Peer::new(key, wire, group, Phase::Waiting(Box::new(knock)), desk.now)
        });
        self.admit(key);
    }

    /// Lets a connection in, or tells it why not, or lets it wait for those that it replaces.
    pub(super) fn admit(&mut self, key: ConnKey) {
        let Some(Phase::Waiting(knock)) = self.peers.get(key).map(|peer| &peer.phase) else {
            return;
        };
        let identity = knock.identity.clone();
        let first_time = knock.replaces.is_empty();
        let waits = knock.replaces.iter().any(|older| self.peers.contains_key(*older));
        if waits && !seeded::is(Bug::NoDrainAtLogin) {
            return;
        }
        // Nobody is waited for here, unless by a defect on purpose.
        let continues = knock.continues.is_some() || waits;
        let Some(name) = &identity.target else {
            return self.admit_discovery(key, &identity);
        };
        match self.look_up(key, &identity.initiator, name) {
            Err(status) => self.refuse(key, status),
            Ok((target, epoch, _)) if continues => self.let_in(key, Some(target), epoch),
            Ok((target, ..)) if identity.tsih != Tsih(0) => {
                match self.take_over(key, target, &identity) {
                    Ok(older) => self.replace(key, vec![older]),
                    Err(status) => self.refuse(key, status),
                }
            }
            Ok((target, epoch, sessions)) => {
                let older = self.replaced_by(key, target, &identity, sessions);
                if older.is_empty() {
                    return self.let_in(key, Some(target), epoch);
                }
                if first_time && !self.may_replace(target, &identity, &older) {
                    tracing::warn!(
                        host = %identity.initiator,
                        "sessions of one host throw each other out; raise sessions_per_portal \
                         if that host means to have several to one portal"
                    );
                    return self.refuse(key, LoginStatus::TOO_MANY_CONNECTIONS);
                }
                self.replace(key, older);
            }
        }
    }

    /// The target and the grant, looked at again on the target's own shard.
    fn look_up(
        &self,
        key: ConnKey,
        host: &IscsiName,
        name: &IscsiName,
    ) -> Result<(TargetKey, u64, usize), LoginStatus> {
        let source = self.peers[key].wire.peer.ip();
        let exports = &self.desk.exports;
        let grant = exports.access.admit(host.as_str(), source, name.as_str()).map_err(
            |denied: Denied| {
                tracing::debug!(%host, target = %name, %denied, "not admitted");
                LoginStatus::AUTHORIZATION_FAILURE
            },
        )?;
        if self.desk.gates.iter().any(|gate| gate.closes(name, host.as_str(), grant.epoch.0)) {
            return Err(LoginStatus::AUTHORIZATION_FAILURE);
        }
        let target = self
            .desk
            .targets
            .iter()
            .filter(|(_, target)| target.name == *name)
            .max_by_key(|(_, target)| !self.desk.volumes[target.volume].goes)
            .ok_or(LoginStatus::AUTHORIZATION_FAILURE)?;
        let (target, volume) = (target.0, target.1.volume);
        if self.desk.volumes[volume].goes {
            return Err(LoginStatus::SERVICE_UNAVAILABLE);
        }
        Ok((target, grant.epoch.0, usize::from(grant.sessions_per_portal).max(1)))
    }

    /// Sessions that must end before this one begins: of the same name and ISID (reinstatement),
    /// and the oldest beyond what the host may have from one address to one portal.
    fn replaced_by(
        &self,
        key: ConnKey,
        target: TargetKey,
        identity: &Identity,
        sessions: usize,
    ) -> Vec<ConnKey> {
        let new = &self.peers[key].wire;
        let same_way: Vec<_> = self.desk.targets[target]
            .sessions
            .iter()
            .filter_map(|older| self.peers.get(*older).map(|peer| (*older, peer)))
            .filter(|(_, peer)| {
                let same_host =
                    peer.session().is_some_and(|held| held.host == identity.initiator.as_str());
                same_host && peer.wire.local == new.local && peer.wire.peer.ip() == new.peer.ip()
            })
            .collect();
        let beyond = (same_way.len() + 1).saturating_sub(sessions);
        let mut older: Vec<_> = same_way.iter().take(beyond).map(|(key, _)| *key).collect();
        for session in &self.desk.targets[target].sessions {
            let reinstated = match self.peers.get(*session).map(|peer| &peer.phase) {
                Some(Phase::Inside(conn)) => {
                    let held = conn.core.identity();
                    // Another portal group is another target port, and so another nexus (§4.4.2).
                    held.initiator == identity.initiator
                        && held.isid == identity.isid
                        && self.peers[*session].group == self.peers[key].group
                }
                _ => false,
            };
            if reinstated && !older.contains(session) {
                older.push(*session);
            }
        }
        older
    }

    /// Connection reinstatement (§6.3.4): the connection that this one replaces, its session going
    /// on. At error recovery level 0 its tasks end with it, and a unit attention says so (§11.14.5).
    fn take_over(
        &mut self,
        key: ConnKey,
        target: TargetKey,
        identity: &Identity,
    ) -> Result<ConnKey, LoginStatus> {
        let group = self.peers[key].group;
        for older in self.desk.targets[target].sessions.clone() {
            let Some(peer) = self.peers.get_mut(older).filter(|peer| peer.group == group) else {
                continue;
            };
            let Phase::Inside(conn) = &mut peer.phase else {
                continue;
            };
            let held = conn.core.identity();
            let same = held.initiator == identity.initiator && held.isid == identity.isid;
            if !same || conn.core.tsih() != identity.tsih {
                continue;
            }
            if held.cid != identity.cid {
                return Err(LoginStatus::TOO_MANY_CONNECTIONS);
            }
            conn.goes_on = true;
            let (nexus, tsih) = (conn.nexus, identity.tsih);
            if conn.core.in_flight() > 0 {
                self.desk.targets[target].lu.commands_cleared_by_protocol(nexus);
            }
            if let Some(Phase::Waiting(knock)) = self.peers.get_mut(key).map(|p| &mut p.phase) {
                knock.continues = Some(Continues { target, nexus, tsih });
            }
            return Ok(older);
        }
        Err(LoginStatus::SESSION_DOES_NOT_EXIST)
    }

    /// Two clients of one name must not throw each other out for ever.
    fn may_replace(&mut self, target: TargetKey, identity: &Identity, older: &[ConnKey]) -> bool {
        let evicts = older.iter().any(|older| match self.peers.get(*older).map(|p| &p.phase) {
            Some(Phase::Inside(conn)) => conn.core.identity().isid != identity.isid,
            _ => false,
        });
        let now = self.desk.now;
        !evicts || self.desk.targets[target].may_evict(&identity.initiator, now)
    }

    /// Ends the older sessions; the new one waits for their last I/O (P8).
    pub(super) fn replace(&mut self, key: ConnKey, older: Vec<ConnKey>) {
        for session in &older {
            if let Some(peer) = self.peers.get_mut(*session) {
                peer.leave(&"replaced by a newer session of the same host", &mut self.desk);
            }
        }
        if let Some(Phase::Waiting(knock)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            knock.replaces = older.clone();
        }
        for session in older {
            self.remove_if_gone(session);
        }
        self.admit_if_alone(key);
    }

    fn admit_if_alone(&mut self, key: ConnKey) {
        if let Some(Phase::Waiting(knock)) = self.peers.get(key).map(|peer| &peer.phase)
            && (seeded::is(Bug::NoDrainAtLogin)
                || !knock.replaces.iter().any(|older| self.peers.contains_key(*older)))
        {
            self.desk.errands.push_back(Errand::Admit(key));
        }
    }

    /// The final Login Response, and everything behind it.
    pub(super) fn let_in(&mut self, key: ConnKey, target: Option<TargetKey>, epoch: u64) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Phase::Waiting(knock) = std::mem::replace(&mut peer.phase, Phase::Refused) else {
            return;
        };
        let Knock { login, leftover, continues, .. } = *knock;
        let desk = &mut self.desk;
        let (nexus, tsih) = match continues {
            Some(Continues { nexus, tsih, .. }) => (nexus, tsih),
            None => {
                let nexus = desk.next_nexus();
                (nexus, next_tsih(nexus.0))
            }
        };
        let core = target::Conn::new(login.admit(tsih));
        let source = peer.wire.peer.ip();
        let mut conn = Box::new(Conn::new(key, core, target, nexus, source, epoch));
        if let Some(target) = target.map(|target| &mut desk.targets[target]) {
            desk.counts.sessions += 1;
            target.sessions.push(key);
            if continues.is_none() {
                let Identity { initiator: name, isid, .. } = conn.core.identity().clone();
                target.lu.attach(nexus, InitiatorPort { name, isid }, peer.group);
            }
            tracing::info!(
                peer = %peer.wire.peer, host = %conn.host, target = %target.name, "logged in"
            );
        }
        let mut input = leftover.as_slice();
        let outcome = loop {
            match conn.on_bytes(&mut input, desk) {
                // Commands behind the last Login Request: hardly more than a turn's.
                Ok(Progress::PutOff) => desk.make_room(),
                other => break other,
            }
        };
        peer.phase = Phase::Inside(conn);
        if let Err(ending) = outcome {
            peer.leave(&ending, desk);
        }
        self.touch(key);
    }

    pub(super) fn refuse(&mut self, key: ConnKey, status: LoginStatus) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.refuse(status, &mut self.desk);
        }
        self.touch(key);
    }

    /// Logins that take too long end (P24), and so does waiting for a session that does not drain.
    pub(super) fn check_entrance(&mut self, key: ConnKey, now: Instant) {
        let deadline = self.desk.settings.login_deadline;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let late = now.duration_since(peer.opened) >= deadline;
        match &peer.phase {
            Phase::Entering(_) | Phase::Moving(_) | Phase::Refused if late => {
                peer.leave(&"the login took too long", &mut self.desk);
                self.remove_if_gone(key);
            }
            Phase::Waiting(knock) if now >= knock.deadline => {
                self.refuse(key, LoginStatus::SERVICE_UNAVAILABLE);
            }
            _ => {}
        }
    }
}

/// A session handle: never 0.
fn next_tsih(count: u32) -> Tsih {
    let value = count % u32::from(u16::MAX) + 1;
    Tsih(u16::try_from(value).expect("at most 65535"))
}
