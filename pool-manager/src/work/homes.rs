//! Volumes by the unit that they are to be on, as the store has last told: so that a worker looks at
//! its own and at nobody else's. May lag behind the store; whoever acts on a record reads it again.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::records::{Stored, VOLUMES, VolumeRecord, decode};
use crate::store::{Change, Entry, StoreError};

#[derive(Debug, Default)]
pub(super) struct Homes {
    /// By key.
    volumes: BTreeMap<String, Stored<VolumeRecord>>,
    keys: BTreeMap<Uuid, BTreeSet<String>>,
}

impl Homes {
    /// Of all there are.
    pub(super) fn of(all: Vec<Stored<VolumeRecord>>) -> Self {
        let mut homes = Self::default();
        for stored in all {
            homes.put(stored);
        }
        homes
    }

    /// Takes in a change and answers which units it concerns: where the volume was to be before, and
    /// where it is to be now.
    pub(super) fn take(&mut self, change: &Change) -> Result<BTreeSet<Uuid>, StoreError> {
        let known = self.volumes.get(&change.key);
        // One that was listed after it had happened.
        let is_old = known.is_some_and(|known| known.revision >= change.revision);
        if is_old || !change.key.starts_with(VOLUMES) {
            return Ok(BTreeSet::new());
        }
        let mut units: BTreeSet<Uuid> = self.remove(&change.key).into_iter().collect();
        if let Some(value) = change.value.clone() {
            let (key, revision) = (change.key.clone(), change.revision);
            let stored = decode::<VolumeRecord>(Entry { key, value, revision })?;
            units.insert(stored.record.unit);
            self.put(stored);
        }
        Ok(units)
    }

    fn put(&mut self, stored: Stored<VolumeRecord>) {
        self.keys.entry(stored.record.unit).or_default().insert(stored.key.clone());
        self.volumes.insert(stored.key.clone(), stored);
    }

    fn remove(&mut self, key: &str) -> Option<Uuid> {
        let unit = self.volumes.remove(key)?.record.unit;
        if let Some(keys) = self.keys.get_mut(&unit) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(&unit);
            }
        }
        Some(unit)
    }

    /// Those that are to be on the unit.
    pub(super) fn on(&self, unit: Uuid) -> Vec<Stored<VolumeRecord>> {
        let keys = self.keys.get(&unit).into_iter().flatten();
        keys.filter_map(|key| self.volumes.get(key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use outband_pool_api::WritePolicy;

    use super::*;
    use crate::records::{Undo, Wish, encode, volume_key};

    const ONE: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    fn record(name: &str, unit: Uuid) -> VolumeRecord {
        VolumeRecord {
            id: None,
            name: name.to_owned(),
            unit,
            size: 1 << 20,
            block_size: None,
            write_policy: WritePolicy::Normal,
            volatile: false,
            allow_sanitize: false,
            wish: Wish::Free,
            holder: None,
            epoch: 0,
            settled: true,
            place: None,
            job: None,
            undo: Undo::Nothing,
            failure: None,
            restored: false,
        }
    }

    fn change(name: &str, unit: Option<Uuid>, revision: u64) -> Change {
        let value = unit.map(|unit| encode(&record(name, unit)));
        Change { key: volume_key(name), value, revision }
    }

    fn names(homes: &Homes, unit: Uuid) -> Vec<String> {
        homes.on(unit).into_iter().map(|stored| stored.record.name).collect()
    }

    #[test]
    fn a_change_concerns_where_a_volume_was_and_where_it_is() {
        let mut homes = Homes::default();
        let mut take = |change: Change| {
            let units: Vec<Uuid> = homes.take(&change).unwrap().into_iter().collect();
            (units, names(&homes, ONE), names(&homes, TWO))
        };
        let named = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(take(change("a", Some(ONE), 3)), (vec![ONE], named(&["a"]), vec![]));
        assert_eq!(take(change("b", Some(ONE), 4)), (vec![ONE], named(&["a", "b"]), vec![]));
        // Deleted, and made anew on another unit, in one batch.
        assert_eq!(take(change("a", Some(TWO), 6)), (vec![ONE, TWO], named(&["b"]), named(&["a"])));
        assert_eq!(take(change("a", Some(ONE), 5)), (vec![], named(&["b"]), named(&["a"])));
        assert_eq!(take(change("a", None, 6)), (vec![], named(&["b"]), named(&["a"])));
        assert_eq!(take(change("a", None, 7)), (vec![TWO], named(&["b"]), vec![]));
        let other = Change { key: "/host/a".to_owned(), ..change("a", Some(ONE), 9) };
        assert_eq!(take(other), (vec![], named(&["b"]), vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_stands_for_nothing() {
        let mut homes =
            Homes::of(vec![Stored { record: record("a", ONE), key: volume_key("a"), revision: 1 }]);
        let garbled = Change { key: volume_key("a"), value: Some(b"{".to_vec()), revision: 2 };
        assert!(matches!(homes.take(&garbled), Err(StoreError::Record { .. })));
        assert!(names(&homes, ONE).is_empty());
    }
}
