//! What the ledgers of all devices say together: which volumes there are, which are whole, and which
//! copies a cut left behind. Pure.
//!
//! A change of a volume is written to its other devices first and to its home last; the home's record
//! is the commit. So a copy one generation ahead of the home's is a change that never happened, and is
//! put back; any other disagreement is not ours to guess about, and takes the volume out of service.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::record::{Ledger, VolumeRecord};

/// Volumes of the unit, and what has to be written so that all copies agree again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Assembly {
    pub(crate) volumes: BTreeMap<Uuid, Assembled>,
    pub(crate) repairs: Vec<Repair>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Assembled {
    pub(crate) record: VolumeRecord,
    pub(crate) fault: Option<Broken>,
}

/// Why a volume is not whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    #[error("device {0} is missing")]
    DeviceMissing(Uuid),
    #[error("its devices hold different records of it")]
    Disagreement,
    #[error("another volume has the same name; remove one of them by its id")]
    NameClash,
    #[error(
        "an atomic write that was cut short cannot be finished; look after its devices and say `volume recover`"
    )]
    Unfinished,
}

/// One device's record of one volume is put back (`Some`) or forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Repair {
    pub(crate) device: Uuid,
    pub(crate) volume: Uuid,
    pub(crate) put: Option<VolumeRecord>,
}

type Ledgers<'a> = BTreeMap<Uuid, &'a Ledger>;

pub(crate) fn assemble(ledgers: &Ledgers<'_>) -> Assembly {
    let ids: BTreeSet<Uuid> = ledgers.values().flat_map(|l| l.volumes.keys().copied()).collect();
    let mut assembly = Assembly::default();
    for id in ids {
        let copies: Vec<(Uuid, &VolumeRecord)> = ledgers
            .iter()
            .filter_map(|(device, ledger)| Some((*device, ledger.volumes.get(&id)?)))
            .collect();
        assemble_one(ledgers, &copies, &mut assembly);
    }
    assembly
}

fn assemble_one(ledgers: &Ledgers<'_>, copies: &[(Uuid, &VolumeRecord)], out: &mut Assembly) {
    let (_, newest) = copies.iter().max_by_key(|(_, c)| c.generation).expect("an id has a copy");
    let home = newest.home();
    let broken = |fault| Assembled { record: (*newest).clone(), fault: Some(fault) };
    if copies.iter().any(|(_, copy)| copy.home() != home) {
        out.volumes.insert(newest.id, broken(Broken::Disagreement));
        return;
    }
    if !ledgers.contains_key(&home) {
        out.volumes.insert(newest.id, broken(Broken::DeviceMissing(home)));
        return;
    }
    let Some((_, decided)) = copies.iter().find(|(device, _)| *device == home) else {
        // Never committed, or its deletion was: the home knows nothing of it.
        if copies.iter().all(|(_, copy)| copy.generation == 1 || copy.leaving) {
            out.repairs.extend(copies.iter().map(|(device, copy)| forget(*device, copy)));
        } else {
            out.volumes.insert(newest.id, broken(Broken::Disagreement));
        }
        return;
    };
    let fault = check_copies(ledgers, decided, copies, &mut out.repairs);
    out.volumes.insert(decided.id, Assembled { record: (*decided).clone(), fault });
}

/// Compares every copy with the one that decides.
fn check_copies(
    ledgers: &Ledgers<'_>,
    decided: &VolumeRecord,
    copies: &[(Uuid, &VolumeRecord)],
    repairs: &mut Vec<Repair>,
) -> Option<Broken> {
    let members = decided.members();
    let mut fault = None;
    for member in &members {
        if !ledgers.contains_key(member) {
            fault = Some(Broken::DeviceMissing(*member));
        } else if !copies.iter().any(|(device, _)| device == member) {
            fault = Some(Broken::Disagreement);
        }
    }
    for (device, copy) in copies {
        let ahead = copy.generation == decided.generation + 1;
        if !members.contains(device) {
            // Devices join a volume and never leave it, so a copy that is not newer was never part of
            // it: a change that failed there, and others that succeeded since.
            if ahead || copy.generation <= decided.generation {
                repairs.push(forget(*device, copy));
            } else {
                fault = Some(Broken::Disagreement);
            }
        } else if ahead {
            let put = Some(decided.clone());
            repairs.push(Repair { device: *device, volume: decided.id, put });
        } else if *copy != decided {
            fault = Some(Broken::Disagreement);
        }
    }
    fault
}

fn forget(device: Uuid, copy: &VolumeRecord) -> Repair {
    Repair { device, volume: copy.id, put: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::record::Extent;
    use crate::media::{MIB, Place, VolumeName, WritePolicy};

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn record(generation: u64, devices: &[u128]) -> VolumeRecord {
        let extent = |d: &u128| Extent { device: id(*d), start: 4, len: 1, zeroed: true };
        VolumeRecord {
            id: id(100),
            name: VolumeName::new("v").unwrap(),
            block_size: 512,
            size: MIB,
            write_policy: WritePolicy::Normal,
            allow_sanitize: false,
            faulted: false,
            leaving: false,
            generation,
            epoch_floor: 0,
            place: Place::default(),
            extents: devices.iter().map(extent).collect(),
            partitions: Vec::new(),
        }
    }

    /// Assembles devices 1, 2, … holding the given records (`None`: the device knows nothing).
    fn check(copies: &[Option<VolumeRecord>]) -> Assembly {
        let ledgers: Vec<Ledger> = copies
            .iter()
            .map(|copy| Ledger {
                fresh_from: 0,
                volumes: copy.iter().map(|v| (v.id, v.clone())).collect(),
            })
            .collect();
        assemble(&ledgers.iter().enumerate().map(|(i, l)| (id(i as u128 + 1), l)).collect())
    }

    fn fault(assembly: &Assembly) -> Option<Broken> {
        assembly.volumes[&id(100)].fault.clone()
    }

    #[test]
    fn copies_that_agree_make_a_whole_volume() {
        let whole = check(&[Some(record(4, &[1, 2])), Some(record(4, &[1, 2]))]);
        assert_eq!((fault(&whole), whole.repairs.len()), (None, 0));
    }

    #[test]
    fn a_change_the_home_never_saw_is_put_back() {
        let grown = record(5, &[1, 2, 3]);
        let cut = check(&[Some(record(4, &[1, 2])), Some(grown.clone()), Some(grown)]);
        assert_eq!(fault(&cut), None);
        let put_back = Repair { device: id(2), volume: id(100), put: Some(record(4, &[1, 2])) };
        let dropped = Repair { device: id(3), volume: id(100), put: None };
        assert_eq!(cut.repairs, [put_back, dropped]);
    }

    #[test]
    fn a_creation_or_deletion_cut_short_leaves_orphans_that_are_forgotten() {
        let mut leaving = record(9, &[1, 2]);
        leaving.leaving = true;
        for orphan in [record(1, &[1, 2]), leaving] {
            let cut = check(&[None, Some(orphan)]);
            assert!(cut.volumes.is_empty());
            assert_eq!(cut.repairs, [Repair { device: id(2), volume: id(100), put: None }]);
        }
    }

    #[test]
    fn copies_further_apart_than_one_cut_are_not_guessed_about() {
        for (home, other) in [(4, 6), (4, 3), (6, 4)] {
            let apart = check(&[Some(record(home, &[1, 2])), Some(record(other, &[1, 2]))]);
            assert_eq!(fault(&apart), Some(Broken::Disagreement), "{home} {other}");
            assert!(apart.repairs.is_empty());
        }
        let forgotten = check(&[None, Some(record(4, &[1, 2]))]);
        assert_eq!(fault(&forgotten), Some(Broken::Disagreement));
        let mut other = record(4, &[1, 2]);
        other.epoch_floor = 8;
        let differing = check(&[Some(record(4, &[1, 2])), Some(other)]);
        assert_eq!(fault(&differing), Some(Broken::Disagreement));
    }

    #[test]
    fn a_device_that_never_joined_forgets_and_one_that_is_far_ahead_is_believed() {
        for behind in [3, 4, 5] {
            let strayed = check(&[Some(record(4, &[1])), Some(record(behind, &[1, 2]))]);
            assert_eq!(fault(&strayed), None);
            assert_eq!(strayed.repairs, [Repair { device: id(2), volume: id(100), put: None }]);
        }
        let ahead = check(&[Some(record(4, &[1])), Some(record(6, &[1, 2]))]);
        assert_eq!((fault(&ahead), ahead.repairs.len()), (Some(Broken::Disagreement), 0));
    }

    #[test]
    fn a_missing_device_is_named() {
        assert_eq!(fault(&check(&[Some(record(4, &[1, 2]))])), Some(Broken::DeviceMissing(id(2))));
        assert_eq!(fault(&check(&[Some(record(4, &[7, 1]))])), Some(Broken::DeviceMissing(id(7))));
    }
}
