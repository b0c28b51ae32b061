//! Unit attentions (SAM-5 §5.14): what happened to the logical unit that a nexus has not been told.

use std::collections::{BTreeMap, VecDeque};

use outband_protocol::scsi::reserve::InitiatorPort;
use outband_protocol::scsi::sense::{self, Sense};

use super::NexusId;

/// Something a nexus must be told before its next command runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// The nexus is new.
    PowerOn,
    /// The nexus was lost, and is back.
    NexusLost,
    /// The logical unit was reset.
    Reset,
    /// Another nexus changed the mode parameters all share.
    ModeChanged,
    /// Another nexus took this one's reservation away, with all others.
    ReservationsPreempted,
    /// A reservation that this nexus had a part in was released.
    ReservationsReleased,
    /// Another nexus ended the registration of this one.
    RegistrationsPreempted,
    /// The medium grew.
    CapacityChanged,
    /// Another nexus ended commands of this one.
    CommandsCleared,
    /// The connection that commands of this nexus were on was replaced by another (RFC 7143
    /// §11.14.5).
    CommandsClearedByProtocol,
}

impl Attention {
    fn sense(self) -> Sense {
        match self {
            Self::PowerOn => sense::POWER_ON,
            Self::NexusLost => sense::NEXUS_LOSS,
            Self::Reset => sense::DEVICE_RESET,
            Self::ModeChanged => sense::MODE_PARAMETERS_CHANGED,
            Self::ReservationsPreempted => sense::RESERVATIONS_PREEMPTED,
            Self::ReservationsReleased => sense::RESERVATIONS_RELEASED,
            Self::RegistrationsPreempted => sense::REGISTRATIONS_PREEMPTED,
            Self::CapacityChanged => sense::CAPACITY_CHANGED,
            Self::CommandsCleared => sense::COMMANDS_CLEARED,
            Self::CommandsClearedByProtocol => sense::COMMANDS_CLEARED_BY_PROTOCOL,
        }
    }
}

/// What each nexus is owed, in the order in which it happened.
///
/// A queue holds each kind once, so there are never more than there are kinds.
#[derive(Debug, Default)]
pub(super) struct Attentions {
    owed: BTreeMap<NexusId, Vec<Attention>>,
    /// Ports of the nexuses that are here.
    ports: BTreeMap<NexusId, Ports>,
    /// Nexuses that are gone and knew of the last power on and reset, the last one first.
    lost: VecDeque<Ports>,
}

/// The initiator port and the relative target port of a nexus.
type Ports = (InitiatorPort, u16);

/// Lost nexuses that are remembered. Those that are not count as new, which tells them more.
const LOST_MAX: usize = 64;

impl Attentions {
    /// A nexus is there, perhaps again: the loss of an I_T nexus is told to who comes back over the
    /// same ports (SAM-5 §6.3.4).
    pub(super) fn attach(&mut self, nexus: NexusId, ports: Ports) {
        let known = self.lost.iter().position(|lost| *lost == ports);
        let first = match known.and_then(|at| self.lost.remove(at)) {
            Some(_) => Attention::NexusLost,
            None => Attention::PowerOn,
        };
        self.owed.insert(nexus, vec![first]);
        self.ports.insert(nexus, ports);
    }

    pub(super) fn detach(&mut self, nexus: NexusId) {
        let untold = self.owed.remove(&nexus).unwrap_or_default();
        let knows =
            |attention: &Attention| !matches!(attention, Attention::PowerOn | Attention::Reset);
        if let Some(ports) = self.ports.remove(&nexus)
            && untold.iter().all(knows)
        {
            self.lost.truncate(LOST_MAX - 1);
            self.lost.push_front(ports);
        }
    }

    /// Nothing is owed to a nexus that is not attached.
    pub(super) fn owe(&mut self, nexus: NexusId, attention: Attention) {
        if let Some(queue) = self.owed.get_mut(&nexus) {
            enqueue(queue, attention);
        }
    }

    /// Owes it to everyone but `by`, who did it.
    pub(super) fn owe_all(&mut self, attention: Attention, by: Option<NexusId>) {
        if attention == Attention::Reset {
            self.lost.clear();
        }
        for (_, queue) in self.owed.iter_mut().filter(|(nexus, _)| Some(**nexus) != by) {
            enqueue(queue, attention);
        }
    }

    /// Whether the oldest that `nexus` is owed tells that all state is new.
    pub(super) fn tell_of_reset(&self, nexus: NexusId) -> bool {
        let oldest = self.owed.get(&nexus).and_then(|queue| queue.first());
        matches!(oldest, Some(Attention::PowerOn | Attention::NexusLost | Attention::Reset))
    }

    /// The oldest that `nexus` is owed; telling it settles it.
    pub(super) fn take(&mut self, nexus: NexusId) -> Option<Sense> {
        let queue = self.owed.get_mut(&nexus).filter(|queue| !queue.is_empty())?;
        Some(queue.remove(0).sense())
    }
}

fn enqueue(queue: &mut Vec<Attention>, attention: Attention) {
    match attention {
        // A reset tells that all state is new; what happened before it no longer matters
        // (SAM-5 §5.14). A power on that was not told yet says the same and more.
        Attention::PowerOn => queue.clear(),
        Attention::Reset => queue.retain(|earlier| *earlier == Attention::PowerOn),
        _ => {}
    }
    if !queue.contains(&attention) && queue.first() != Some(&Attention::PowerOn) {
        queue.push(attention);
    }
}
