//! The journals of simulated disks: what the target finds in them when it starts again is finished by
//! the real replay.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outband_target_server::media::journal::{self, Blocks, Verdict};
use uuid::Uuid;

use crate::disk::Disk;
use crate::setup::{JOURNAL_AT, Setup};

/// A disk that nobody else uses, as the replay sees it.
#[derive(Debug)]
struct Still(Mutex<Disk>);

impl Still {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks for Still {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.disk().peek(offset, into.len()));
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk().write_stable(offset, bytes);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.write_at(offset, &vec![0; len])
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The device that a disk is.
#[must_use]
pub fn device_of(disk: usize) -> Uuid {
    Uuid::from_u128(disk as u128 + 1)
}

/// Where on its disk a shard of so many has its slots.
#[must_use]
pub fn slots_of(shard: usize, shards: usize) -> Vec<u64> {
    journal::slots_of(shard, shards).into_iter().map(|at| JOURNAL_AT + at).collect()
}

/// Finishes atomic writes that were cut short, as the target does before it serves their volumes.
pub fn finish(setup: &Setup, disks: &mut Vec<Disk>) {
    let still = |disk| Arc::new(Still(Mutex::new(disk)));
    let all: Vec<Arc<Still>> = std::mem::take(disks).into_iter().map(still).collect();
    let mut devices = BTreeMap::<Uuid, Arc<dyn Blocks>>::new();
    for (index, disk) in all.iter().enumerate() {
        devices.insert(device_of(index), Arc::<Still>::clone(disk));
    }
    for volume in setup.volumes.iter().filter(|volume| volume.atomic) {
        let home = &all[volume.pieces[0].0];
        let judge = |intent: &journal::Intent| match intent.volume == volume.id {
            true => Verdict::Finish,
            false => Verdict::Leave,
        };
        let unfinished = journal::replay(&**home, JOURNAL_AT, &devices, judge);
        assert!(unfinished.is_ok_and(|volumes| volumes.is_empty()), "these disks never fail");
    }
    drop(devices);
    let own = |still| Arc::into_inner(still).expect("the replay is over");
    let disk = |Still(disk): Still| disk.into_inner().unwrap_or_else(PoisonError::into_inner);
    disks.extend(all.into_iter().map(own).map(disk));
}
