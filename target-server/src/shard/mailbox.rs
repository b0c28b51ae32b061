//! What reaches a shard from outside of its ring: from other shards and from the control side.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use outband_protocol::ids::IscsiName;
use outband_protocol::login::target::{Identity, Login};
use outband_ring::Wake;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use super::visit::{Left, Visit, Visited};
use crate::exports::Exports;
use crate::media::{WritePolicy, ZeroWith};
use crate::metrics::sample::{ShardDump, ShardSample};
use crate::scsi::{Kept, LuConfig};

/// Told once the shard has done what it was asked.
pub type Reply<T> = oneshot::Sender<T>;

/// Ends with a flush, however that ended.
pub type Flushing = oneshot::Receiver<()>;

/// A message to one shard. `H` is a descriptor outside of a ring.
#[derive(Debug)]
pub enum Message<H> {
    /// A connection at the end of its login, whose target lives on this shard.
    Adopt(Box<Handover<H>>),
    /// Who may use what, from now on.
    Exports(Arc<Exports>, Reply<()>),
    /// A volume to serve.
    Attach(Box<VolumeConfig<H>>, Reply<()>),
    /// Changed targets (grown, partitioned) of a volume that is served, and space added at its end.
    Update(Box<VolumeConfig<H>>, Reply<Option<Flushing>>),
    /// A volume to serve no longer; its sessions end, and their I/O is waited for.
    Detach(Uuid, Reply<()>),
    /// No command of this grant is admitted from now on.
    CloseGate(Gate, Reply<()>),
    /// End the sessions of this grant; the reply comes when no I/O of theirs is in flight.
    Drain(Gate, Reply<()>),
    /// I/O that a copy does on a target of this shard.
    Visit(Box<Visit>),
    /// The end of a visit that this shard asked for.
    Visited(Box<Visited>),
    /// What a visit has read here is about no more.
    Left(Left),
    /// A sync failed on this device, on some shard.
    DeviceFaulted(Uuid),
    /// The operator has looked after a faulted volume.
    Recovered(Uuid, Reply<()>),
    /// Who is logged in.
    Sessions(Reply<Vec<SessionInfo>>),
    /// What was done so far.
    Measure(Reply<ShardSample>),
    /// What it is doing, in full.
    Dump(Reply<ShardDump>),
    /// Ask initiators to log out, then end.
    Stop(Reply<()>),
}

/// Which grant a fence means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The target's iSCSI name.
    pub target: String,
    /// The host; every host when `None`.
    pub host: Option<String>,
    /// Grants up to and with this epoch.
    pub epoch: u64,
}

/// A connection on its one move.
#[derive(Debug)]
pub struct Handover<H> {
    /// The socket.
    pub handle: H,
    /// The portal group that it came to.
    pub group: u16,
    /// At the point where only the final Login Response is missing.
    pub login: Login,
    /// Who wants what.
    pub identity: Identity,
    /// Bytes received behind the last Login Request.
    pub leftover: Vec<u8>,
}

/// A volume as a shard is told to serve it.
#[derive(Debug)]
pub struct VolumeConfig<H> {
    /// The identity.
    pub id: Uuid,
    /// When a write is acknowledged.
    pub write_policy: WritePolicy,
    /// A sync failed in an earlier life.
    pub faulted: bool,
    /// In volume order.
    pub segments: Vec<SegmentConfig<H>>,
    /// Where it writes down what it is about to write.
    pub journal: Option<JournalConfig<H>>,
    /// The volume's own target and those of its partitions.
    pub targets: Vec<TargetConfig>,
    /// Where reservations survive power loss, for targets that have such a place.
    pub ledgers: Vec<LedgerConfig<H>>,
}

/// The place for a target's reservations on its way to a shard.
#[derive(Debug)]
pub struct LedgerConfig<H> {
    /// The identity of the target.
    pub target: Uuid,
    /// The file.
    pub file: H,
    /// What it holds.
    pub kept: Option<Kept>,
}

/// A shard's part of a device's journal on its way there.
#[derive(Debug)]
pub struct JournalConfig<H> {
    /// The device.
    pub device: Uuid,
    /// Its descriptor.
    pub file: H,
    /// Where in the file the shard's slots for intents are.
    pub slots: Vec<u64>,
    /// Its free pages for marks.
    pub pages: Vec<u64>,
    /// Where targets are marked already.
    pub marked: BTreeMap<Uuid, u64>,
}

/// A piece of a volume on its way to a shard.
#[derive(Debug)]
pub struct SegmentConfig<H> {
    /// On which device.
    pub device: Uuid,
    /// In bytes.
    pub len: u64,
    /// The device's descriptor and the first byte on it; `None` for memory.
    pub file: Option<(H, u64, ZeroWith)>,
}

/// A target on its way to a shard.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The identity of the volume or partition.
    pub id: Uuid,
    /// Its iSCSI name.
    pub name: IscsiName,
    /// First byte within the volume.
    pub start: u64,
    /// What its logical unit says of itself.
    pub lu: LuConfig,
}

/// A session, for those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// The target's iSCSI name.
    pub target: String,
    /// The initiator's name.
    pub host: String,
    /// Where it comes from.
    pub source: SocketAddr,
    /// The portal that it came to.
    pub portal: SocketAddr,
    /// The grant's epoch.
    pub epoch: u64,
}

/// Puts messages into a shard's mailbox and wakes it.
#[derive(Debug)]
pub struct Address<H, W> {
    sender: Sender<Message<H>>,
    waker: W,
}

impl<H, W: Clone> Clone for Address<H, W> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<H, W: Wake> Address<H, W> {
    /// Sends; `false` when the shard has ended.
    pub fn send(&self, message: Message<H>) -> bool {
        let sent = self.sender.send(message).is_ok();
        self.waker.wake();
        sent
    }
}

/// A mailbox for the ring that `waker` wakes.
pub fn mailbox<H, W: Wake>(waker: W) -> (Address<H, W>, Receiver<Message<H>>) {
    // Unbounded by type; bounded in fact by the connections accepted (one handover each), by the
    // copies that run (one visit each) and by control, which waits for each reply.
    let (sender, receiver) = channel();
    (Address { sender, waker }, receiver)
}
