//! What must be true of grants at every moment: a volume has one host, an epoch is given once, and a
//! fence that was acknowledged has ended its grant.

use std::collections::BTreeMap;

use uuid::Uuid;

/// A grant as a unit's shards have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub(super) host: String,
    pub(super) epoch: u64,
}

/// Remembers every grant that ever was in force.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// By volume and epoch: to whom.
    given: BTreeMap<(Uuid, u64), String>,
    /// Fenced up to this epoch, by volume.
    ended: BTreeMap<Uuid, u64>,
    /// Grants whose sessions may still write, by volume.
    live: BTreeMap<Uuid, Given>,
    /// What each unit last gave to its shards, by name of the volume.
    tables: BTreeMap<usize, BTreeMap<String, Given>>,
}

impl Judge {
    /// A unit gives its shards these grants.
    pub(super) fn publishing(
        &mut self,
        unit: usize,
        grants: Vec<(String, String, u64)>,
        id_of: impl Fn(&str) -> Option<Uuid>,
    ) -> Result<(), String> {
        let mut table = BTreeMap::new();
        for (name, host, epoch) in grants {
            let given = Given { host, epoch };
            if let Some(id) = id_of(&name) {
                self.give(id, &name, &given)?;
            }
            table.insert(name, given);
        }
        self.tables.insert(unit, table);
        Ok(())
    }

    fn give(&mut self, id: Uuid, name: &str, new: &Given) -> Result<(), String> {
        let Given { host, epoch } = new;
        let before = self.given.insert((id, *epoch), host.clone());
        if let Some(before) = before.filter(|before| before != host) {
            return Err(format!("epoch {epoch} of {name} was given to {before} and to {host}"));
        }
        let newest = self.given.range((id, 0)..=(id, u64::MAX)).next_back();
        if newest.is_some_and(|((_, newest), _)| newest > epoch) {
            return Err(format!("epoch {epoch} of {name} comes after a higher one"));
        }
        if self.ended.get(&id).is_some_and(|ended| epoch <= ended) {
            return Err(format!("epoch {epoch} of {name} was fenced, and is in force again"));
        }
        match self.live.get(&id) {
            Some(held) if held == new => {}
            Some(held) => {
                return Err(format!(
                    "{name} is given to {host} (epoch {epoch}) while {} (epoch {}) may still write",
                    held.host, held.epoch
                ));
            }
            None => {
                self.live.insert(id, new.clone());
            }
        }
        Ok(())
    }

    /// No session of such a grant has anything under way any more.
    pub(super) fn drained(&mut self, id: Uuid, host: &str, epoch: u64) {
        let ended = self.ended.entry(id).or_default();
        *ended = epoch.max(*ended);
        if self.live.get(&id).is_some_and(|held| held.host == host && held.epoch <= epoch) {
            self.live.remove(&id);
        }
    }

    /// A fence was acknowledged.
    pub(super) fn acknowledged(&self, id: Uuid, host: &str, epoch: u64) -> Result<(), String> {
        match self.live.get(&id) {
            Some(held) if held.host == host && held.epoch <= epoch => Err(format!(
                "a fence of {host} up to epoch {epoch} is acknowledged, and epoch {} may still write",
                held.epoch
            )),
            _ => Ok(()),
        }
    }

    /// A unit's process is dead, and its sessions with it.
    pub(super) fn died(&mut self, unit: usize, is_its: impl Fn(Uuid) -> bool) {
        self.live.retain(|id, _| !is_its(*id));
        self.tables.remove(&unit);
    }

    /// Whether a unit has given its shards anything since it started.
    pub(super) fn has_table(&self, unit: usize) -> bool {
        self.tables.contains_key(&unit)
    }

    /// What a unit last gave to its shards.
    pub(super) fn table(&self, unit: usize) -> BTreeMap<String, Given> {
        self.tables.get(&unit).cloned().unwrap_or_default()
    }
}
