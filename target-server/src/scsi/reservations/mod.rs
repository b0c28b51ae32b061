//! Who may do what with a logical unit while somebody has reserved it: persistent reservations
//! (SPC-4 §5.13) and RESERVE(6) as SPC-2 has it. Pure: what is to be kept over power loss is encoded in
//! `record.rs` and written by the shard.

mod out;
mod record;
mod unit;

use std::collections::BTreeMap;

use outband_protocol::scsi::Sense;
use outband_protocol::scsi::cdb::usage::UnderReservation;
use outband_protocol::scsi::reserve::{InitiatorPort, Kind};

pub use self::record::{Damaged, Kept, SLOT_LEN, slot_at};
use super::{Attention, NexusId};

/// Registrations that one logical unit keeps; one more gets INSUFFICIENT REGISTRATION RESOURCES.
pub(super) const REGISTRANTS_MAX: usize = 128;

/// An I_T nexus (SAM-5 §4.7): what registers and reserves. It outlives the sessions over it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Nexus {
    initiator: InitiatorPort,
    /// RELATIVE TARGET PORT IDENTIFIER.
    target_port: u16,
}

/// A registered I_T nexus.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Registrant {
    nexus: Nexus,
    key: u64,
}

/// The reservation there is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    kind: Kind,
    /// `None` for the types that all registrants hold.
    holder: Option<Nexus>,
}

/// A session that is here, and what it is among the registrants.
#[derive(Clone, Debug)]
struct Member {
    nexus: Nexus,
    is_registered: bool,
    is_holder: bool,
}

/// The reservations of one logical unit.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    registrants: Vec<Registrant>,
    held: Option<Held>,
    /// PRGENERATION, from 0 at each start.
    generation: u32,
    /// There is a place where they survive power loss (PTPL_C).
    can_persist: bool,
    /// They are to be there (PTPL_A).
    persists: bool,
    /// Counts what has to be written there.
    version: u64,
    /// RESERVE(6).
    unit_holder: Option<NexusId>,
    members: BTreeMap<NexusId, Member>,
}

/// Why PERSISTENT RESERVE OUT or RESERVE(6) was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    Conflict,
    Check(Sense),
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

/// What PERSISTENT RESERVE OUT brought about for others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Effects {
    /// Who is to be told what.
    told: Vec<(NexusId, Attention)>,
    /// Whose tasks end (PREEMPT AND ABORT).
    aborted: Vec<NexusId>,
}

impl Reservations {
    /// A session began. Its registration, if any, is from an earlier one between the same ports.
    pub(super) fn attach(&mut self, id: NexusId, initiator: InitiatorPort, target_port: u16) {
        let nexus = Nexus { initiator, target_port };
        let member = Member { nexus, is_registered: false, is_holder: false };
        self.members.insert(id, member);
        self.refresh();
    }

    /// The relative identifier of the target port of a session.
    pub(super) fn target_port_of(&self, id: NexusId) -> Option<u16> {
        self.members.get(&id).map(|member| member.nexus.target_port)
    }

    /// A session ended. RESERVE(6) ends with it, a registration does not.
    pub(super) fn detach(&mut self, nexus: NexusId) {
        self.members.remove(&nexus);
        if self.unit_holder == Some(nexus) {
            self.unit_holder = None;
        }
    }

    /// A reset ends RESERVE(6) and leaves what is persistent.
    pub(super) fn reset(&mut self) {
        self.unit_holder = None;
    }

    /// Whether anything is reserved; when not, no command needs to be looked at.
    pub(super) const fn is_in_force(&self) -> bool {
        self.held.is_some() || self.unit_holder.is_some()
    }

    /// Whether a command of this kind conflicts with what others have reserved (SPC-4 §5.13.3).
    fn bars(&self, nexus: NexusId, kind: UnderReservation) -> bool {
        if self.unit_holder.is_some_and(|holder| holder != nexus) {
            return kind != UnderReservation::Allowed;
        }
        let Some(held) = &self.held else {
            return false;
        };
        let member = self.members.get(&nexus);
        let is_free = member.is_some_and(|member| {
            member.is_holder || member.is_registered && held.kind.is_for_registrants()
        });
        match kind {
            UnderReservation::Allowed => false,
            UnderReservation::Reads => !is_free && held.kind.is_exclusive(),
            UnderReservation::Conflicts | UnderReservation::ByItsFields => !is_free,
        }
    }

    /// The same for what is done here in the name of an initiator: as its best placed nexus may.
    fn bars_host(&self, host: &str, kind: UnderReservation) -> bool {
        let members = self.members.iter();
        let mut own = members.filter(|(_, member)| member.nexus.is_of(host)).peekable();
        if own.peek().is_some() {
            return own.all(|(nexus, _)| self.bars(*nexus, kind));
        }
        let Some(held) = &self.held else {
            return self.unit_holder.is_some();
        };
        let is_free =
            self.registrants.iter().filter(|one| one.nexus.is_of(host)).any(|one| {
                held.kind.is_for_registrants() || held.holder.as_ref() == Some(&one.nexus)
            });
        !is_free && (kind != UnderReservation::Reads || held.kind.is_exclusive())
    }

    /// Sessions that may not write now.
    fn barred(&self) -> Vec<NexusId> {
        let may_not = |nexus: &NexusId| self.bars(*nexus, UnderReservation::Conflicts);
        self.members.keys().copied().filter(may_not).collect()
    }

    /// RESERVE(6). Who has the same by a persistent reservation is told GOOD, and nothing changes
    /// (CRH=1, SPC-4 §5.13.3); else registrations and RESERVE(6) exclude each other (SPC-2 §5.5.1).
    fn reserve_unit(&mut self, nexus: NexusId) -> Result<(), Refusal> {
        if self.has_it_already(nexus)? {
            return Ok(());
        }
        if self.unit_holder.is_some_and(|holder| holder != nexus) {
            return Err(Refusal::Conflict);
        }
        self.unit_holder = Some(nexus);
        Ok(())
    }

    /// RELEASE(6). Who has not reserved releases nothing, and that is no error.
    fn release_unit(&mut self, nexus: NexusId) -> Result<(), Refusal> {
        if !self.has_it_already(nexus)? && self.unit_holder == Some(nexus) {
            self.unit_holder = None;
        }
        Ok(())
    }

    /// Whether a persistent reservation gives the nexus what RESERVE(6) would.
    fn has_it_already(&self, nexus: NexusId) -> Result<bool, Refusal> {
        if self.registrants.is_empty() {
            return Ok(false);
        }
        let is_for_registrants = self.held.as_ref().is_some_and(|h| h.kind.is_for_registrants());
        let member = self.members.get(&nexus);
        let has = member
            .is_some_and(|member| member.is_holder || member.is_registered && is_for_registrants);
        if has { Ok(true) } else { Err(Refusal::Conflict) }
    }

    /// Forgets the registrations of an initiator, or all: its grant has ended.
    pub(super) fn forget(&mut self, initiator: Option<&str>) -> Vec<(NexusId, Attention)> {
        let gone = |one: &Registrant| initiator.is_none_or(|name| one.nexus.is_of(name));
        let mut told = Vec::new();
        while let Some(index) = self.registrants.iter().position(gone) {
            told.extend(self.unregister(index));
            self.changed(self.persists);
        }
        told
    }

    /// Brings up to date what is known of the sessions.
    fn refresh(&mut self) {
        for member in self.members.values_mut() {
            let is_own = |one: &Registrant| one.nexus == member.nexus;
            member.is_registered = self.registrants.iter().any(is_own);
            member.is_holder = self.held.as_ref().is_some_and(|held| match &held.holder {
                Some(holder) => *holder == member.nexus,
                None => member.is_registered,
            });
        }
    }

    /// Something has changed: what was kept, or is to be kept from now on, is out of date.
    fn changed(&mut self, was_persistent: bool) {
        if was_persistent || self.persists {
            self.version += 1;
        }
        self.refresh();
    }

    /// The sessions over a nexus; there is at most one, except while it is replaced.
    fn sessions_of<'a>(&'a self, nexus: &'a Nexus) -> impl Iterator<Item = NexusId> + 'a {
        let sessions = self.members.iter().filter(move |(_, member)| member.nexus == *nexus);
        sessions.map(|(id, _)| *id)
    }

    fn index_of(&self, nexus: &Nexus) -> Option<usize> {
        self.registrants.iter().position(|one| one.nexus == *nexus)
    }
}

impl Nexus {
    fn is_of(&self, initiator: &str) -> bool {
        self.initiator.name.as_str() == initiator
    }

    /// The nexus of the same initiator port with another port of the target.
    fn at(&self, target_port: u16) -> Self {
        Self { target_port, ..self.clone() }
    }
}
