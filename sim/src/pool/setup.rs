//! What a seed of the pool stands for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::post;
use crate::rng::Rng;
use crate::setup::Setup as TargetSetup;
use crate::{disk, setup};

/// Everything that a seed decides before anything happens.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What shards and hosts are made of; volumes and hosts come as they are asked for.
    pub target: TargetSetup,
    /// Units.
    pub units: usize,
    /// Shards of each.
    pub shards: usize,
    /// Space of each, in MiB.
    pub capacity: u64,
    /// Volumes that a unit's operator has made beforehand.
    pub stocked: usize,
    /// Registered hosts.
    pub hosts: usize,
    /// Users.
    pub users: usize,
    /// Volumes that each of them has names for.
    pub names: usize,
    /// What each of them wants.
    pub wishes: u32,
    /// Between two of its wishes, at most.
    pub pause: Duration,
    /// How messages are treated.
    pub post: post::Faults,
    /// What else goes wrong.
    pub chaos: Chaos,
    /// Units keep their access table on something that lies about syncs, which is not fair.
    pub lying: bool,
    /// The station dies after this many of its steps, and then no more of itself.
    pub station_dies_after: Option<u32>,
    /// The same of the first unit.
    pub unit_dies_after: Option<u32>,
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
    /// The station is killed, after some of its steps.
    pub station: u32,
    /// A unit's process is killed, after some of its steps.
    pub unit: u32,
    /// A unit's machine loses its power.
    pub power: u32,
    /// A unit is stopped in order.
    pub leave: u32,
    /// A unit, or the station, is cut off from the control network.
    pub partition: u32,
    /// A connection of a host is blocked or reset.
    pub reset: u32,
    /// A host's process dies.
    pub host: u32,
}

impl Chaos {
    /// The weights of everything that can go wrong.
    pub fn weights(&mut self) -> [&mut u32; 7] {
        let Self { station, unit, power, leave, partition, reset, host, .. } = self;
        [station, unit, power, leave, partition, reset, host]
    }
}

impl Setup {
    /// What `seed` stands for.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let mut target = TargetSetup::draw(rng);
        target.volumes.clear();
        target.hosts.clear();
        let latency = Duration::from_micros(10)..Duration::from_micros(rng.pick(&[100, 2000]));
        let again = rng.pick(&[0, 0, 30]);
        let faults = disk::Faults { again, latency, stall: 5, ..disk::Faults::default() };
        target.disks.clear();
        let units = 1 + rng.index(3);
        for _ in 0..units {
            let (len, sector_len, faults) = (1 << 32, 512, faults.clone());
            target.disks.push(setup::DiskSetup { len, sector_len, faults });
        }
        // Single bytes belong to the other world: here much else happens.
        target.net.segment_len_max = target.net.segment_len_max.max(2000);
        // Hosts are to expect that their volumes are taken from them.
        target.chaos = setup::Chaos { fence: 1, ..setup::Chaos::default() };
        let mut setup = Self {
            target,
            units,
            shards: 1 + rng.index(2),
            capacity: rng.pick(&[3, 6, 64]),
            stocked: rng.index(2),
            hosts: 2 + rng.index(2),
            users: 1 + rng.index(3),
            names: 3,
            wishes: 3 + u32::try_from(rng.index(4)).expect("a few"),
            pause: rng.pick(&[10, 300, 3000].map(Duration::from_millis)),
            post: messages(rng),
            chaos: chaos(rng),
            lying: false,
            station_dies_after: None,
            unit_dies_after: None,
        };
        if rng.chance(150) {
            setup.make_calls_late();
        }
        setup
    }

    /// One user who wants one volume and does not want it again and again, on one unit, while calls come when
    /// their sender has long given up and something else has its name by now.
    pub fn make_calls_late(&mut self) {
        (self.units, self.users, self.names) = (1, 1, 1);
        self.target.disks.truncate(1);
        (self.wishes, self.capacity) = (25, 64);
        self.pause = Duration::from_millis(300);
        self.post = post::Faults {
            doubled: 500,
            late: 100,
            late_max: Duration::from_secs(20),
            ..post::Faults::none()
        };
    }

    /// The machine of a unit.
    #[must_use]
    pub fn unit_at(unit: usize) -> IpAddr {
        let third = u8::try_from(unit + 1).expect("a few units");
        Ipv4Addr::new(10, 1, third, 1).into()
    }

    /// A unit's portals, one a shard.
    #[must_use]
    pub fn portals(&self, unit: usize) -> Vec<SocketAddr> {
        let port = |shard: usize| 3260 + u16::try_from(shard).expect("a few shards");
        (0..self.shards).map(|shard| SocketAddr::new(Self::unit_at(unit), port(shard))).collect()
    }

    /// The station.
    #[must_use]
    pub fn station_at() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 2, 0, 1), 7400))
    }

    /// A user.
    #[must_use]
    pub fn user_at(user: usize) -> IpAddr {
        let last = u8::try_from(user + 1).expect("a few users");
        Ipv4Addr::new(10, 3, 0, last).into()
    }
}

fn messages(rng: &mut Rng) -> post::Faults {
    let delay = Duration::from_micros(rng.pick(&[300, 5_000, 80_000]));
    post::Faults {
        delay: Duration::from_micros(50)..delay,
        lost: rng.pick(&[0, 0, 30, 150]),
        doubled: rng.pick(&[0, 0, 50]),
        late: rng.pick(&[0, 0, 20, 80]),
        late_max: Duration::from_secs(rng.pick(&[1, 8, 60])),
    }
}

fn chaos(rng: &mut Rng) -> Chaos {
    let some = |rng: &mut Rng, weight: u32| if rng.coin() { weight } else { 0 };
    Chaos {
        every: Duration::from_millis(rng.pick(&[200, 1500, 6000])),
        most: rng.pick(&[4, 15, 40]),
        peace: 3,
        station: some(rng, 8),
        unit: some(rng, 8),
        power: rng.pick(&[0, 3, 20]),
        leave: some(rng, 2),
        partition: some(rng, 4),
        reset: some(rng, 4),
        host: some(rng, 3),
    }
}
