//! What a logical unit does about reservations: the conflict of a command, PERSISTENT RESERVE IN and
//! OUT, RESERVE(6) and RELEASE(6).

use outband_protocol::ids::IscsiName;
use outband_protocol::scsi::cdb::usage::{self, UnderReservation};
use outband_protocol::scsi::cdb::{Cdb, ReserveIn, ReserveOut, ReserveOutAction, opcode};
use outband_protocol::scsi::reserve::{self, FullStatus, LIST_LEN};
use outband_protocol::scsi::sense::{PARAMETER_LIST_LENGTH_ERROR, Sense};
use outband_protocol::scsi::{Cdb as Block, Status};

use super::{Kept, Nexus, Refusal, Registrant, Reservations};
use crate::scsi::{LogicalUnit, NexusId, Plan, Reply};

/// The longest list that is taken: thirty names of ports.
const LIST_LEN_MAX: u32 = 8 * 1024;

impl From<Refusal> for Plan {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Reply::conflict().into(),
            Refusal::Check(sense) => sense.into(),
        }
    }
}

/// What a command does under a reservation, where its fields have a say (SPC-4 and SBC-3, commands
/// that are allowed in the presence of various reservations).
fn by_its_fields(cdb: &[u8]) -> UnderReservation {
    match Block::parse(cdb) {
        // Only a start is harmless.
        Ok(Cdb::StartStopUnit(fields)) if !fields.start || fields.power_condition != 0 => {
            UnderReservation::Conflicts
        }
        Ok(Cdb::PreventAllowMediumRemoval { prevent }) if prevent != 0 => {
            UnderReservation::Conflicts
        }
        // What reserves knows its own rules.
        _ => UnderReservation::Allowed,
    }
}

impl LogicalUnit {
    /// Whether a reservation of another nexus is in the way of this command block, now. Asked when a
    /// command arrives, and again when its data is whole.
    #[must_use]
    pub fn is_barred(&self, nexus: NexusId, cdb: &[u8]) -> bool {
        self.reservations.is_in_force() && self.conflicts(nexus, cdb)
    }

    /// Whether a reservation, or a stop, keeps a host's copy from reading or writing here. A copy is its
    /// host's, whichever of its ports asked for it and whichever is registered here.
    pub(in crate::scsi) fn bars_host(&self, host: &IscsiName, write: bool) -> bool {
        let kind = if write { UnderReservation::Conflicts } else { UnderReservation::Reads };
        self.stopped
            || self.reservations.is_in_force() && self.reservations.bars_host(host.as_str(), kind)
    }

    #[cold]
    fn conflicts(&self, nexus: NexusId, cdb: &[u8]) -> bool {
        // What is no command is refused for that.
        let Ok(usage) = usage::of(cdb) else {
            return false;
        };
        let kind = match usage.under_reservation {
            UnderReservation::ByItsFields => by_its_fields(cdb),
            other => other,
        };
        let reservations = &self.reservations;
        if reservations.unit_holder.is_none() {
            return reservations.bars(nexus, kind);
        }
        // Beside RESERVE(6) there is nothing persistent, not for its holder either, and TEST UNIT READY
        // is not yet harmless (SPC-2 §5.5.1).
        match usage.opcode() {
            opcode::PERSISTENT_RESERVE_IN | opcode::PERSISTENT_RESERVE_OUT => true,
            opcode::TEST_UNIT_READY => reservations.bars(nexus, UnderReservation::Conflicts),
            _ => reservations.bars(nexus, kind),
        }
    }

    pub(in crate::scsi) fn reserve_in(&self, what: ReserveIn, allocation: u16) -> Plan {
        let reservations = &self.reservations;
        let generation = reservations.generation;
        let data = match what {
            ReserveIn::ReadKeys => {
                reserve::keys(generation, reservations.registrants.iter().map(|one| one.key))
            }
            ReserveIn::ReadReservation => reserve::reservation(generation, reservations.told()),
            ReserveIn::ReportCapabilities => {
                reserve::capabilities(reservations.can_persist, reservations.persists).to_vec()
            }
            ReserveIn::ReadFullStatus => {
                reserve::full_status(generation, &reservations.full_status())
            }
        };
        Reply::data(data, allocation.into()).into()
    }

    /// The list is asked for if its length can be right (SPC-4 §6.16.3).
    pub(in crate::scsi) fn reserve_out(cdb: Cdb, fields: &ReserveOut) -> Result<Plan, Sense> {
        let fixed = u32::try_from(LIST_LEN).expect("24");
        let has_names =
            matches!(fields.action, ReserveOutAction::Register | ReserveOutAction::RegisterAndMove);
        let range = if has_names { fixed..=LIST_LEN_MAX } else { fixed..=fixed };
        if !range.contains(&fields.len) {
            return Err(PARAMETER_LIST_LENGTH_ERROR);
        }
        Ok(Plan::Parameters { cdb, len: fields.len })
    }

    pub(in crate::scsi) fn reserve_list(
        &mut self,
        nexus: NexusId,
        fields: &ReserveOut,
        list: &[u8],
    ) -> Plan {
        let before = self.reservations.version;
        let ports: Vec<u16> = self.ports().map(|port| port.relative).collect();
        let effects = match self.reservations.out(nexus, &ports, fields, list) {
            Ok(effects) => effects,
            Err(refusal) => return refusal.into(),
        };
        for (told, attention) in effects.told {
            self.attentions.owe(told, attention);
        }
        let barred = self.reservations.barred();
        let keeps = self.reservations.version != before;
        if barred.is_empty() && effects.aborted.is_empty() && !keeps {
            return Reply::good().into();
        }
        Plan::Reserved { barred, aborted: effects.aborted }
    }

    pub(in crate::scsi) fn reserve_6(&mut self, nexus: NexusId, release: bool) -> Plan {
        let done = if release {
            self.reservations.release_unit(nexus)
        } else {
            self.reservations.reserve_unit(nexus)
        };
        done.map_or_else(Plan::from, |()| Reply::good().into())
    }

    /// There is a place where reservations survive power loss; `kept` was there.
    pub fn restore_reservations(&mut self, kept: Option<Kept>) {
        self.reservations.restore(kept, self.config.port.relative);
    }

    /// Counts the changes that have to be kept; what [`Self::reservations_record`] gives is of this
    /// count.
    #[must_use]
    pub const fn reservations_version(&self) -> u64 {
        self.reservations.version
    }

    /// What is to be kept, as record number `number`.
    #[must_use]
    pub fn reservations_record(&self, number: u64) -> Vec<u8> {
        self.reservations.record(self.config.uuid, number)
    }

    /// A grant has ended, and with it the registrations made under it. Whoever is granted the volume
    /// next finds the mode parameters as they were at the start, too, and the medium running.
    pub fn grant_ended(&mut self, initiator: Option<&str>) {
        self.default_state();
        for (nexus, attention) in self.reservations.forget(initiator) {
            self.attentions.owe(nexus, attention);
        }
    }
}

impl Reservations {
    /// The reservation as READ RESERVATION tells it: without a key where all hold it.
    fn told(&self) -> Option<(u64, reserve::Kind)> {
        let held = self.held.as_ref()?;
        let key = held.holder.as_ref().and_then(|holder| self.index_of(holder));
        Some((key.map_or(0, |index| self.registrants[index].key), held.kind))
    }

    /// Each nexus by itself, as is allowed even after ALL_TG_PT (SPC-4 §6.15.5): they can part ways.
    fn full_status(&self) -> Vec<FullStatus> {
        let holds = |nexus: &Nexus| {
            let held = self.held.as_ref()?;
            let is_holder = held.holder.as_ref().is_none_or(|holder| holder == nexus);
            is_holder.then_some(held.kind)
        };
        let status = |one: &Registrant| FullStatus {
            key: one.key,
            all_ports: false,
            holds: holds(&one.nexus),
            relative_port: one.nexus.target_port,
            port: one.nexus.initiator.clone(),
        };
        self.registrants.iter().map(status).collect()
    }
}

impl Reply {
    /// RESERVATION CONFLICT.
    #[must_use]
    pub fn conflict() -> Self {
        Self { status: Status::ReservationConflict, ..Self::good() }
    }
}
