//! Volumes on their way to their shards, and away from them.

use std::io;
use std::os::fd::OwnedFd;

use outband_protocol::ids::IscsiName;
use outband_ring::Ring;
use uuid::Uuid;

use super::{Home, Server, ask};
use crate::exports::Route;
use crate::media::journal;
use crate::media::{
    JournalSpec, Media, Piece, VolumeName, VolumeSpec, VolumeState, WritePolicy, ZeroWith,
};
use crate::scsi::{LuConfig, TargetPort};
use crate::shard::mailbox::{
    Flushing, JournalConfig, LedgerConfig, Message, SegmentConfig, TargetConfig, VolumeConfig,
};

impl Server {
    /// Serves a volume from now on, or more of one that is served: grown, or partitioned anew.
    /// One that cannot be used yet is not served.
    pub async fn attach(&self, spec: &VolumeSpec) -> io::Result<()> {
        if spec.is_empty() || !matches!(spec.state, VolumeState::Online | VolumeState::Faulted) {
            return Ok(());
        }
        let online = spec.state == VolumeState::Online;
        let config = async |shard, known| {
            let mut config = self.config(spec, shard, known)?;
            config.ledgers = self.ledgers(spec).await?;
            Ok(config)
        };
        self.serve(spec.id, spec.pieces.len(), online, config).await
    }
}

impl<R: Ring> Server<R> {
    /// Has a shard serve what `config` makes; it is told which one, and how many segments that has
    /// already, of `segments` in all. `online` says that nothing of it is faulted any more. Returns
    /// when the shard goes by it, and what was in a write cache that is no more is on stable storage.
    pub async fn serve<F>(
        &self,
        id: Uuid,
        segments: usize,
        online: bool,
        config: impl FnOnce(usize, usize) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = io::Result<VolumeConfig<R::Handle>>>,
    {
        let flushing = self.tell_home(id, segments, online, config).await?;
        // What other volumes and their fences wait for is let go by now: this device may be slow, or hang.
        if let Some(flushing) = flushing {
            let _ = flushing.await;
        }
        Ok(())
    }

    async fn tell_home<F>(
        &self,
        id: Uuid,
        segments: usize,
        online: bool,
        config: impl FnOnce(usize, usize) -> F,
    ) -> io::Result<Option<Flushing>>
    where
        F: Future<Output = io::Result<VolumeConfig<R::Handle>>>,
    {
        let _one = self.publishing.lock().await;
        let known = self.lock().homes.get(&id).copied();
        let home = known.unwrap_or_else(|| {
            let shard = self.lock().emptiest(self.shards.len());
            Home { shard, segments: 0 }
        });
        let config = config(home.shard, home.segments).await?;
        let targets: Vec<_> =
            config.targets.iter().map(|target| route(home.shard, id, target)).collect();
        let shard = &self.shards[home.shard];
        let message = Box::new(config);
        let flushing = match known {
            None => {
                ask(shard, |reply| Message::Attach(message, reply)).await;
                None
            }
            Some(_) => ask(shard, |reply| Message::Update(message, reply)).await.flatten(),
        };
        if known.is_some() && online {
            // The operator may have said `volume recover`; where nothing was faulted, nothing changes.
            ask(shard, |reply| Message::Recovered(id, reply)).await;
        }
        {
            let mut state = self.lock();
            state.homes.insert(id, Home { shard: home.shard, segments });
            let old = state.exports.targets.extract_if(.., |_, route| route.volume == id);
            let mut gone: Vec<Uuid> = old.map(|(_, route)| route.target).collect();
            gone.retain(|old| targets.iter().all(|(_, route)| route.target != *old));
            state.exports.targets.extend(targets);
            self.forget_reservations(gone);
        }
        self.tell_exports().await;
        Ok(flushing)
    }

    /// Serves a volume no longer; returns when the last of its I/O is reaped.
    pub async fn detach(&self, volume: Uuid) {
        let one = self.publishing.lock().await;
        // Control has fenced every grant before; the routes go before the volume does.
        let (home, targets) = {
            let mut state = self.lock();
            let gone = state.exports.targets.extract_if(.., |_, route| route.volume == volume);
            let targets: Vec<Uuid> = gone.map(|(_, route)| route.target).collect();
            (state.homes.remove(&volume), targets)
        };
        self.tell_exports().await;
        // Sessions are given time to log out, and no fence waits for that.
        drop(one);
        if let Some(home) = home {
            ask(&self.shards[home.shard], |reply| Message::Detach(volume, reply)).await;
        }
        self.forget_reservations(targets);
    }

    /// These targets are gone for good.
    fn forget_reservations(&self, targets: Vec<Uuid>) {
        if let Some(place) = &self.reservations {
            targets.into_iter().for_each(|target| place.remove(target));
        }
    }

    /// The operator has looked after a faulted volume.
    pub async fn recovered(&self, volume: Uuid) {
        let home = self.lock().homes.get(&volume).copied();
        if let Some(home) = home {
            ask(&self.shards[home.shard], |reply| Message::Recovered(volume, reply)).await;
        }
    }

    /// The iSCSI name of a volume, or of one of its partitions.
    pub fn target_name(&self, spec: &VolumeSpec, partition: Option<u16>) -> String {
        self.target_of(&spec.name, partition)
    }

    /// The same by the volume's name.
    pub fn target_of(&self, volume: &VolumeName, partition: Option<u16>) -> String {
        let subject = match partition {
            None => volume.to_string(),
            Some(number) => format!("{volume}.p{number}"),
        };
        let subject = subject.parse().expect("a checked volume name is a subject");
        self.names.target(&subject)
    }
}

impl Server {
    /// `spec` for `shard`, which has its first `known` pieces already.
    fn config(
        &self,
        spec: &VolumeSpec,
        shard: usize,
        known: usize,
    ) -> io::Result<VolumeConfig<OwnedFd>> {
        let segments =
            spec.pieces.iter().skip(known).map(segment).collect::<io::Result<Vec<_>>>()?;
        let journal = match &spec.journal {
            Some(journal) => journal_config(journal, shard, self.shards.len())?,
            None => None,
        };
        // Memory needs none: nothing of it survives what a journal is for.
        let in_memory = spec.pieces.iter().all(|piece| matches!(piece.media, Media::Memory));
        let atomic = in_memory || journal.is_some();
        // What must be remembered over a restart needs a place.
        let sanitize = spec.allow_sanitize && atomic;
        let whole = self.target(spec, None, spec.id, 0, spec.blocks);
        // Of a partition only what is zeroed, as of the volume: records may tell of more.
        let parts = spec.partitions.iter().filter(|part| part.start < spec.blocks).map(|part| {
            let blocks = part.blocks.min(spec.blocks - part.start);
            self.target(spec, Some(part.number), part.id, part.start, blocks)
        });
        Ok(VolumeConfig {
            id: spec.id,
            write_policy: spec.write_policy,
            faulted: spec.state == VolumeState::Faulted,
            segments,
            ledgers: Vec::new(),
            journal,
            targets: std::iter::once(whole)
                .chain(parts)
                .map(|target| TargetConfig {
                    lu: LuConfig { atomic, sanitize, ..target.lu },
                    ..target
                })
                .collect(),
        })
    }

    /// The files for the reservations of targets that are new. What is in memory forgets them with
    /// everything else.
    async fn ledgers(&self, spec: &VolumeSpec) -> io::Result<Vec<LedgerConfig<OwnedFd>>> {
        let in_memory = spec.pieces.iter().all(|piece| matches!(piece.media, Media::Memory));
        let Some(place) = self.reservations.clone().filter(|_| !in_memory) else {
            return Ok(Vec::new());
        };
        let known: Vec<Uuid> =
            self.lock().exports.targets.values().map(|route| route.target).collect();
        let all = std::iter::once(spec.id).chain(spec.partitions.iter().map(|part| part.id));
        let new: Vec<Uuid> = all.filter(|id| !known.contains(id)).collect();
        let open = move || {
            let ledger =
                |target| place.open(target).map(|(file, kept)| LedgerConfig { target, file, kept });
            new.into_iter().map(ledger).collect()
        };
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }

    fn target(
        &self,
        spec: &VolumeSpec,
        partition: Option<u16>,
        id: Uuid,
        start: u64,
        blocks: u64,
    ) -> TargetConfig {
        let name = self.target_name(spec, partition);
        let mark = spec.journal.as_ref().and_then(|journal| journal.marks.get(&id));
        let port = TargetPort {
            group: spec.place.target_port_group,
            relative: spec.place.relative_port,
            ..TargetPort::first(name.clone())
        };
        let lu = LuConfig {
            portal_groups: self.portal_groups.clone(),
            physical_block_size: spec.physical_block_size.max(spec.block_size),
            first_block: start,
            write_cache: spec.write_policy == WritePolicy::High,
            volatile: spec.volatile,
            read_only: spec.read_only,
            unmap: spec.pieces.iter().all(|piece| {
                matches!(piece.media, Media::Memory) || piece.zero != ZeroWith::Writes
            }),
            wipe_failed: mark.map(|mark| mark.by),
            rotational: spec.rotational,
            ..LuConfig::new(id, port, blocks, spec.block_size)
        };
        let name = IscsiName::new(&name).expect("a prefix and a checked volume name");
        TargetConfig { id, name, start: start * u64::from(spec.block_size), lu }
    }
}

/// A shard's part of a journal; none where there are more shards than slots.
fn journal_config(
    spec: &JournalSpec,
    shard: usize,
    shards: usize,
) -> io::Result<Option<JournalConfig<OwnedFd>>> {
    let slots = journal::slots_of(shard, shards).into_iter().map(|slot| spec.at + slot);
    let slots: Vec<u64> = slots.filter(|slot| !spec.left.contains(slot)).collect();
    if slots.is_empty() {
        return Ok(None);
    }
    let is_marked = |page: &u64| spec.marks.values().any(|mark| mark.at == *page);
    let pages = journal::marks_of(shard, shards).into_iter().filter(|page| !is_marked(page));
    Ok(Some(JournalConfig {
        device: spec.device,
        file: spec.file.try_clone()?,
        slots,
        pages: pages.map(|page| spec.at + page).collect(),
        marked: spec.marks.iter().map(|(target, mark)| (*target, spec.at + mark.at)).collect(),
    }))
}

fn route(shard: usize, volume: Uuid, target: &TargetConfig) -> (String, Route) {
    let LuConfig { block_size, blocks, .. } = target.lu;
    let route = Route { shard, volume, target: target.id, block_size, blocks };
    (target.name.to_string(), route)
}

fn segment(piece: &Piece) -> io::Result<SegmentConfig<OwnedFd>> {
    let file = match &piece.media {
        Media::Memory => None,
        Media::File(fd) => Some((fd.try_clone()?, piece.offset, piece.zero)),
    };
    Ok(SegmentConfig { device: piece.device, len: piece.len, file })
}
