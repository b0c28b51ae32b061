//! Units: heard, approved, enrolled, forgotten.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use outband_pool_api::{Duty, Problem, Secret, Unit, UnitChange};
use uuid::Uuid;

use super::audit::{Change, must_match};
use super::read::Read;
use super::{Action, Caller, Station};
use crate::book::Pages;
use crate::health::Health;
use crate::quarantine::on_leave;
use crate::records::{ATTEMPTS, Stored, UnitRecord, encode, load, unit_key, update};
use crate::store::{Compare, Outcome, StoreError, Transaction};
use crate::unit::UnitView;
use crate::{names, problems, random};

/// What becomes of a unit that knows the join token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// It waits until the administrator approves it.
    #[default]
    Approve,
    /// It joins.
    Auto,
}

/// What a unit said of itself in a STARTUP whose seal was good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    pub id: Uuid,
    pub name: String,
    pub portals: Vec<SocketAddr>,
    pub api: SocketAddr,
    pub fingerprint: [u8; 32],
    pub version: String,
    pub incarnation: u64,
}

impl Station {
    /// A unit has started. With the join token a new one comes in; a known one must have its own
    /// secret for that, which the caller has verified.
    /// Answers whether it is approved.
    pub async fn handle_startup(&self, heard: &Heard, now: Instant) -> Result<bool, StoreError> {
        let key = unit_key(heard.id);
        for _ in 0..ATTEMPTS {
            let stored = load::<UnitRecord>(&self.store, &key).await?;
            if stored.as_ref().is_some_and(|stored| is_another(&stored.record, heard)) {
                tracing::warn!(unit = %heard.id, api = %heard.api,
                    "shows another certificate than the unit that was approved; not let in");
                return Ok(false);
            }
            let fresh = stored.is_none();
            let compare =
                stored.as_ref().map_or_else(|| Compare::Absent(key.clone()), Stored::unchanged);
            let before = stored.map(|stored| stored.record);
            // It starts anew, and nobody was told that it would stop.
            let fell = |before: &&UnitRecord| before.incarnation != heard.incarnation;
            let fallen = before.as_ref().filter(fell).map(|before| self.lost(before));
            let record = self.started(heard, fallen.as_ref().or(before.as_ref()));
            // Before its worker is woken by the record: that one would take it for down.
            self.live.know(heard.id, now, false);
            self.live.change(heard.id, |unit| unit.handle_heard(heard.incarnation, now));
            if before.as_ref() != Some(&record) {
                let put = Transaction::new().when(compare).put(&key, encode(&record));
                if self.store.commit(put).await? == Outcome::Conflict {
                    continue;
                }
            }
            self.tell_start(&record, fresh, before.as_ref());
            if before.is_some_and(|before| is_news(&before, &record)) {
                self.tell_quarantine(&record.name);
            }
            return Ok(record.approved);
        }
        Err(StoreError::Contended)
    }

    fn started(&self, heard: &Heard, before: Option<&UnitRecord>) -> UnitRecord {
        UnitRecord {
            id: heard.id,
            name: heard.name.clone(),
            approved: before.map_or(self.policy == Policy::Auto, |before| before.approved),
            left: false,
            portals: heard.portals.clone(),
            api: heard.api,
            fingerprint: random::hex(&heard.fingerprint),
            version: heard.version.clone(),
            incarnation: heard.incarnation,
            secret: before.and_then(|before| before.secret.clone()),
            enrolled: before.is_some_and(|before| before.enrolled),
            duty: before.map(|before| before.duty).unwrap_or_default(),
            labels: before.map(|before| before.labels.clone()).unwrap_or_default(),
            leaves: before.map(|before| before.leaves.clone()).unwrap_or_default(),
            lost: false,
            quarantined_until: before.and_then(|before| before.quarantined_until),
        }
    }

    /// As it was lost without a word: counts, unless that was expected or has been counted.
    fn lost(&self, unit: &UnitRecord) -> UnitRecord {
        let mut lost = UnitRecord { lost: true, ..unit.clone() };
        if !unit.lost && !unit.left && unit.duty != Duty::Maintenance {
            let until = on_leave(&mut lost.leaves, self.seconds(), self.quarantine);
            lost.quarantined_until = until.or(unit.quarantined_until);
        }
        lost
    }

    fn tell_start(&self, record: &UnitRecord, fresh: bool, before: Option<&UnitRecord>) {
        if before.is_some_and(|before| before.incarnation == record.incarnation && !before.left) {
            return;
        }
        self.events.add("unit-started", &record.name, format!("{} at {}", record.id, record.api));
        if fresh && !record.approved {
            let text = "waits for approval: outband unit approve";
            self.events.add("unit-pending", &record.name, text);
        }
        if record.approved {
            self.events.add("unit-need-info", &record.name, "asked for its storage");
        }
    }

    pub async fn handle_shutdown(&self, id: Uuid, now: Instant) -> Result<(), StoreError> {
        self.live.change(id, |unit| {
            unit.pulse.handle_shutdown(now);
            unit.load = None;
            unit.told = Some(Health::Left);
        });
        let left = update::<UnitRecord>(&self.store, &unit_key(id), |unit| {
            !std::mem::replace(&mut unit.left, true)
        })
        .await?;
        if let Some(unit) = left {
            self.events.add("unit-left", &unit.name, "stopped in order");
        }
        Ok(())
    }

    /// The inventory has come.
    pub fn handle_inventory(&self, unit: &UnitRecord, view: &UnitView) {
        let volumes = view.volumes.len();
        let devices = view.devices.len();
        if self.live.report(unit.id, view) {
            let text = format!("{}, {}", count(devices, "device"), count(volumes, "volume"));
            self.events.add("unit-inventory", &unit.name, text);
            self.events.add("unit-joined", &unit.name, "in the pool");
        }
    }

    /// The secret to give to an approved unit: made once, and stored before it is given away.
    pub async fn secret_for(&self, id: Uuid) -> Result<Option<UnitRecord>, StoreError> {
        let fresh = Secret::new(random::hex(&self.machine.random::<32>()));
        update::<UnitRecord>(&self.store, &unit_key(id), |unit| {
            let missing = unit.approved && unit.secret.is_none();
            if missing {
                unit.secret = Some(fresh.clone());
            }
            missing
        })
        .await
    }

    /// The unit has acknowledged its secret.
    pub async fn handle_enrolled(&self, id: Uuid) -> Result<(), StoreError> {
        let mut news = false;
        let unit = update::<UnitRecord>(&self.store, &unit_key(id), |unit| {
            news = !std::mem::replace(&mut unit.enrolled, true);
            news
        })
        .await?;
        if let (Some(unit), true) = (unit, news) {
            self.events.add("unit-enrolled", &unit.name, "has its own secret now");
        }
        Ok(())
    }

    pub async fn units(&self, who: &Caller) -> Result<Vec<Unit>, Problem> {
        who.must(Action::SeeUnits)?;
        Ok(Read::all(self).await?.shown().units())
    }

    pub async fn unit(&self, who: &Caller, unit: &str) -> Result<Unit, Problem> {
        who.must(Action::SeeUnits)?;
        let id = self.unit_meant(unit).await?;
        let read = Read::unit(self, id).await?;
        read.shown().unit(id).ok_or_else(|| problems::not_found("unit", unit))
    }

    async fn unit_meant(&self, unit: &str) -> Result<Uuid, Problem> {
        find(&*self.store.pages().await?, unit)
    }

    pub async fn approve_unit(&self, who: &Caller, unit: &str) -> Result<Unit, Problem> {
        who.must(Action::AdmitUnits)?;
        let key = unit_key(self.unit_meant(unit).await?);
        let mut news = false;
        let decide = |unit: &UnitRecord| {
            news = !unit.approved;
            Ok(news.then(|| UnitRecord { approved: true, ..unit.clone() }))
        };
        let record = self.change_record(who, "unit-approve", unit, &key, decide).await?;
        if let (Some(record), true) = (record, news) {
            self.events.add("unit-approved", &record.name, format!("by {}", who.actor()));
        }
        self.unit(who, unit).await
    }

    /// What it is used for and what is said of it. Volumes on it stay in use, whatever that is.
    pub async fn change_unit(
        &self,
        who: &Caller,
        unit: &str,
        ask: &UnitChange,
    ) -> Result<Unit, Problem> {
        who.must(Action::RunUnits)?;
        for (name, value) in &ask.labels {
            names::check_label(name, value.as_deref())?;
        }
        let id = self.unit_meant(unit).await?;
        let mut news = false;
        let decide = |unit: &UnitRecord| {
            let changed = changed(unit, ask);
            news = changed != *unit;
            Ok(news.then_some(changed))
        };
        let record = self.change_record(who, "unit-set", unit, &unit_key(id), decide).await?;
        let record = record.ok_or_else(|| problems::not_found("unit", unit))?;
        if news {
            self.events.add("unit-changed", &record.name, format!("it is {} now", record.duty));
        }
        self.unit(who, &id.to_string()).await
    }

    /// Forgets a unit. It must hold no volume of the pool; after `outband-target leave-pool`
    /// on it it can enrol again.
    pub async fn remove_unit(&self, who: &Caller, unit: &str) -> Result<(), Problem> {
        who.must(Action::ForgetUnits)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = super::request::placements(&self.store).await?;
            let id = self.unit_meant(unit).await?;
            let (stored, held) = {
                let pages = self.store.pages().await?;
                (pages.unit(id).cloned(), pages.volumes_on(id).next().cloned())
            };
            let stored = stored.ok_or_else(|| problems::not_found("unit", unit))?;
            must_match(who, &stored)?;
            if let Some(volume) = held {
                let name = &volume.record.name;
                let detail = format!(
                    "the unit still holds \"{name}\"; delete that volume first, or see outband unit forget"
                );
                return Err(problems::conflict(detail));
            }
            let delete = Transaction::new().when(placed.compare).delete(unit_key(id));
            let change = Change::new("unit-forget", unit).before(&stored.record);
            if self.commit_audited(who, change, delete).await? {
                self.live.forget(id);
                self.events.add("unit-removed", unit, format!("by {}", who.actor()));
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Tells what silence has changed since the last call.
    pub async fn judge_health(&self, now: Instant) -> Result<(), StoreError> {
        for Judged { unit, news, found } in self.judged(now).await? {
            let unit = &unit.record;
            if found {
                self.count_leave(unit, Health::Up).await?;
            }
            let (kind, text) = match news {
                None | Some(Health::Left) => continue,
                Some(Health::Up) => ("unit-back", "answers again"),
                Some(Health::Suspect) => ("unit-suspect", "three ALIVE missed"),
                Some(Health::Down) => ("unit-down", "ten ALIVE missed"),
            };
            self.events.add(kind, &unit.name, text);
            if news == Some(Health::Down) {
                self.count_leave(unit, Health::Down).await?;
            }
        }
        Ok(())
    }

    /// The units of which there is something to tell or to write down.
    async fn judged(&self, now: Instant) -> Result<Vec<Judged>, StoreError> {
        let pages = self.store.pages().await?;
        let mut reports = self.live.reports();
        let judge = |unit: &Arc<Stored<UnitRecord>>| {
            let live = reports.units.get_mut(&unit.record.id)?;
            let health = live.pulse.health(now);
            let before = live.told.replace(health);
            let was_up = matches!(before, None | Some(Health::Up));
            let news = match (before == Some(health), health) {
                (true, _) => None,
                (false, Health::Up) if was_up => None,
                (false, health) => Some(health),
            };
            // A station that has just started takes a unit for up before it has heard it. A unit that
            // starts anew is heard before its record says so, and that it was lost is in the record.
            let back = health == Health::Up
                && live.pulse.heard_ago(now).is_some()
                && live.incarnation == unit.record.incarnation;
            let found = back && unit.record.lost;
            (news.is_some() || found).then(|| Judged { unit: Arc::clone(unit), news, found })
        };
        Ok(pages.units().all().filter_map(judge).collect())
    }

    /// Remembers that a unit is lost, and that it is back.
    async fn count_leave(&self, unit: &UnitRecord, health: Health) -> Result<(), StoreError> {
        let mut quarantined = false;
        update::<UnitRecord>(&self.store, &unit_key(unit.id), |unit| {
            let changed = match health {
                Health::Down => self.lost(unit),
                Health::Up => UnitRecord { lost: false, ..unit.clone() },
                Health::Suspect | Health::Left => return false,
            };
            quarantined = is_news(unit, &changed);
            let news = changed != *unit;
            *unit = changed;
            news
        })
        .await?;
        if quarantined {
            self.tell_quarantine(&unit.name);
        }
        Ok(())
    }

    fn tell_quarantine(&self, unit: &str) {
        let text = "lost too often: it gets nothing new for a while; outband unit resume ends that";
        self.events.add("unit-quarantined", unit, text);
    }
}

/// What a look at a unit's pulse has shown.
struct Judged {
    unit: Arc<Stored<UnitRecord>>,
    /// Not told yet.
    news: Option<Health>,
    /// It was lost, and is back.
    found: bool,
}

/// Whether this is not the unit that was approved: a unit makes its certificate together with its id and
/// keeps both. Until it has a secret of its own, everybody with the join token could speak for it.
fn is_another(known: &UnitRecord, heard: &Heard) -> bool {
    known.approved && !known.enrolled && known.fingerprint != random::hex(&heard.fingerprint)
}

/// Whether a quarantine has begun, or begun once more.
fn is_news(before: &UnitRecord, now: &UnitRecord) -> bool {
    now.quarantined_until.is_some() && now.quarantined_until != before.quarantined_until
}

fn changed(unit: &UnitRecord, ask: &UnitChange) -> UnitRecord {
    let mut changed = unit.clone();
    changed.duty = ask.duty.unwrap_or(unit.duty);
    for (name, value) in &ask.labels {
        match value {
            Some(value) => changed.labels.insert(name.clone(), value.clone()),
            None => changed.labels.remove(name),
        };
    }
    if ask.trust {
        changed.leaves.clear();
        changed.quarantined_until = None;
    }
    changed
}

/// By id, or by a name that only one unit has.
pub(super) fn find(pages: &Pages, wanted: &str) -> Result<Uuid, Problem> {
    let by_id = wanted.parse::<Uuid>().ok();
    let mut found = pages
        .units()
        .all()
        .filter(|unit| Some(unit.record.id) == by_id || unit.record.name == wanted);
    match (found.next(), found.next()) {
        (Some(unit), None) => Ok(unit.record.id),
        (Some(_), Some(_)) => Err(problems::conflict(format!(
            "several units are named \"{wanted}\"; say which by its id"
        ))),
        (None, _) => Err(problems::not_found("unit", wanted)),
    }
}

pub(super) fn name(pages: &Pages, id: Uuid) -> &str {
    pages.unit(id).map_or("", |unit| &unit.record.name)
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
