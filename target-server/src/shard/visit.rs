//! I/O that a copy of one target does on another, perhaps on another shard: a [`Visit`] goes to the
//! shard where the volume lives, with its buffer, and comes back as a [`Visited`].
//!
//! The visited shard decides, at the moment of the I/O, whether the host may: its grant, the gates
//! that fences have closed, the logical unit's state. What was read is not written anywhere once
//! the source's fence is acknowledged: a [`Stay`] tells the source's shard that bytes of it are
//! still about, and goes with them until the write has ended (P12).

use std::fmt;
use std::net::IpAddr;

use outband_protocol::ids::{IscsiName, TaskId};
use outband_ring::{Buf, Ring};
use uuid::Uuid;

use super::Shard;
use super::desk::Errand;
use super::mailbox::{Gate, Message};
use super::peer::Phase;
use super::token::{ConnKey, TargetKey, VisitKey, VolumeKey, Whose};
use crate::scsi::Refusal;
use crate::store::{Io, IoDone, Work};

/// Blocks to be read or written on behalf of a host's copy.
#[derive(Debug)]
pub struct Visit {
    /// The volume or partition.
    pub(crate) target: Uuid,
    /// For whom.
    pub(crate) guest: Guest,
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
    pub(crate) buf: Buf,
    /// A write, of bytes from where this stay is.
    pub(crate) write: Option<Stay>,
    pub(crate) answer: Answer,
}

/// Whose copy it is.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) host: IscsiName,
    pub(crate) source: IpAddr,
    /// The grant by which it uses the visited target.
    pub(crate) epoch: u64,
}

/// The end of a visit.
#[derive(Debug)]
pub struct Visited {
    /// The copy, on the shard that asked.
    pub(crate) owner: (ConnKey, TaskId),
    /// With a read, the stay to be given up once its bytes are nowhere any more.
    pub(crate) result: Result<Option<Stay>, Refusal>,
    /// Lost if the visited shard has ended.
    pub(crate) buf: Option<Buf>,
}

type Tell<T> = Box<dyn FnOnce(T) + Send>;

/// Brings a [`Visited`] home. One that is dropped says that nobody was there.
pub(crate) struct Answer {
    owner: (ConnKey, TaskId),
    tell: Option<Tell<Visited>>,
}

impl Answer {
    pub(crate) fn new(owner: (ConnKey, TaskId), tell: Tell<Visited>) -> Self {
        Self { owner, tell: Some(tell) }
    }

    fn give(mut self, result: Result<Option<Stay>, Refusal>, buf: Option<Buf>) {
        if let Some(tell) = self.tell.take() {
            tell(Visited { owner: self.owner, result, buf });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Visited { owner: self.owner, result: Err(Refusal::Unreachable), buf: None });
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({:?})", self.owner)
    }
}

/// Says that bytes read from a target are still on their way to another; ends when dropped.
pub(crate) struct Stay(Option<Tell<()>>);

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(());
        }
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stay")
    }
}

/// The end of a `Stay`, on its way to the shard that it was at.
#[derive(Debug)]
pub struct Left(VisitKey);

/// A visit as the visited shard keeps it.
#[derive(Debug)]
pub(crate) struct Visitor {
    target: TargetKey,
    volume: VolumeKey,
    name: IscsiName,
    guest: Guest,
    /// What to say at the end of the I/O; gone while only the stay is left.
    answer: Option<Answer>,
    /// Bytes of another target that are being written here.
    write: Option<Stay>,
    /// A reset has ended the command that the I/O stands for.
    cut: bool,
}

impl Visitor {
    /// Whether a fence means it.
    pub(crate) fn is_meant_by(&self, gate: &Gate) -> bool {
        gate.closes(&self.name, self.guest.host.as_str(), self.guest.epoch)
    }

    /// Whether it uses the volume in any way.
    pub(crate) fn is_at(&self, volume: VolumeKey) -> bool {
        self.volume == volume
    }

    /// Whether the medium below `target` has an I/O of it.
    pub(crate) fn is_busy_at(&self, target: TargetKey) -> bool {
        self.target == target && self.answer.is_some()
    }

    /// Its I/O at `target`, if any, comes to nothing (LOGICAL UNIT RESET).
    pub(crate) fn cut(&mut self, target: TargetKey) {
        self.cut |= self.is_busy_at(target);
    }
}

impl<R: Ring> Shard<R> {
    /// Somebody wants to read or write here.
    pub(super) fn on_visit(&mut self, visit: Visit) {
        let admitted = self.admit_visit(&visit);
        let Visit { guest, lba, blocks, buf, write, answer, .. } = visit;
        let target = match admitted {
            Ok(target) => target,
            Err(refusal) => return answer.give(Err(refusal), Some(buf)),
        };
        let here = &self.desk.targets[target];
        let (start, block) = (here.start, u64::from(here.lu.block_size()));
        let durable = !here.lu.write_cache();
        let work = match &write {
            Some(_) => Work::Write { buf, durable },
            None => Work::Read(buf),
        };
        let (volume, name) = (here.volume, here.name.clone());
        let answer = Some(answer);
        let visitor = Visitor { target, volume, name, guest, answer, write, cut: false };
        let key = self.desk.visitors.insert(visitor);
        let io = Io::new(work, start + lba * block, u64::from(blocks) * block);
        self.desk.start(Whose::Visit(key), target, io);
    }

    /// May this host do this here and now?
    fn admit_visit(&self, visit: &Visit) -> Result<TargetKey, Refusal> {
        let unreachable = Refusal::Unreachable;
        let (desk, guest) = (&self.desk, &visit.guest);
        let found = desk.targets.iter().find(|(_, target)| target.id == visit.target);
        let (key, target) = found.filter(|_| !self.stopping).ok_or(unreachable)?;
        let (host, name) = (guest.host.as_str(), target.name.as_str());
        let grant = desk.exports.access.admit(host, guest.source, name).map_err(|_| unreachable)?;
        let closed = desk.gates.iter().any(|gate| gate.closes(&target.name, host, guest.epoch));
        if closed || grant.epoch.0 != guest.epoch {
            return Err(unreachable);
        }
        let write = visit.write.is_some();
        let admitted = target.lu.admit_copy(&guest.host, visit.lba, visit.blocks, write);
        admitted.map(|()| key).map_err(|_| Refusal::Device)
    }

    /// The I/O of a visit has ended.
    pub(super) fn on_visit_done(&mut self, key: VisitKey, done: IoDone) {
        let Some(visitor) = self.desk.visitors.get_mut(key) else {
            return;
        };
        let (target, is_write) = (visitor.target, visitor.write.take().is_some());
        let answer = visitor.answer.take();
        let failed = visitor.cut || done.result.is_err();
        let result =
            if failed { Err(Refusal::Device) } else { Ok((!is_write).then(|| self.stay(key))) };
        if failed || is_write {
            self.desk.visitors.remove(key);
        }
        if let Some(answer) = answer {
            answer.give(result, done.buf);
        }
        self.desk.errands.push_back(Errand::Settle(target));
        self.answer_reserving();
        self.answer_drains();
    }

    /// What keeps a visitor here until it is dropped, wherever that may be.
    fn stay(&self, key: VisitKey) -> Stay {
        let here = self.desk.shards[self.desk.settings.index].clone();
        // Nobody hears it when this shard has ended, and nobody waits for it then.
        Stay(Some(Box::new(move |()| {
            let _ = here.send(Message::Left(Left(key)));
        })))
    }

    /// Bytes that were read here are about no more.
    pub(super) fn on_left(&mut self, left: &Left) {
        self.desk.visitors.remove(left.0);
        self.answer_drains();
    }

    /// A visit of one of this shard's copies is over.
    pub(super) fn on_visited(&mut self, visited: Visited) {
        let Visited { owner: (key, task), result, buf } = visited;
        let desk = &mut self.desk;
        match self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            Some(Phase::Inside(conn)) => conn.on_visited(task, result, buf, desk),
            Some(Phase::Leaving(leaving)) => {
                leaving.ios -= 1;
                buf.into_iter().for_each(|buf| desk.buffers.give(buf));
            }
            _ => buf.into_iter().for_each(|buf| desk.buffers.give(buf)),
        }
        self.touch(key);
    }
}
