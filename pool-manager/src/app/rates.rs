//! Who looks at rates, and what the last looks at units have brought. Nothing is asked of a unit while
//! nobody looks; while somebody does, it is asked once a second, however many look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outband_control::api::Counts;
use outband_pool_api::{Problem, Rates, UnitState};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::read::Read;
use super::{Action, Caller, Station};
use crate::rates::{between, latency};
use crate::records::{Stored, UnitRecord};

/// A unit is looked at for so long after somebody has last asked about it.
const INTEREST: Duration = Duration::from_secs(10);
/// As long as a first answer may take: two looks, a second apart.
const FIRST_MAX: Duration = Duration::from_secs(3);

/// The units that somebody looks at.
#[derive(Debug, Default)]
pub struct Watched {
    units: Mutex<BTreeMap<Uuid, Watch>>,
    asked: Notify,
    looked: watch::Sender<u64>,
}

#[derive(Debug)]
struct Watch {
    asked: Instant,
    looks: u32,
    last: Option<Arc<Counts>>,
    rates: Option<Arc<Rates>>,
}

impl Watched {
    fn units(&self) -> MutexGuard<'_, BTreeMap<Uuid, Watch>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, units: &[Uuid], now: Instant) {
        let mut all = self.units();
        for unit in units {
            let new = Watch { asked: now, looks: 0, last: None, rates: None };
            all.entry(*unit).or_insert(new).asked = now;
        }
        drop(all);
        self.asked.notify_one();
    }

    /// Those that are to be looked at now; what nobody asks about any more is forgotten.
    pub fn wanted(&self, now: Instant) -> Vec<Uuid> {
        let mut all = self.units();
        all.retain(|_, watch| now < watch.asked + INTEREST);
        all.keys().copied().collect()
    }

    /// Done when somebody has asked since this was last waited for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// What a look at the unit `name` has brought; `None` if it gave no answer.
    pub fn take(&self, unit: Uuid, name: &str, counts: Option<Counts>) {
        if let Some(watch) = self.units().get_mut(&unit) {
            let counts = counts.map(Arc::new);
            let both = watch.last.as_ref().zip(counts.as_ref());
            watch.rates = both.and_then(|(last, now)| between(last, now, name)).map(Arc::new);
            watch.last = counts;
            watch.looks = watch.looks.saturating_add(1);
        }
    }

    /// Every unit that was wanted has been looked at.
    pub fn end_round(&self) {
        self.looked.send_modify(|round| *round = round.wrapping_add(1));
    }

    /// Whether there is nothing to wait for: a unit that gives no answer is not waited for twice.
    fn is_there(&self, units: &[Uuid]) -> bool {
        let all = self.units();
        units
            .iter()
            .all(|unit| all.get(unit).is_some_and(|watch| watch.rates.is_some() || watch.looks > 1))
    }

    fn of(&self, unit: Uuid) -> (Option<Arc<Counts>>, Option<Arc<Rates>>) {
        let all = self.units();
        let watch = all.get(&unit);
        watch.map_or((None, None), |watch| (watch.last.clone(), watch.rates.clone()))
    }
}

impl Station {
    /// Of all volumes and sessions; whoever is the first to ask waits for two looks.
    pub async fn rates(&self, who: &Caller) -> Result<Rates, Problem> {
        who.must(Action::SeeAnyVolume)?;
        let answering = self.answering().await?;
        let units: Vec<Uuid> = answering.iter().map(|(unit, _)| *unit).collect();
        self.watch(&units).await;
        let mut all = Rates::default();
        for (unit, name) in answering {
            match self.watched.of(unit).1 {
                Some(rates) => {
                    all.volumes.extend_from_slice(&rates.volumes);
                    all.sessions.extend_from_slice(&rates.sessions);
                }
                None => all.silent.push(name),
            }
        }
        Ok(all)
    }

    /// Of one volume and its partitions, for whoever may see it.
    pub async fn volume_rates(&self, who: &Caller, name: &str) -> Result<Rates, Problem> {
        let volume = self.volume(who, name).await?;
        self.watch(&[volume.unit]).await;
        Ok(self.volume_rates_now(volume.unit, &volume.unit_name, name))
    }

    /// As [`Self::volume_rates`], as far as they are there already.
    pub(crate) async fn volume_rates_so_far(
        &self,
        who: &Caller,
        name: &str,
    ) -> Result<Rates, Problem> {
        let volume = self.volume(who, name).await?;
        self.watched.ask(&[volume.unit], self.machine.now());
        Ok(self.volume_rates_now(volume.unit, &volume.unit_name, name))
    }

    fn volume_rates_now(&self, unit: Uuid, unit_name: &str, name: &str) -> Rates {
        let (counts, rates) = self.watched.of(unit);
        let (Some(counts), Some(rates)) = (counts, rates) else {
            return Rates { silent: vec![unit_name.to_owned()], ..Rates::default() };
        };
        let mut own = (*rates).clone();
        // A partition's name is its volume's with more behind it.
        let known = counts.volumes.iter().filter(|one| one.subject.volume() == name);
        let known: BTreeMap<String, _> = known.map(|one| (one.subject.to_string(), one)).collect();
        own.volumes.retain_mut(|one| {
            let counted = known.get(&one.volume);
            one.latency = counted.map(|counted| latency(&counts, counted)).unwrap_or_default();
            counted.is_some()
        });
        own.sessions.retain(|one| known.contains_key(&one.volume));
        own
    }

    async fn watch(&self, units: &[Uuid]) {
        self.watched.ask(units, self.machine.now());
        let mut looked = self.watched.looked.subscribe();
        let there = looked.wait_for(|_| self.watched.is_there(units));
        // Late or not, what is there is told.
        let _ = self.machine.timeout(FIRST_MAX, there).await;
    }

    /// Identity and name of each unit that is in the pool and may answer.
    async fn answering(&self) -> Result<Vec<(Uuid, String)>, Problem> {
        let read = Read::units(self).await?;
        let may_answer = |unit: &&Arc<Stored<UnitRecord>>| {
            matches!(read.unit_state(&unit.record), UnitState::Joined | UnitState::Suspect)
        };
        let answering = read.units.iter().filter(may_answer);
        Ok(answering.map(|unit| (unit.record.id, unit.record.name.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_looked_at_while_somebody_asks_and_no_longer() {
        let (watched, born) = (Watched::default(), Instant::now());
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(watched.wanted(born).is_empty());
        watched.ask(&[one], born);
        watched.ask(&[one, two], born + Duration::from_secs(1));
        watched.ask(&[two], born + Duration::from_secs(5));
        assert_eq!(watched.wanted(born + Duration::from_secs(10)), [one, two]);
        assert_eq!(watched.wanted(born + Duration::from_secs(11)), [two]);
        assert!(watched.wanted(born + INTEREST * 2).is_empty());
        watched.take(two, "two", Some(Counts::default()));
        assert!(watched.of(two).0.is_none(), "what was late is of nobody's interest");
    }

    #[test]
    fn two_looks_make_rates_and_silence_ends_them() {
        let (watched, unit) = (Watched::default(), Uuid::from_u128(1));
        let counts = |second: u64| Counts { at_micros: second * 1_000_000, ..Counts::default() };
        watched.ask(&[unit], Instant::now());
        watched.take(unit, "unit", Some(counts(1)));
        assert!(watched.of(unit).1.is_none() && !watched.is_there(&[unit]));
        watched.take(unit, "unit", Some(counts(2)));
        assert!(watched.of(unit).1.is_some() && watched.is_there(&[unit]));
        watched.take(unit, "unit", None);
        assert!(watched.of(unit).1.is_none() && watched.is_there(&[unit]));
        watched.take(unit, "unit", Some(counts(9)));
        assert!(watched.of(unit).1.is_none(), "nobody knows since when");
    }
}
