//! What a seed stands for: how many of everything, and which things go wrong. Each seed has only
//! some kinds of trouble (Groce and others, "Swarm testing", 2012): with all of them at once the
//! rarer ones are never reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use outband_control::access::{ANY_HOST, AccessTable, Chap, Epoch, Grant};
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_control::secret::Secret;
use outband_protocol::ids::IscsiName;
use outband_protocol::initiator::Timing;
use outband_protocol::keys::{DigestWish, Offer};
use outband_target_server::media::journal::JOURNAL_LEN;
use outband_target_server::media::{WritePolicy, ZeroWith};
use uuid::Uuid;

use crate::rng::Rng;
use crate::sequences::Script;
use crate::{disk, net};

/// Everything that a seed decides before anything happens.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards of the target.
    pub shards: usize,
    /// Operations that a ring takes at a time.
    pub ring_limit: usize,
    /// Of a thousand reads and writes so many are over when the ring has them.
    pub spot: u32,
    /// What the target offers.
    pub offer: Offer,
    /// Memory for the data of tasks, a shard.
    pub buffer_bytes: usize,
    /// Tasks beyond those that each session starts with.
    pub tasks: u32,
    /// The disks.
    pub disks: Vec<DiskSetup>,
    /// The volumes.
    pub volumes: Vec<VolumeSetup>,
    /// The hosts.
    pub hosts: Vec<HostSetup>,
    /// How streams are treated.
    pub net: net::Faults,
    /// What else goes wrong.
    pub chaos: Chaos,
    /// After every event, every disk that a power cut could leave then is looked at.
    pub every_cut: bool,
}

/// A disk.
#[derive(Clone, Debug)]
pub struct DiskSetup {
    /// Bytes.
    pub len: u64,
    /// Bytes of a sector, which is never torn.
    pub sector_len: usize,
    /// What goes wrong.
    pub faults: disk::Faults,
}

/// A volume.
#[derive(Clone, Debug)]
pub struct VolumeSetup {
    /// Identity.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// On which shard.
    pub shard: usize,
    /// Blocks.
    pub blocks: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// When a write is acknowledged.
    pub policy: WritePolicy,
    /// How its disks make zeros.
    pub zero: ZeroWith,
    /// Where it lies: disk, first byte, bytes.
    pub pieces: Vec<(usize, u64, u64)>,
    /// Hosts by position; only one of them at a time is granted, if `exclusive`.
    pub hosts: Vec<usize>,
    /// Granted to one host at a time, by name; else to whoever comes.
    pub exclusive: bool,
    /// In the target's memory: it is gone with the process, and nothing on it is ever durable.
    pub memory: bool,
    /// Its first disk has a journal for atomic writes, at [`JOURNAL_AT`].
    pub atomic: bool,
}

/// Where the journal of a disk begins: behind all volumes.
pub const JOURNAL_AT: u64 = 8 << 20;

/// A host.
#[derive(Clone, Debug)]
pub struct HostSetup {
    /// Initiator name.
    pub name: IscsiName,
    /// What it proves itself with where volumes are exclusive: user and secret.
    pub chap: (String, String),
    /// Address.
    pub address: IpAddr,
    /// Where it connects to.
    pub portal: SocketAddr,
    /// Its volume.
    pub volume: usize,
    /// Blocks that it may write.
    pub writes: Range<u32>,
    /// Its session may repeat writes when a connection is lost.
    pub repeats: bool,
    /// Requests at a time.
    pub depth: u16,
    /// What it offers.
    pub offer: Offer,
    /// Its requests before the end.
    pub quota: u32,
    /// Longest request, in blocks.
    pub blocks_max: u32,
    /// So many times in a thousand it asks for the next thing at once.
    pub eager: u32,
    /// Of its requests so many per thousand are reads, and of the others so many syncs, beside those
    /// that come anyway.
    pub reads: u32,
    /// See there.
    pub syncs: u32,
    /// Of its writes so many per thousand with FUA.
    pub fua: u32,
    /// Time between two requests.
    pub pause: Range<Duration>,
    /// Of its requests so many per thousand have a deadline that is hard to keep.
    pub hasty: u32,
    /// Damaged writes once logged in, in times per thousand; with digests only.
    pub damage: u32,
    /// Times of its session.
    pub timing: Timing,
    /// What it asks for when, in place of anything; for [`sequences`](crate::sequences).
    pub script: Script,
}

/// How likely it is that this happens next, as weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chaos {
    /// Time between two of these, at most.
    pub every: Duration,
    /// How many of them there are.
    pub most: u32,
    /// Nothing.
    pub peace: u32,
    /// The target's machine loses its power.
    pub power: u32,
    /// The target's process is killed.
    pub kill: u32,
    /// The target is stopped in order, and started again.
    pub stop: u32,
    /// A connection is blocked in one direction or both, for a while.
    pub block: u32,
    /// A connection is reset.
    pub reset: u32,
    /// A host process dies and starts again under another ISID.
    pub host: u32,
    /// A host logs out and in again.
    pub logout: u32,
    /// A grant is fenced and given to another host.
    pub fence: u32,
    /// The operator looks after a faulted volume.
    pub recover: u32,
    /// Somebody connects who has no business here.
    pub stranger: u32,
}

impl Chaos {
    /// The weights of everything that can go wrong.
    pub fn weights(&mut self) -> [&mut u32; 10] {
        let Self {
            power, kill, stop, block, reset, host, logout, fence, recover, stranger, ..
        } = self;
        [power, kill, stop, block, reset, host, logout, fence, recover, stranger]
    }
}

/// CHAP of all hosts, in seeds that have it.
pub const SECRET: &str = "sixteen bytes it";

impl Setup {
    /// What `seed` stands for.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let shards = 1 + rng.index(2);
        let block_size = rng.pick(&[512u32, 512, 512, 4096]);
        let sync_errors = rng.chance(300);
        let mut setup = Self {
            shards,
            ring_limit: rng.pick(&[8, 32, 256, 4096]),
            spot: rng.pick(&[0, 0, 300, 1000]),
            offer: offer(rng, DigestWish::Allow),
            buffer_bytes: rng.pick(&[256 << 10, 1 << 20, 8 << 20]),
            tasks: rng.pick(&[0, 16, 1024]),
            disks: Vec::new(),
            volumes: Vec::new(),
            hosts: Vec::new(),
            net: net_faults(rng),
            chaos: chaos(rng, sync_errors),
            every_cut: false,
        };
        let faults = disk_faults(rng, sync_errors);
        let damage = if rng.chance(150) { 3 } else { 0 };
        // Requests of more than MaxBurstLength, which go through a buffer burst by burst.
        let large = block_size == 4096 && rng.chance(250);
        if block_size == 4096 {
            // A swap of sixteen blocks has two buffers, of 256 and of 64 KiB: in less than that it never ends.
            setup.buffer_bytes = setup.buffer_bytes.max(1 << 20);
            // Where streams are cut is no matter of block sizes, and this much in crumbs is slow to simulate.
            setup.net.segment_len_max = setup.net.segment_len_max.max(2000);
            setup.net.window = setup.net.window.max(16 << 10);
        }
        for volume in 0..1 + rng.index(2) {
            setup.draw_volume(volume, block_size, large, &faults, rng);
            setup.draw_hosts(volume, damage, rng);
        }
        if large {
            setup.make_hosts_ask_for_much(rng);
        }
        setup
    }

    fn make_hosts_ask_for_much(&mut self, rng: &mut Rng) {
        for host in &mut self.hosts {
            host.blocks_max = 500;
            host.depth = host.depth.min(3);
            host.quota = u32::try_from(rng.within(4..9)).expect("small");
            host.timing.keepalive_interval = Duration::from_secs(2);
            host.timing.keepalive_timeout = Duration::from_secs(2);
            host.offer.max_recv = host.offer.max_recv.max(64 << 10);
        }
        self.offer.max_recv = self.offer.max_recv.max(64 << 10);
        // Megabytes in little pieces are slow to simulate.
        self.net = net::Faults {
            segment_len_max: 64 << 10,
            window: 256 << 10,
            short: self.net.short.min(100),
            delay: Duration::from_micros(5)..Duration::from_micros(50),
        };
    }

    fn draw_volume(
        &mut self,
        index: usize,
        block_size: u32,
        large: bool,
        faults: &disk::Faults,
        rng: &mut Rng,
    ) {
        let mut pieces: Vec<(usize, u64, u64)> = Vec::new();
        let mut blocks = 0;
        // Each volume has its own disks: a failed sync is then its own, too.
        let disks = self.disks.len()..self.disks.len() + 1 + rng.index(2);
        for _ in disks.clone() {
            let (sector_len, len) = (block_size as usize, JOURNAL_AT + JOURNAL_LEN);
            self.disks.push(DiskSetup { len, sector_len, faults: faults.clone() });
        }
        for piece in 0..disks.len() + rng.index(2) {
            let count = if large { 300..600 } else { 4..80 };
            let count = u32::try_from(rng.within(count)).expect("small");
            let disk = disks.start + piece % disks.len();
            let taken = pieces.iter().filter(|(on, ..)| *on == disk).map(|(_, at, len)| at + len);
            let gap = rng.within(0..4) * u64::from(block_size);
            let at = taken.max().unwrap_or(0) + gap;
            pieces.push((disk, at, u64::from(count * block_size)));
            blocks += count;
        }
        let mut id = [0; 16];
        rng.fill(&mut id);
        let memory = rng.chance(200);
        let normal = if faults.sync_error > 0 { 100 } else { 333 };
        let policy = if rng.chance(normal) { WritePolicy::Normal } else { WritePolicy::High };
        self.volumes.push(VolumeSetup {
            id: Uuid::from_bytes(id),
            name: format!("vol-{index}"),
            shard: rng.index(self.shards),
            blocks,
            block_size,
            policy: if memory { WritePolicy::High } else { policy },
            zero: rng.pick(&[ZeroWith::Range, ZeroWith::Punch]),
            pieces,
            hosts: Vec::new(),
            exclusive: self.chaos.fence > 0,
            memory,
            atomic: rng.chance(700) && !memory,
        });
    }

    fn draw_hosts(&mut self, volume: usize, damage: u32, rng: &mut Rng) {
        let count = 1 + rng.index(3) + usize::from(self.volumes[volume].exclusive);
        let blocks = self.volumes[volume].blocks;
        // Hosts that repeat writes write each to its own blocks: what they may do to each other's
        // is theirs to agree on.
        let repeats = rng.coin();
        let exclusive = self.volumes[volume].exclusive;
        let sync_errors = self.loses_writes();
        for part in 0..count {
            let index = self.hosts.len();
            let (number, of) =
                (u32::try_from(part).expect("few"), u32::try_from(count).expect("few"));
            let own = blocks * number / of..blocks * (number + 1) / of;
            let digests = damage > 0 || rng.chance(300);
            let wish = if digests { DigestWish::Require } else { DigestWish::Allow };
            let name = format!("iqn.2026-11.local.outband:host-{index}");
            let last = u8::try_from(index + 1).expect("few hosts");
            self.hosts.push(HostSetup {
                name: IscsiName::new(&name).expect("a name"),
                chap: (name, SECRET.to_owned()),
                address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, last)),
                portal: self.portal(rng.index(self.shards)),
                volume,
                writes: if repeats && !exclusive { own } else { 0..blocks },
                repeats,
                depth: match self.volumes[volume].memory {
                    true => rng.pick(&[16, 64]),
                    false if sync_errors => 16,
                    false => rng.pick(&[1, 4, 16, 64]),
                },
                offer: offer(rng, wish),
                quota: u32::try_from(rng.within(40..250)).expect("small"),
                blocks_max: match self.volumes[volume].block_size {
                    512 => rng.pick(&[1, 4, 16]),
                    _ => rng.pick(&[1, 1, 2, 4, 16]),
                },
                // What a failed sync does to another one takes two at a time.
                eager: if sync_errors { 950 } else { rng.pick(&[200, 200, 950]) },
                reads: if self.volumes[volume].memory { rng.pick(&[0, 950]) } else { 0 },
                syncs: if sync_errors { 300 } else { 0 },
                fua: rng.pick(&[0, 100, 1000]),
                pause: Duration::ZERO..rng.pick(&[1, 300, 5000].map(Duration::from_micros)),
                hasty: if rng.chance(200) { 50 } else { 0 },
                damage,
                timing: timing(),
                script: Script::new(),
            });
            self.volumes[volume].hosts.push(index);
        }
    }

    /// Whether writes and syncs may fail. What an atomic write that failed has left is finished when its
    /// volume is recovered, long after it was answered, and that is no history to check.
    #[must_use]
    pub fn loses_writes(&self) -> bool {
        self.disks.iter().any(|disk| disk.faults.write_error + disk.faults.sync_error > 0)
    }

    /// Whether the end of a process takes something with it.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.volumes.iter().any(|volume| volume.memory)
    }

    /// The address that a shard listens at.
    #[must_use]
    pub fn portal(&self, shard: usize) -> SocketAddr {
        let last = u8::try_from(shard + 1).expect("few shards");
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 3260))
    }

    /// How targets are named.
    #[must_use]
    pub fn names(&self) -> TargetNames {
        TargetNames::new(TARGET_PREFIX, "sim")
    }

    /// A target's name.
    #[must_use]
    pub fn target(&self, volume: usize) -> IscsiName {
        let subject = self.volumes[volume].name.parse().expect("a volume's name");
        IscsiName::new(&self.names().target(&subject)).expect("a target's name")
    }

    /// A grant of a volume to one of its hosts, or to whoever comes.
    #[must_use]
    pub fn grant(&self, volume: usize, host: Option<usize>, epoch: u64) -> Grant {
        let name = host.map(|host| self.hosts[host].name.to_string());
        let name = name.unwrap_or_else(|| ANY_HOST.to_owned());
        Grant {
            subject: self.volumes[volume].name.parse().expect("a volume's name"),
            chap: host.map(|_| Chap {
                user: name.clone(),
                secret: Secret::new(SECRET),
                mutual: None,
            }),
            host: name,
            sources: Vec::new(),
            epoch: Epoch(epoch),
            sessions_per_portal: 1,
        }
    }

    /// The access table at the start.
    #[must_use]
    pub fn access(&self) -> AccessTable {
        let mut access = AccessTable::new(self.names());
        for (volume, setup) in self.volumes.iter().enumerate() {
            let first = setup.exclusive.then(|| setup.hosts[0]);
            access.grant(self.grant(volume, first, 1)).expect("an empty table takes a grant");
        }
        access
    }

    /// Where a block lies: disk and byte.
    #[must_use]
    pub fn place(&self, volume: usize, lba: u32) -> (usize, u64) {
        let setup = &self.volumes[volume];
        let mut at = u64::from(lba) * u64::from(setup.block_size);
        for (disk, start, len) in &setup.pieces {
            if at < *len {
                return (*disk, start + at);
            }
            at -= len;
        }
        panic!("block {lba} is behind the end of volume {volume}");
    }
}

/// Times of a session: short, so that much happens.
pub(crate) fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(1),
        login: Duration::from_secs(3),
        keepalive_interval: Duration::from_millis(500),
        keepalive_timeout: Duration::from_millis(500),
        abort: Duration::from_millis(500),
        logout: Duration::from_secs(1),
        back_off_first: Duration::from_millis(5),
        back_off_max: Duration::from_millis(300),
        first_login: Duration::from_secs(60),
        replacement: Duration::from_secs(60),
        busy_first: Duration::from_millis(2),
    }
}

pub(crate) fn offer(rng: &mut Rng, digests: DigestWish) -> Offer {
    let first_burst_len = rng.pick(&[512, 4096, 16 << 10, 256 << 10]);
    Offer {
        header_digest: digests,
        data_digest: digests,
        initial_r2t: rng.chance(300),
        immediate_data: rng.chance(700),
        max_recv: rng.pick(&[512, 1000, 8192, 256 << 10]),
        max_burst_len: rng.pick(&[first_burst_len, 32 << 10, 1 << 20]).max(first_burst_len),
        first_burst_len,
        max_outstanding_r2t: rng.pick(&[1, 2, 8]),
        ..Offer::default()
    }
}

fn net_faults(rng: &mut Rng) -> net::Faults {
    let delay = rng.pick(&[50u64, 500, 5000]);
    net::Faults {
        delay: Duration::from_micros(5)..Duration::from_micros(delay),
        // Single bytes are slow to simulate, so only some seeds have them.
        segment_len_max: rng.pick(&[16, 100, 2000, 64 << 10, 64 << 10]),
        window: rng.pick(&[1000, 16 << 10, 256 << 10]),
        short: rng.pick(&[0, 100, 500]),
    }
}

fn disk_faults(rng: &mut Rng, sync_errors: bool) -> disk::Faults {
    let rate = |rng: &mut Rng, per_mille: u32| if rng.chance(300) { per_mille } else { 0 };
    disk::Faults {
        short: rate(rng, 100),
        again: rate(rng, 50),
        read_error: rate(rng, 10),
        write_error: if sync_errors { rate(rng, 5) } else { 0 },
        sync_error: if sync_errors { 40 } else { 0 },
        no_zeroing: rng.chance(200),
        stall: rate(rng, 20),
        latency: Duration::from_micros(10)..Duration::from_micros(rng.pick(&[50, 500, 5000])),
        lying_flush: false,
    }
}

fn chaos(rng: &mut Rng, sync_errors: bool) -> Chaos {
    let some = |rng: &mut Rng, weight: u32| if rng.coin() { weight } else { 0 };
    Chaos {
        every: Duration::from_millis(rng.pick(&[5, 20, 100])),
        most: rng.pick(&[10, 50, 150]),
        peace: 20,
        power: some(rng, 4),
        kill: some(rng, 2),
        stop: some(rng, 1),
        block: some(rng, 10),
        reset: some(rng, 5),
        host: some(rng, 5),
        logout: some(rng, 3),
        fence: if rng.chance(250) { 5 } else { 0 },
        recover: if sync_errors { 5 } else { 0 },
        stranger: some(rng, 5),
    }
}
