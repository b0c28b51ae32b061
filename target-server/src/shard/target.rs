//! A target as its home shard has it: a logical unit over a range of a volume, and its sessions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use outband_protocol::ids::{IscsiName, TaskId};
use outband_ring::Fd;
use uuid::Uuid;

use super::claims::Claims;
use super::ledger::Ledger;
use super::order::TaskSet;
use super::token::{ConnKey, VolumeKey, Whose};
use crate::layer::Linear;
use crate::metrics::{DeviceTally, MediumOperation, Tally};
use crate::scsi::LogicalUnit;
use crate::store::Io;

/// Evictions of one initiator's sessions by another of its own that are taken for bad luck.
const EVICTIONS_MAX: usize = 3;
const EVICTIONS_WITHIN: Duration = Duration::from_secs(60);

/// A volume, or one partition of it, as initiators see it.
#[derive(Debug)]
pub(crate) struct Target {
    /// The identity of the volume or partition.
    pub(crate) id: Uuid,
    /// The volume below.
    pub(crate) volume: VolumeKey,
    /// iSCSI name.
    pub(crate) name: IscsiName,
    /// First byte within the volume.
    pub(crate) start: u64,
    /// LUN 0.
    pub(crate) lu: LogicalUnit,
    /// Its commands, of all sessions.
    pub(crate) tasks: TaskSet<(ConnKey, TaskId)>,
    /// Where its reservations survive power loss.
    pub(crate) ledger: Option<Ledger>,
    /// Connections that are logged in, oldest first.
    pub(crate) sessions: Vec<ConnKey>,
    /// What its commands came to.
    pub(crate) tally: Box<Tally>,
    /// Who threw whom out, lately.
    evictions: VecDeque<(Instant, IscsiName)>,
}

impl Target {
    /// One without sessions.
    pub(crate) fn new(
        id: Uuid,
        volume: VolumeKey,
        name: IscsiName,
        start: u64,
        lu: LogicalUnit,
    ) -> Self {
        Self {
            id,
            volume,
            name,
            start,
            lu,
            tasks: TaskSet::default(),
            ledger: None,
            sessions: Vec::new(),
            tally: Box::default(),
            evictions: VecDeque::new(),
        }
    }

    /// Notes that `host` replaces a session of its own, and says whether that may go on: two
    /// clients of one name that throw each other out in turn are told so instead (0206).
    pub(crate) fn may_evict(&mut self, host: &IscsiName, now: Instant) -> bool {
        while self
            .evictions
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= EVICTIONS_WITHIN)
        {
            self.evictions.pop_front();
        }
        if self.evictions.iter().filter(|(_, by)| by == host).count() >= EVICTIONS_MAX {
            return false;
        }
        self.evictions.push_back((now, host.clone()));
        true
    }
}

/// A volume of this shard: where its bytes are, and whether any may still be lost.
#[derive(Debug)]
pub(crate) struct Volume {
    /// The identity.
    pub(crate) id: Uuid,
    /// The device whose journal it uses.
    pub(crate) journal: Option<Uuid>,
    /// The layers below.
    pub(crate) layers: Linear,
    /// Writes that ended in a cache.
    pub(crate) written: u64,
    /// How many of them, from the first on, a sync has covered.
    pub(crate) synced: u64,
    /// It is being taken away: nobody is let in any more.
    pub(crate) goes: bool,
    /// A sync failed and the operator has not said `recover` since.
    pub(crate) faulted: bool,
    /// Ranges that tasks have, or want, alone.
    pub(crate) claims: Claims<Whose, Io>,
    /// What devices did for it, by their descriptors.
    pub(crate) devices: Vec<(Fd, DeviceTally)>,
}

impl Volume {
    /// A device has done something, or failed to. Mostly there is one device, seldom a few.
    pub(crate) fn note(&mut self, operation: MediumOperation, file: Fd, failed: bool, took: u64) {
        let place = self.devices.iter().position(|(known, _)| *known == file);
        let place = place.unwrap_or_else(|| {
            self.devices.push((file, DeviceTally::default()));
            self.devices.len() - 1
        });
        self.devices[place].1.record(operation, failed, took);
    }

    /// Whether a power cut can take something that was acknowledged.
    pub(crate) fn may_lose(&self) -> bool {
        self.written > self.synced
    }
}
