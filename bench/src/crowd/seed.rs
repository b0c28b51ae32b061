//! A pool that is there already: what the station has written down of volumes, and what units report
//! of the same.

use std::path::Path;

use outband_control::access::Epoch;
use outband_control::api::{TARGET_PREFIX, TargetNames, VolumeInfo};
use outband_pool_manager::records::{Holder, Place, Undo, VolumeRecord, Wish, encode, volume_key};
use outband_pool_manager::store::redb::RedbStore;
use outband_pool_manager::store::{OPERATIONS_MAX, Store, Transaction};
use uuid::Uuid;

use super::{Failure, unit};

pub const POOL: &str = "scale";
const SIZE: u64 = 1 << 30;
/// Units whose volumes are one host's.
const UNITS_PER_HOST: usize = 10;

/// Writes the records of `units` times `volumes_each` volumes, all at rest.
pub async fn write(state_dir: &Path, units: usize, volumes_each: usize) -> Result<(), Failure> {
    std::fs::create_dir_all(state_dir)?;
    let store = RedbStore::open(&state_dir.join("station.redb"))?;
    let all = (0..units).flat_map(|unit| (0..volumes_each).map(move |volume| (unit, volume)));
    let records: Vec<VolumeRecord> =
        all.map(|(unit, number)| record(unit, &volume(unit, number))).collect();
    for chunk in records.chunks(OPERATIONS_MAX) {
        let put = |transaction: Transaction, record: &VolumeRecord| {
            transaction.put(volume_key(&record.name), encode(record))
        };
        store.commit(chunk.iter().fold(Transaction::new(), put)).await?;
    }
    Ok(())
}

fn record(unit: usize, seen: &VolumeInfo) -> VolumeRecord {
    VolumeRecord {
        id: Some(seen.id),
        name: seen.name.clone(),
        unit: unit_id(unit),
        size: seen.size,
        block_size: None,
        write_policy: outband_pool_api::WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
        wish: Wish::Granted,
        holder: Some(Holder { host: host(unit), iqn: iqn(unit) }),
        epoch: 1,
        settled: true,
        place: Some(Place {
            target: seen.target.clone(),
            lun: u64::from(seen.lun),
            start_lba: seen.start_lba,
            end_lba: seen.end_lba,
            blocks: seen.blocks,
            block_size: seen.block_size,
        }),
        job: None,
        undo: Undo::Nothing,
        failure: None,
        restored: false,
    }
}

pub(super) fn volume(unit: usize, number: usize) -> VolumeInfo {
    let id = Uuid::from_u128((0x0e50 << 112) | ((unit as u128) << 64) | number as u128);
    unit::volume(id, &format!("v-{unit}-{number}"), SIZE, Epoch(1))
}

pub(super) fn unit_id(unit: usize) -> Uuid {
    Uuid::from_u128((0x0a11 << 112) | (unit as u128 + 1))
}

fn host(unit: usize) -> String {
    format!("host-{}", unit / UNITS_PER_HOST)
}

pub(super) fn iqn(unit: usize) -> String {
    format!("iqn.2026-11.test:{}", host(unit))
}

pub(super) fn names() -> TargetNames {
    TargetNames::new(TARGET_PREFIX, POOL)
}
