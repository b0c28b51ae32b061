//! Whether the logical unit behind a new login is the one it was before. A target that comes back at
//! its old address may have another disk there, and what is repeated would land on that one. So
//! INQUIRY page 83h is the first command of every login (SPC-4 §7.8.6).

use crate::ids::{Lun, TaskId};
use crate::initiator::{Command, Conn, ConnEvent, Data, End};
use crate::pdu::AsyncEvent;
use crate::scsi::inquiry::{Association, Designator, IDENTIFICATION, Name};
use crate::scsi::sense::SenseKey;
use crate::scsi::{Cdb, Status};

/// Room for the page; names that do not fit are not known.
const PAGE_LEN: u16 = 1024;
/// Unit attentions that the question may meet, although none should stop it (SAM-5 §5.14).
const ATTENTIONS_MAX: u8 = 8;

/// The question of one login.
#[derive(Debug)]
pub(super) struct Probe {
    lun: Lun,
    task: TaskId,
    sent: bool,
    attentions: u8,
    page: Vec<u8>,
}

/// What has come of the question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Nothing yet.
    Awaited,
    /// The logical unit's names; none when it has none to tell.
    Names(Vec<Name>),
    /// It has no time for the question.
    Busy,
    /// The target wants the session to end.
    Leave,
}

impl Probe {
    /// About `lun`, in a slot that no request has.
    pub(super) fn new(lun: Lun, slot: u16) -> Self {
        let task = TaskId { slot, generation: 0 };
        Self { lun, task, sent: false, attentions: 0, page: Vec::new() }
    }

    /// Asks, if that is due and the window lets it.
    pub(super) fn start(&mut self, conn: &mut Conn) {
        let cdb = Cdb::inquiry(Some(IDENTIFICATION), PAGE_LEN).build();
        let command = Command { lun: self.lun, cdb, data: Data::In(PAGE_LEN.into()) };
        self.sent = self.sent || conn.start(self.task, &command).is_ok();
    }

    /// Takes an event of the connection, which has no other task.
    pub(super) fn on_event(&mut self, event: &ConnEvent<'_>) -> Answer {
        match event {
            ConnEvent::ReadData { offset, bytes, .. } => self.on_data(*offset, bytes),
            ConnEvent::Done { end, .. } => return self.on_end(end),
            ConnEvent::LoggedOut { .. } => return Answer::Leave,
            ConnEvent::Notice { message, .. } => match message.event {
                AsyncEvent::LogoutRequested
                | AsyncEvent::Renegotiate
                | AsyncEvent::ConnectionDropped
                | AsyncEvent::SessionDropped => return Answer::Leave,
                AsyncEvent::Scsi
                | AsyncEvent::TasksTerminated
                | AsyncEvent::Vendor
                | AsyncEvent::Unknown(_) => {}
            },
            ConnEvent::Aborted { .. } | ConnEvent::Pong | ConnEvent::Text(_) => {}
        }
        Answer::Awaited
    }

    /// Data of a read stays within what was expected: the connection sees to that.
    fn on_data(&mut self, offset: u32, bytes: &[u8]) {
        let start = offset as usize;
        self.page.resize(self.page.len().max(start + bytes.len()), 0);
        self.page[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn on_end(&mut self, end: &End) -> Answer {
        let End::Status { status, sense, received, .. } = *end else {
            return Answer::Names(Vec::new());
        };
        let attention = sense.is_some_and(|sense| sense.key == SenseKey::UnitAttention);
        match Status::from_code(status) {
            Some(Status::Good) => {
                self.page.truncate(received as usize);
                Answer::Names(names(&self.page))
            }
            Some(Status::CheckCondition) if attention && self.attentions < ATTENTIONS_MAX => {
                self.attentions += 1;
                self.task.generation += 1;
                self.page.clear();
                self.sent = false;
                Answer::Awaited
            }
            Some(Status::Busy | Status::TaskSetFull) => Answer::Busy,
            // Old targets have no such page.
            _ => Answer::Names(Vec::new()),
        }
    }
}

/// The names of the logical unit itself, out of page 83h. Those of ports differ from path to path,
/// and kinds that are not read here say nothing.
fn names(page: &[u8]) -> Vec<Name> {
    let list = Designator::parse_page(page).unwrap_or_default();
    let own = list.into_iter().filter(|designator| designator.of == Association::LogicalUnit);
    let read =
        |name: &Name| matches!(name, Name::Naa(_) | Name::Uuid(_) | Name::Scsi(_) | Name::T10(..));
    own.map(|designator| designator.name).filter(read).collect()
}

/// Whether the disk that was known by all of `known` has `names` now. New names are no other disk;
/// one that is gone may be: some targets make the others of where the disk is, not of what it is.
pub(super) fn is_same(known: &[Name], names: &[Name]) -> bool {
    known.iter().all(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::inquiry::designators;

    #[test]
    fn only_names_of_the_logical_unit_count() {
        let t10 = Name::T10("V".to_owned(), "1".to_owned());
        let naa = Name::Naa(vec![0x60; 16]);
        let page = designators(&[
            Designator::unit(t10.clone()),
            Designator::port(Name::Scsi("port".to_owned())),
            Designator::unit(naa.clone()),
            Designator::target(Name::Naa(vec![0x30; 8])),
            Designator::unit(Name::RelativePort(1)),
        ]);
        assert_eq!(names(&page), [t10.clone(), naa.clone()]);
        assert_eq!(names(&[0; 3]), []);
    }

    #[test]
    fn a_disk_that_lost_a_name_is_another() {
        let [a, b] = [1, 2].map(|byte| Name::Naa(vec![byte; 8]));
        let both = [a.clone(), b];
        assert!(is_same(&[], &both) && is_same(&both[..1], &both) && is_same(&both, &both));
        assert!(!is_same(&both, &[a]) && !is_same(&both, &[]));
    }
}
