//! Who may use what: grants and epochs, pure. A table is changed by one owner ([`crate::Keeper`]),
//! and shards read a snapshot of it. Epochs of a volume only grow, a volume has one host, and it is
//! granted whole or by partitions, never both.

mod grant;
mod redirect;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use grant::{ANY_HOST, BadSource, Chap, Epoch, Grant, Mutual, Source};
pub use redirect::{BadRedirect, Redirect, RedirectAddress};
pub use subject::{BadSubject, Subject};

use outband_protocol::seeded::{self, Bug};

use crate::api::TargetNames;

/// All grants of a unit, and the epoch floors of its volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTable {
    names: TargetNames,
    grants: BTreeMap<Subject, Grant>,
    /// By volume; under [`OTHERS`] that of all that have none of their own.
    floors: BTreeMap<String, Epoch>,
    redirects: BTreeMap<Subject, Redirect>,
}

/// No volume's name: the floor of those that have none of their own.
const OTHERS: &str = "*";

/// So many volumes have floors of their own before those that nothing is granted of share one.
const FLOORS_MAX: usize = 1024;

/// What the target may say to a host about credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing is granted to such a host. It is to see the same as one with a wrong secret.
    Unknown,
    /// It proves itself by CHAP.
    Chap(&'a Chap),
    /// Its operator asked for no proof (`outband-target serve` without `--chap-user`).
    Open,
}

/// Why a host is not let at a target. On the wire all of them are one answer (status 0x0202), so that
/// it tells nobody what exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The name is not one of this unit's, or nothing is granted under it.
    #[error("nothing is granted under this target name")]
    NoSuchTarget,
    /// It is another host's.
    #[error("the target is granted to another host")]
    NotGranted,
    /// It is this host's, but not from this address.
    #[error("the host may not use the target from this address")]
    Source,
}

/// Why a grant is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An epoch that was already used, or fenced, or passed over.
    #[error("epoch {epoch} is not above the floor {floor}")]
    StaleEpoch {
        /// The epoch asked for.
        epoch: Epoch,
        /// The highest epoch seen of this volume.
        floor: Epoch,
    },
    /// Another host has it: it must be fenced first.
    #[error("{subject} is granted to {host} since epoch {epoch}; fence that grant first")]
    Held {
        /// What is held.
        subject: Subject,
        /// By whom.
        host: String,
        /// Since when.
        epoch: Epoch,
    },
    /// A volume is granted whole or by partitions.
    #[error("{other} is granted: a volume is granted whole or by partitions, never both")]
    WholeAndParts {
        /// The grant in the way.
        other: Subject,
    },
}

/// What became of a grant that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is in the table now.
    New,
    /// The very same was there already.
    Already,
}

impl AccessTable {
    /// A table without grants, for targets named by `names`.
    #[must_use]
    pub fn new(names: TargetNames) -> Self {
        Self::restore(names, BTreeMap::new(), BTreeMap::new(), BTreeMap::new())
    }

    /// The table as it was stored; everything is taken as it is.
    pub(crate) const fn restore(
        names: TargetNames,
        grants: BTreeMap<Subject, Grant>,
        floors: BTreeMap<String, Epoch>,
        redirects: BTreeMap<Subject, Redirect>,
    ) -> Self {
        Self { names, grants, floors, redirects }
    }

    /// How targets are named here.
    #[must_use]
    pub fn names(&self) -> &TargetNames {
        &self.names
    }

    /// What a host that calls itself `host` has to prove.
    #[must_use]
    pub fn credentials(&self, host: &str) -> Credentials<'_> {
        let Some(grant) = self.grants.values().find(|grant| grant.is_for(host)) else {
            return Credentials::Unknown;
        };
        grant.chap.as_ref().map_or(Credentials::Open, Credentials::Chap)
    }

    /// Whether `host`, coming from `source`, may use the target named `target`.
    ///
    /// # Errors
    /// Says why not, for the log only: see [`Denied`].
    pub fn admit(&self, host: &str, source: IpAddr, target: &str) -> Result<&Grant, Denied> {
        let subject = self.names.subject(target).ok_or(Denied::NoSuchTarget)?;
        let grant = self.grants.get(&subject).ok_or(Denied::NoSuchTarget)?;
        if !grant.is_for(host) {
            return Err(Denied::NotGranted);
        }
        if !grant.takes(source) {
            return Err(Denied::Source);
        }
        Ok(grant)
    }

    /// The target names that `host` may see from `source`: those that [`Self::admit`] lets it use.
    pub fn visible_to(&self, host: &str, source: IpAddr) -> impl Iterator<Item = String> {
        self.grants
            .values()
            .filter(move |grant| grant.is_for(host) && grant.takes(source))
            .map(|grant| self.names.target(&grant.subject))
    }

    /// All grants.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// The grant on exactly `subject`.
    #[must_use]
    pub fn grant_on(&self, subject: &Subject) -> Option<&Grant> {
        self.grants.get(subject)
    }

    /// A grant that uses the volume or any of its partitions here. One whose host is sent elsewhere
    /// uses nothing here.
    #[must_use]
    pub fn any_grant_of(&self, volume: &str) -> Option<&Grant> {
        self.grants.values().find(|grant| {
            grant.subject.volume() == volume && !self.redirects.contains_key(&grant.subject)
        })
    }

    /// Where `host`, coming from `source`, is to be sent instead of the target named `target`.
    /// `None` also for a host that has no grant on it: it learns nothing.
    #[must_use]
    pub fn redirect_for(&self, host: &str, source: IpAddr, target: &str) -> Option<&Redirect> {
        if self.redirects.is_empty() {
            return None;
        }
        let grant = self.admit(host, source, target).ok()?;
        self.redirects.get(&grant.subject)
    }

    /// All redirects.
    pub fn redirects(&self) -> impl Iterator<Item = (&Subject, &Redirect)> {
        self.redirects.iter()
    }

    /// The redirect of exactly `subject`.
    #[must_use]
    pub fn redirect_on(&self, subject: &Subject) -> Option<&Redirect> {
        self.redirects.get(subject)
    }

    /// From now on hosts with a grant on `subject` are sent elsewhere.
    pub fn set_redirect(&mut self, subject: Subject, redirect: Redirect) {
        self.redirects.insert(subject, redirect);
    }

    /// Takes a redirect back; false when there is none.
    pub fn clear_redirect(&mut self, subject: &Subject) -> bool {
        self.redirects.remove(subject).is_some()
    }

    /// The highest epoch seen of `volume`; only epochs above it are taken.
    #[must_use]
    pub fn floor(&self, volume: &str) -> Epoch {
        let floor = self.floors.get(volume).or_else(|| self.floors.get(OTHERS));
        floor.copied().unwrap_or_default()
    }

    /// Every floor that is not zero, as it is to be stored.
    pub(crate) fn floors(&self) -> impl Iterator<Item = (&str, Epoch)> {
        self.floors.iter().map(|(volume, epoch)| (volume.as_str(), *epoch))
    }

    /// Takes `grant`, and raises the floor to its epoch. The host's other grants take its CHAP
    /// secret over, because that identity is the host's and not the volume's. A lower epoch of the
    /// same host is replaced; the caller has fenced it.
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub fn grant(&mut self, grant: Grant) -> Result<Granted, Refused> {
        if self.grants.get(&grant.subject) == Some(&grant) {
            return Ok(Granted::Already);
        }
        self.refuse(&grant)?;
        for other in self.grants.values_mut().filter(|other| other.host == grant.host) {
            other.chap.clone_from(&grant.chap);
        }
        self.raise_floor(grant.subject.volume(), grant.epoch);
        self.grants.insert(grant.subject.clone(), grant);
        Ok(Granted::New)
    }

    fn refuse(&self, grant: &Grant) -> Result<(), Refused> {
        let (epoch, floor) = (grant.epoch, self.floor(grant.subject.volume()));
        if epoch < floor || epoch == floor && !seeded::is(Bug::EpochAgain) {
            return Err(Refused::StaleEpoch { epoch, floor });
        }
        for (subject, held) in &self.grants {
            if *subject == grant.subject && held.host != grant.host {
                let (subject, host) = (subject.clone(), held.host.clone());
                return Err(Refused::Held { subject, host, epoch: held.epoch });
            }
            if *subject != grant.subject && subject.overlaps(&grant.subject) {
                return Err(Refused::WholeAndParts { other: subject.clone() });
            }
        }
        Ok(())
    }

    /// Ends the grant of `host` on `subject` when it is of `epoch` or older, and raises the floor to
    /// `epoch` whether or not there was one: the grant may still be on its way. Returns what ended.
    pub fn fence(&mut self, subject: &Subject, host: &str, epoch: Epoch) -> Option<Grant> {
        if !seeded::is(Bug::FenceLeavesFloor) {
            self.raise_floor(subject.volume(), epoch);
        }
        let ends = self.grants.get(subject).is_some_and(|g| g.host == host && g.epoch <= epoch);
        if ends { self.grants.remove(subject) } else { None }
    }

    /// Raises the floor of `volume` to `epoch`; never lowers it.
    pub fn raise_floor(&mut self, volume: &str, epoch: Epoch) {
        if epoch > self.floor(volume) {
            self.floors.insert(volume.to_owned(), epoch);
            if self.floors.len() > FLOORS_MAX.max(2 * (self.grants.len() + self.redirects.len())) {
                self.share_floors();
            }
        }
    }

    /// Volumes come and go, and a floor never may: a grant that was on its way to a volume that is gone
    /// would find the next of its name. It may rise, though; whoever gives epochs looks at it before. So
    /// volumes that nothing is granted of get the highest of their floors, and that is kept once.
    fn share_floors(&mut self) {
        let used = |volume: &str| {
            let mut subjects = self.grants.keys().chain(self.redirects.keys());
            subjects.any(|subject| subject.volume() == volume)
        };
        let shared = self.floors.iter().filter(|(volume, _)| !used(volume));
        let shared: BTreeMap<String, Epoch> =
            shared.map(|(volume, epoch)| (volume.clone(), *epoch)).collect();
        let Some(highest) = shared.values().copied().max() else {
            return;
        };
        self.floors.retain(|volume, _| !shared.contains_key(volume));
        self.floors.insert(OTHERS.to_owned(), highest);
    }
}
