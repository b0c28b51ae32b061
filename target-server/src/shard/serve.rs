//! What other threads ask of a shard.

use outband_ring::Ring;
use tokio::sync::oneshot;

use super::Shard;
use super::claims::Claims;
use super::ledger::Ledger;
use super::mailbox::{
    Flushing, LedgerConfig, Message, SegmentConfig, SessionInfo, TargetConfig, VolumeConfig,
};
use super::peer::Phase;
use super::target::{Target, Volume};
use super::token::{TargetKey, VolumeKey, Whose};
use crate::layer::{Linear, Segment};
use crate::scsi::{Kept, LogicalUnit};
use crate::store::{Io, Work};

impl<R: Ring> Shard<R> {
    /// Everything in the mailbox. A reply that nobody waits for any more is no error.
    pub(super) fn read_mailbox(&mut self) {
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                Message::Adopt(handover) => self.adopt(*handover),
                Message::Exports(exports, reply) => {
                    self.take_exports(exports);
                    let _ = reply.send(());
                }
                Message::Attach(volume, reply) => {
                    self.attach(*volume);
                    let _ = reply.send(());
                }
                Message::Update(volume, reply) => {
                    let _ = reply.send(self.update(*volume));
                }
                Message::Detach(id, reply) => match self.volume(id) {
                    Some(volume) => self.detach(volume, reply),
                    None => {
                        let _ = reply.send(());
                    }
                },
                Message::CloseGate(gate, reply) => {
                    self.close_gate(gate);
                    let _ = reply.send(());
                }
                Message::Drain(gate, reply) => self.drain(gate, reply),
                Message::Visit(visit) => self.on_visit(*visit),
                Message::Visited(visited) => self.on_visited(*visited),
                Message::Left(left) => self.on_left(&left),
                Message::DeviceFaulted(device) => self.device_faulted(device),
                Message::Recovered(id, reply) => {
                    if let Some(volume) = self.volume(id) {
                        self.set_faulted(volume, false);
                    }
                    let _ = reply.send(());
                }
                Message::Sessions(reply) => {
                    let _ = reply.send(self.sessions());
                }
                Message::Measure(reply) => {
                    let _ = reply.send(self.measure());
                }
                Message::Dump(reply) => {
                    let _ = reply.send(self.dump());
                }
                Message::Stop(reply) => self.stop(reply),
            }
        }
    }

    fn volume(&self, id: uuid::Uuid) -> Option<VolumeKey> {
        let volumes = &mut self.desk.volumes.iter();
        volumes.find(|(_, volume)| volume.id == id && !volume.goes).map(|(key, _)| key)
    }

    fn attach(&mut self, config: VolumeConfig<R::Handle>) {
        let volume = Volume {
            id: config.id,
            journal: config.journal.as_ref().map(|journal| journal.device),
            layers: Linear::default(),
            written: 0,
            synced: 0,
            goes: false,
            faulted: config.faulted,
            claims: Claims::default(),
            devices: Vec::new(),
        };
        let key = self.desk.volumes.insert(volume);
        config.journal.into_iter().for_each(|journal| self.desk.add_journal(journal));
        self.extend(key, config.segments);
        let mut ledgers = config.ledgers;
        for target in config.targets {
            self.add_target(key, target, &mut ledgers);
        }
    }

    /// A volume that has grown or was partitioned anew: known targets change size, new ones come.
    ///
    /// Without a cache every acknowledged write is on stable storage, those from before too: with what is
    /// returned that is so (SBC-3 §4.15).
    fn update(&mut self, config: VolumeConfig<R::Handle>) -> Option<Flushing> {
        let Some(key) = self.volume(config.id) else {
            self.attach(config);
            return None;
        };
        self.extend(key, config.segments);
        let wanted: Vec<_> = config.targets.iter().map(|target| target.id).collect();
        let gone = |target: &Target| target.volume == key && !wanted.contains(&target.id);
        // Control has fenced every grant of a partition before it goes, so no session is lost here.
        let targets = self.desk.targets.iter();
        let gone: Vec<_> = targets
            .filter(|(_, target)| gone(target) && target.sessions.is_empty())
            .map(|(key, _)| key)
            .collect();
        self.forget_targets(&gone);
        let mut ledgers = config.ledgers;
        let mut cache_ended = None;
        for config in config.targets {
            match self.desk.targets.iter_mut().find(|(_, known)| known.id == config.id) {
                Some((target, known)) => {
                    known.lu.resized(config.lu.blocks);
                    if known.lu.set_write_policy(config.lu.write_cache) {
                        cache_ended = Some(target);
                    }
                }
                None => self.add_target(key, config, &mut ledgers),
            }
        }
        cache_ended.map(|target| self.flush_for(target))
    }

    fn flush_for(&mut self, target: TargetKey) -> Flushing {
        let (ended, flushing) = oneshot::channel();
        let number = self.pending.flush(ended);
        self.desk.start(Whose::Unit(number), target, Io::new(Work::Flush, 0, 0));
        flushing
    }

    fn add_target(
        &mut self,
        volume: VolumeKey,
        config: TargetConfig,
        ledgers: &mut Vec<LedgerConfig<R::Handle>>,
    ) {
        let mut lu = LogicalUnit::new(config.lu);
        lu.set_faulted(self.desk.volumes[volume].faulted);
        let ledger = ledgers.iter().position(|ledger| ledger.target == config.id);
        let ledger = ledger.map(|at| {
            let LedgerConfig { file, kept, .. } = ledgers.swap_remove(at);
            let number = kept.as_ref().map_or(0, Kept::number);
            lu.restore_reservations(kept);
            Ledger::new(self.desk.ring.adopt(file), number)
        });
        let mut target = Target::new(config.id, volume, config.name, config.start, lu);
        target.ledger = ledger;
        self.desk.targets.insert(target);
    }

    /// Adds space at the end of a volume. One descriptor a device serves all its pieces, so that a
    /// flush syncs each device once.
    fn extend(&mut self, volume: VolumeKey, configs: Vec<SegmentConfig<R::Handle>>) {
        let desk = &mut self.desk;
        let layers = &mut desk.volumes[volume].layers;
        for SegmentConfig { device, len, file } in configs {
            let segment = match file {
                None => Segment::memory(device, len),
                Some((handle, offset, zero)) => {
                    let file = layers.file_on(device);
                    let file = file.unwrap_or_else(|| desk.ring.adopt(handle));
                    Segment::file(device, file, offset, len, zero)
                }
            };
            layers.extend(vec![segment]);
        }
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        let session = |peer: &super::peer::Peer| {
            let Phase::Inside(conn) = &peer.phase else {
                return None;
            };
            Some(SessionInfo {
                target: self.desk.targets[conn.target?].name.to_string(),
                host: conn.host.to_string(),
                source: peer.wire.peer,
                portal: peer.wire.local,
                epoch: conn.epoch,
            })
        };
        self.peers.values().filter_map(session).collect()
    }
}
