//! A shard's figures: what it keeps in passing, told when asked, and slow commands named.

use std::collections::BTreeMap;
use std::time::Duration;

use outband_protocol::framer::FrameError;
use outband_protocol::target::PeerError;
use outband_ring::Ring;
use uuid::Uuid;

use super::Shard;
use super::conn::Ending;
use super::peer::{Peer, Phase};
use super::target::Target;
use super::token::TargetKey;
use crate::metrics::sample::{SessionSample, ShardSample, TargetSample};
use crate::metrics::{DeviceTally, Ended};

/// A command that took too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow<'e> {
    /// What it was.
    pub(crate) ended: &'e Ended,
    /// How long it took, in nanoseconds.
    pub(crate) took: u64,
    /// How many before it were not named.
    pub(crate) unsaid: u64,
}

impl<R: Ring> Shard<R> {
    /// Commands that ended in this turn are counted; one that was slow is named.
    pub(super) fn settle_meter(&mut self) {
        let peers = &self.peers;
        self.desk.settle_meter(|conn, target, slow| {
            let host = peers.get(conn).and_then(|peer| match &peer.phase {
                Phase::Inside(conn) => Some(conn.host.as_str()),
                _ => None,
            });
            slow.say(target, host.unwrap_or("a session that has ended"));
        });
    }

    /// Commands that wait until their own session holds fewer buffers.
    fn surplus(&self) -> usize {
        let of = |peer: &Peer| match &peer.phase {
            Phase::Inside(conn) => conn.surplus(),
            _ => 0,
        };
        self.peers.values().map(of).sum()
    }

    /// Everything that is counted, as of now.
    pub(super) fn measure(&self) -> ShardSample {
        let desk = &self.desk;
        let mut sample = ShardSample {
            index: desk.settings.index,
            turns: desk.meter.turns(),
            ring_operations: desk.ring.in_flight(),
            backlog: desk.backlog_len(),
            task_bytes: desk.buffers.used(),
            task_bytes_max: desk.buffers.limit(),
            receive_bytes: desk.receive.used(),
            receive_bytes_max: desk.receive.limit(),
            hungry: desk.hungry.len() + desk.slotless.len() + self.surplus(),
            connections: self.peers.len(),
            header_digest_errors: self.header_digest_errors,
            devices: self.devices(),
            sessions: self.session_samples(),
            targets: Vec::new(),
        };
        let targets = desk.targets.iter();
        sample.targets = targets.map(|(key, target)| self.target_sample(key, target)).collect();
        sample
    }

    fn target_sample(&self, key: TargetKey, target: &Target) -> TargetSample {
        let mut tally = target.tally.clone();
        let (mut queue_depth, mut sessions) = (0, 0);
        for peer in target.sessions.iter().filter_map(|conn| self.peers.get(*conn)) {
            if let Phase::Inside(conn) = &peer.phase
                && conn.target == Some(key)
            {
                tally.past.add(&conn.counts);
                queue_depth += conn.core.in_flight();
                sessions += 1;
            }
        }
        let volume = &self.desk.volumes[target.volume];
        TargetSample {
            target: target.name.to_string(),
            tally,
            queue_depth,
            sessions,
            size: target.lu.blocks() * u64::from(target.lu.block_size()),
            unsynced: volume.written - volume.synced,
            faulted: volume.faulted,
        }
    }

    fn session_samples(&self) -> Vec<SessionSample> {
        let sample = |peer: &Peer| {
            let Phase::Inside(conn) = &peer.phase else {
                return None;
            };
            Some(SessionSample {
                target: self.desk.targets.get(conn.target?)?.name.to_string(),
                host: conn.host.to_string(),
                source: peer.wire.peer,
                portal: peer.wire.local,
                counts: conn.counts,
                queue_depth: conn.core.in_flight(),
                window: conn.credit,
            })
        };
        self.peers.values().filter_map(sample).collect()
    }

    fn devices(&self) -> Vec<(Uuid, DeviceTally)> {
        let mut devices = BTreeMap::<Uuid, DeviceTally>::new();
        for volume in self.desk.volumes.values() {
            for (file, tally) in &volume.devices {
                // Journals lie beside volumes and are of no device here.
                if let Some(device) = volume.layers.device_of(*file) {
                    devices.entry(device).or_default().add(tally);
                }
            }
        }
        devices.into_iter().collect()
    }
}

impl Ending {
    /// The stream could not be followed any more after a header whose digest was wrong.
    pub(super) fn is_header_digest(&self) -> bool {
        matches!(self, Self::Peer(PeerError::Frame(FrameError::HeaderDigest)))
    }
}

impl Slow<'_> {
    fn say(&self, target: &Target, host: &str) {
        let Self { ended, took, unsaid } = self;
        let stage = Duration::from_nanos;
        let after = took.saturating_sub(ended.clock.before_store() + ended.clock.in_store());
        tracing::warn!(
            target_name = %target.name,
            host,
            operation = ended.operation.label(),
            failed = ended.failure.is_some(),
            at = ended.at,
            bytes = ended.bytes,
            took = ?stage(*took),
            before_store = ?stage(ended.clock.before_store()),
            in_store = ?stage(ended.clock.in_store()),
            beside_store = ?stage(after),
            unsaid,
            "slow command"
        );
    }
}
