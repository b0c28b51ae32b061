//! Every short sequence of operations on two blocks over two connections, and of each every moment at
//! which the power may go, with every subset of what was not on stable storage then.
//!
//! Any version of a sector since its last stable one may survive, whatever survives of the others
//! ([`Disk::survivors`](crate::disk::Disk::survivors)): what is allowed of each block is what is allowed of
//! all subsets.

use std::time::Duration;

use outband_target_server::media::WritePolicy;

use crate::net;
use crate::run::{Defeat, run_altered};
use crate::setup::{Chaos, Setup};
use crate::{Moment, disk};

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// WRITE.
    Write {
        /// On stable storage at once.
        fua: bool,
    },
    /// SYNCHRONIZE CACHE.
    Sync,
    /// UNMAP.
    Unmap,
    /// WRITE SAME.
    Same,
}

/// One operation of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Over which connection.
    pub host: usize,
    /// What.
    pub asked: Asked,
    /// Of which block; a sync is of all.
    pub lba: u32,
}

/// When a host asks for what.
pub type Script = Vec<(Moment, Operation)>;

/// Longest sequence.
const LEN_MAX: usize = 3;
/// Both are logged in by then.
const BEGIN: Duration = Duration::from_millis(100);
/// One operation is over before the next, if they come one after the other.
const APART: Duration = Duration::from_millis(20);

/// All sequences of one to three operations.
pub fn all() -> impl Iterator<Item = Vec<Operation>> {
    let each = operations();
    let count = move |len: usize| each.len().pow(u32::try_from(len).expect("at most 3"));
    let each = operations();
    (1..=LEN_MAX).flat_map(move |len| {
        let each = each.clone();
        (0..count(len)).map(move |number| {
            let digit = |place: u32| number / each.len().pow(place) % each.len();
            (0..u32::try_from(len).expect("at most 3")).map(|place| each[digit(place)]).collect()
        })
    })
}

fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for host in 0..2 {
        all.push(Operation { host, asked: Asked::Sync, lba: 0 });
        for lba in 0..2 {
            let changes = [
                Asked::Write { fua: false },
                Asked::Write { fua: true },
                Asked::Unmap,
                Asked::Same,
            ];
            all.extend(changes.map(|asked| Operation { host, asked, lba }));
        }
    }
    all
}

/// Carries out a sequence, one operation after the other or all at once, with either write policy.
///
/// # Errors
/// When a power cut at any moment could break a promise, or anything else is wrong.
pub fn run(sequence: &[Operation]) -> Result<(), Box<Defeat>> {
    for apart in [APART, Duration::ZERO] {
        for policy in [WritePolicy::High, WritePolicy::Normal] {
            run_altered(0, false, |setup| shape(setup, sequence, apart, policy))?;
        }
    }
    Ok(())
}

fn shape(setup: &mut Setup, sequence: &[Operation], apart: Duration, policy: WritePolicy) {
    setup.every_cut = true;
    setup.chaos = Chaos::default();
    setup.net = net::Faults { short: 0, ..net::Faults::default() };
    setup.disks.truncate(1);
    setup.disks[0].sector_len = 512;
    setup.disks[0].faults = disk::Faults::default();
    setup.volumes.truncate(1);
    let volume = &mut setup.volumes[0];
    (volume.shard, volume.blocks, volume.block_size) = (0, 2, 512);
    (volume.policy, volume.pieces) = (policy, vec![(0, 0, 1024)]);
    (volume.memory, volume.atomic, volume.exclusive) = (false, false, false);
    volume.hosts = vec![0, 1];
    let mut host = setup.hosts[0].clone();
    (host.volume, host.writes, host.repeats, host.depth) = (0, 0..2, false, 8);
    (host.blocks_max, host.eager, host.hasty, host.damage) = (2, 1000, 0, 0);
    setup.hosts = vec![host.clone(), host];
    for (index, host) in setup.hosts.iter_mut().enumerate() {
        let at = |(place, operation): (u32, &Operation)| (BEGIN + apart * place, *operation);
        let own = |(_, operation): &(Moment, Operation)| operation.host == index;
        host.script = (0..).zip(sequence).map(at).filter(own).collect();
        host.quota = u32::try_from(host.script.len()).expect("at most 3");
        let last = u8::try_from(index + 1).expect("two hosts");
        host.address = [10, 0, 1, last].into();
    }
}
