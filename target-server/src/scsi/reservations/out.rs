//! The service actions of PERSISTENT RESERVE OUT (SPC-4 §5.13.5 to §5.13.11, §6.16).

use outband_protocol::scsi::cdb::{ReserveOut, ReserveOutAction};
use outband_protocol::scsi::reserve::{
    InitiatorPort, Kind, LIST_FLAGS_AT, List, MOVE_FLAGS_AT, MOVE_PORT_AT, MOVE_RELATIVE_PORT_AT,
    MoveList, SERVICE_KEY_AT, TransportId,
};
use outband_protocol::scsi::sense::{
    INSUFFICIENT_REGISTRATION_RESOURCES, INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST,
    INVALID_RELEASE,
};

use super::{Effects, Held, Nexus, REGISTRANTS_MAX, Refusal, Registrant, Reservations};
use crate::scsi::{Attention, NexusId};

/// Bits of the byte with APTPL and SPEC_I_PT.
const APTPL: u8 = 0;
const SPEC_I_PT: u8 = 3;

impl Reservations {
    /// Carries one out. `ports` are the relative identifiers of all target ports. What it is refused
    /// for changes nothing.
    pub(super) fn out(
        &mut self,
        nexus: NexusId,
        ports: &[u16],
        cdb: &ReserveOut,
        list: &[u8],
    ) -> Result<Effects, Refusal> {
        let own = self.members.get(&nexus).ok_or(Refusal::Conflict)?.nexus.clone();
        let was_persistent = self.persists;
        let mut effects = if cdb.action == ReserveOutAction::RegisterAndMove {
            self.register_and_move(&own, ports, &MoveList::parse(list)?)?
        } else {
            self.act(&own, ports, cdb, &List::parse(list)?)?
        };
        effects.told.retain(|(told, _)| *told != nexus);
        effects.aborted.retain(|aborted| *aborted != nexus);
        self.changed(was_persistent);
        Ok(effects)
    }

    fn act(
        &mut self,
        own: &Nexus,
        ports: &[u16],
        cdb: &ReserveOut,
        list: &List,
    ) -> Result<Effects, Refusal> {
        // Other ports can be named for REGISTER only (SPC-4 §6.16.3).
        if list.ports.is_some() && cdb.action != ReserveOutAction::Register {
            return Err(INVALID_FIELD_IN_LIST.at_list_bit(LIST_FLAGS_AT, SPEC_I_PT).into());
        }
        match cdb.action {
            ReserveOutAction::Register => self.register(own, ports, list, false),
            ReserveOutAction::RegisterAndIgnore => self.register(own, ports, list, true),
            action => {
                self.check_key(own, list.key)?;
                match action {
                    ReserveOutAction::Reserve => self.reserve(own, cdb),
                    ReserveOutAction::Release => self.release(own, cdb),
                    ReserveOutAction::Clear => Ok(self.clear()),
                    ReserveOutAction::PreemptAndAbort => {
                        let (told, aborted) = self.preempt(own, cdb, list.service_key)?;
                        Ok(Effects { told, aborted })
                    }
                    _ => {
                        let (told, _) = self.preempt(own, cdb, list.service_key)?;
                        Ok(Effects { told, aborted: Vec::new() })
                    }
                }
            }
        }
    }

    /// Who is not registered, or does not know its own key, has nothing to say (SPC-4 §5.13.5).
    fn check_key(&self, own: &Nexus, key: u64) -> Result<usize, Refusal> {
        let index = self.index_of(own).ok_or(Refusal::Conflict)?;
        if self.registrants[index].key == key { Ok(index) } else { Err(Refusal::Conflict) }
    }

    fn check_persist(&self, wanted: bool, byte: u16) -> Result<(), Refusal> {
        if wanted && !self.can_persist {
            return Err(INVALID_FIELD_IN_LIST.at_list_bit(byte, APTPL).into());
        }
        Ok(())
    }

    /// REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 §5.13.7). With ALL_TG_PT it is as if the same
    /// had come through every port of the target (§6.16.3), but all or nothing, and whoever ends
    /// registrations need not have one at each.
    fn register(
        &mut self,
        own: &Nexus,
        ports: &[u16],
        list: &List,
        ignore: bool,
    ) -> Result<Effects, Refusal> {
        let only = [own.target_port];
        let ports = if list.all_ports { ports } else { &only };
        let is_new = self.index_of(own).is_none();
        for nexus in ports.iter().map(|port| own.at(*port)) {
            let known = self.index_of(&nexus).map(|index| self.registrants[index].key);
            let is_right = known.map_or(list.key == 0 || nexus != *own, |key| list.key == key);
            if !ignore && !is_right {
                return Err(Refusal::Conflict);
            }
        }
        // Names of other ports go with a new registration only.
        if list.ports.is_some() && (!is_new || list.service_key == 0) {
            return Err(INVALID_FIELD_IN_CDB.into());
        }
        self.check_persist(list.persist, LIST_FLAGS_AT)?;
        let mut effects = Effects::default();
        if list.service_key == 0 {
            for nexus in ports.iter().map(|port| own.at(*port)) {
                let told = self.index_of(&nexus).map(|index| self.unregister(index));
                effects.told.extend(told.into_iter().flatten());
            }
        } else {
            self.add(own, ports, list)?;
        }
        self.persists = list.persist;
        self.generation = self.generation.wrapping_add(1);
        Ok(effects)
    }

    /// Registers the sender, and the initiator ports that come with it, at each of `ports`: all or none.
    fn add(&mut self, own: &Nexus, ports: &[u16], list: &List) -> Result<(), Refusal> {
        let mut new: Vec<Nexus> = Vec::new();
        for id in list.ports.iter().flatten() {
            for initiator in self.ports_of(id)? {
                for target_port in ports {
                    let nexus = Nexus { initiator: initiator.clone(), target_port: *target_port };
                    let is_own = nexus.initiator == own.initiator;
                    if is_own || new.contains(&nexus) || self.index_of(&nexus).is_some() {
                        return Err(INVALID_FIELD_IN_LIST.at_list(MOVE_PORT_AT).into());
                    }
                    new.push(nexus);
                }
            }
        }
        let own = ports.iter().map(|port| own.at(*port));
        let (known, unknown): (Vec<_>, Vec<_>) =
            own.partition(|nexus| self.index_of(nexus).is_some());
        if self.registrants.len() + new.len() + unknown.len() > REGISTRANTS_MAX {
            return Err(INSUFFICIENT_REGISTRATION_RESOURCES.into());
        }
        let key = list.service_key;
        for one in self.registrants.iter_mut().filter(|one| known.contains(&one.nexus)) {
            one.key = key;
        }
        let all = unknown.into_iter().chain(new);
        self.registrants.extend(all.map(|nexus| Registrant { nexus, key }));
        Ok(())
    }

    /// An initiator's name stands for the ports of it that are here; a nexus is made of ports.
    fn ports_of(&self, id: &TransportId) -> Result<Vec<InitiatorPort>, Refusal> {
        let name = match id {
            TransportId::Port(port) => return Ok(vec![port.clone()]),
            TransportId::Device(name) => name,
        };
        let here = self.members.values().map(|member| &member.nexus.initiator);
        let mut ports: Vec<_> = here.filter(|port| port.name == *name).cloned().collect();
        // One of them may be here by several ports of the target.
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            return Err(INVALID_FIELD_IN_LIST.at_list(MOVE_PORT_AT).into());
        }
        Ok(ports)
    }

    /// Ends a registration, and the reservation if it goes with it (SPC-4 §5.13.11.2.3).
    pub(super) fn unregister(&mut self, index: usize) -> Vec<(NexusId, Attention)> {
        let gone = self.registrants.remove(index);
        let Some(held) = &self.held else {
            return Vec::new();
        };
        let is_released = match &held.holder {
            Some(holder) => *holder == gone.nexus,
            None => self.registrants.is_empty(),
        };
        if !is_released {
            return Vec::new();
        }
        let kind = held.kind;
        self.held = None;
        self.tell_of_release(kind)
    }

    /// Whoever could do more while it was reserved is told that it is not any more.
    fn tell_of_release(&self, kind: Kind) -> Vec<(NexusId, Attention)> {
        if !kind.is_for_registrants() {
            return Vec::new();
        }
        self.tell(self.registrants.iter(), Attention::ReservationsReleased)
    }

    fn tell<'a>(
        &self,
        whom: impl Iterator<Item = &'a Registrant>,
        what: Attention,
    ) -> Vec<(NexusId, Attention)> {
        whom.flat_map(|one| self.sessions_of(&one.nexus)).map(|nexus| (nexus, what)).collect()
    }

    fn is_holder(&self, own: &Nexus) -> bool {
        self.held.as_ref().is_some_and(|held| match &held.holder {
            Some(holder) => holder == own,
            None => self.index_of(own).is_some(),
        })
    }

    /// RESERVE (SPC-4 §5.13.9).
    fn reserve(&mut self, own: &Nexus, cdb: &ReserveOut) -> Result<Effects, Refusal> {
        if self.held.is_some() && !self.is_holder(own) {
            return Err(Refusal::Conflict);
        }
        let kind = check_kind(cdb)?;
        match &self.held {
            Some(held) if held.kind != kind => return Err(Refusal::Conflict),
            Some(_) => {}
            None => self.hold(own, kind),
        }
        Ok(Effects::default())
    }

    fn hold(&mut self, own: &Nexus, kind: Kind) {
        let holder = (!kind.is_for_all()).then(|| own.clone());
        self.held = Some(Held { kind, holder });
    }

    /// RELEASE (SPC-4 §5.13.11.2.2).
    fn release(&mut self, own: &Nexus, cdb: &ReserveOut) -> Result<Effects, Refusal> {
        let Some(kind) = self.held.as_ref().filter(|_| self.is_holder(own)).map(|held| held.kind)
        else {
            return Ok(Effects::default());
        };
        if cdb.scope != 0 || cdb.kind != kind.code() {
            return Err(INVALID_RELEASE.into());
        }
        self.held = None;
        Ok(Effects { told: self.tell_of_release(kind), aborted: Vec::new() })
    }

    /// CLEAR (SPC-4 §5.13.11.2.8).
    fn clear(&mut self) -> Effects {
        let told = self.tell(self.registrants.iter(), Attention::ReservationsPreempted);
        self.registrants.clear();
        self.held = None;
        self.generation = self.generation.wrapping_add(1);
        Effects { told, aborted: Vec::new() }
    }

    /// PREEMPT (SPC-4 §5.13.11.2.4): takes the reservation over if `key` is its holder's, and ends
    /// the registrations under `key` in any case. Says who is told what, and whose they were.
    #[allow(clippy::type_complexity, reason = "the two lists of `Effects`, which PREEMPT cuts")]
    fn preempt(
        &mut self,
        own: &Nexus,
        cdb: &ReserveOut,
        key: u64,
    ) -> Result<(Vec<(NexusId, Attention)>, Vec<NexusId>), Refusal> {
        let takes_over = self.held.as_ref().is_some_and(|held| match &held.holder {
            Some(holder) => {
                self.registrants.iter().any(|one| one.nexus == *holder && one.key == key)
            }
            None => key == 0,
        });
        let is_meant = |one: &Registrant| {
            if takes_over {
                (key == 0 || one.key == key) && one.nexus != *own
            } else {
                one.key == key
            }
        };
        if key == 0 && !takes_over {
            return Err(INVALID_FIELD_IN_LIST.at_list(SERVICE_KEY_AT).into());
        }
        if !takes_over && !self.registrants.iter().any(is_meant) {
            return Err(Refusal::Conflict);
        }
        let kind = if takes_over { Some(check_kind(cdb)?) } else { None };

        let (gone, left) = std::mem::take(&mut self.registrants).into_iter().partition(is_meant);
        let gone: Vec<Registrant> = gone;
        self.registrants = left;
        let mut told = self.tell(gone.iter(), Attention::RegistrationsPreempted);
        if let Some(kind) = kind {
            if self.held.as_ref().is_some_and(|held| held.kind != kind) {
                told.extend(self.tell(self.registrants.iter(), Attention::ReservationsReleased));
            }
            self.hold(own, kind);
        } else if self.registrants.is_empty() {
            self.held = None;
        }
        self.generation = self.generation.wrapping_add(1);
        let preempted = gone.iter().flat_map(|one| self.sessions_of(&one.nexus)).collect();
        Ok((told, preempted))
    }

    /// REGISTER AND MOVE (SPC-4 §5.13.8): gives the reservation to another nexus.
    fn register_and_move(
        &mut self,
        own: &Nexus,
        ports: &[u16],
        list: &MoveList,
    ) -> Result<Effects, Refusal> {
        let index = self.check_key(own, list.key)?;
        let has_it = |held: &Held| held.holder.as_ref() == Some(own);
        let kind = self.held.as_ref().filter(|held| has_it(held)).ok_or(Refusal::Conflict)?.kind;
        if list.service_key == 0 {
            return Err(INVALID_FIELD_IN_LIST.at_list(SERVICE_KEY_AT).into());
        }
        if !ports.contains(&list.relative_port) {
            return Err(INVALID_FIELD_IN_LIST.at_list(MOVE_RELATIVE_PORT_AT).into());
        }
        let to = match &list.port {
            TransportId::Port(port) => {
                Nexus { initiator: port.clone(), target_port: list.relative_port }
            }
            TransportId::Device(_) => {
                return Err(INVALID_FIELD_IN_LIST.at_list(MOVE_PORT_AT).into());
            }
        };
        if to == *own {
            return Err(INVALID_FIELD_IN_LIST.at_list(MOVE_PORT_AT).into());
        }
        self.check_persist(list.persist, MOVE_FLAGS_AT)?;
        match self.index_of(&to) {
            Some(known) => self.registrants[known].key = list.service_key,
            None if self.registrants.len() >= REGISTRANTS_MAX => {
                return Err(INSUFFICIENT_REGISTRATION_RESOURCES.into());
            }
            None => self.registrants.push(Registrant { nexus: to.clone(), key: list.service_key }),
        }
        self.hold(&to, kind);
        if list.unregister {
            self.registrants.remove(index);
        }
        self.persists = list.persist;
        self.generation = self.generation.wrapping_add(1);
        Ok(Effects::default())
    }
}

/// SCOPE is a whole logical unit, and TYPE one of six.
fn check_kind(cdb: &ReserveOut) -> Result<Kind, Refusal> {
    if cdb.scope != 0 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(2, Some(7)).into());
    }
    Kind::from_code(cdb.kind).ok_or_else(|| INVALID_FIELD_IN_CDB.at_cdb(2, Some(3)).into())
}
