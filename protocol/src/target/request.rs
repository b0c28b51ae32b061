//! What a header asks for: whether it may come now, whether it is right, and who takes it on.

use super::error::Penalty;
use super::outbox::Reply;
use super::tasks::{NewTask, State};
use super::window::Place;
use super::write::Write;
use super::{Command, Conn, DataFault, Event, PeerError, Phase, Reading, Terms};
use crate::ids::Itt;
use crate::limits::IMMEDIATE_MAX;
use crate::pdu::{Bhs, LogoutReason, LogoutRequest, LogoutResult, Order, Request, ScsiCommand};

impl Conn {
    pub(super) fn on_header(&mut self, header: Bhs) -> Result<Option<Event<'static>>, PeerError> {
        self.reading = Reading::Nothing;
        self.header = header;
        self.on_request(&header).or_else(|error| self.punish(error))
    }

    /// Carries out what [`PeerError::penalty`] decides.
    #[cold]
    pub(super) fn punish(&mut self, error: PeerError) -> Result<Option<Event<'static>>, PeerError> {
        match error.penalty() {
            Penalty::Reject(reason) => {
                self.reading = Reading::Nothing;
                let header = self.header;
                self.reject(reason, &header)?;
                Ok(None)
            }
            Penalty::FailTask(task, fault) => {
                self.reading = Reading::Nothing;
                Ok(self.fail_data(task, fault))
            }
            Penalty::Close => Err(error),
        }
    }

    fn on_request(&mut self, header: &Bhs) -> Result<Option<Event<'static>>, PeerError> {
        let request = Request::parse(header)?;
        if let Some(order) = ordered(&request) {
            match self.window.place(order.cmd_sn) {
                Place::Next => {}
                // Dropped without an answer, as §4.2.2.1 asks.
                Place::Outside => return Ok(None),
                Place::Early => return self.hold(&request, header).map(|()| None),
            }
        }
        // §4.3: SendTargets and logout, and nothing else.
        let normal = matches!(
            request,
            Request::Command(_)
                | Request::TaskManagement(_)
                | Request::DataOut(_)
                | Request::NopOut(_)
        );
        if self.terms.discovery && normal {
            return Err(PeerError::Discovery(header.opcode()));
        }
        let len = header.data_segment_len();
        match request {
            Request::Command(command) => return self.on_command(&command, len).map(Some),
            Request::DataOut(data) => self.on_data_out(&data, len)?,
            Request::NopOut(ping) => self.on_ping(ping),
            Request::TaskManagement(request) => return self.on_management(&request),
            Request::Text(request) => self.on_text(request)?,
            Request::Logout(request) => return self.on_logout(&request),
            Request::Snack(_) => return Err(PeerError::Snack),
            Request::Login(_) => return Err(PeerError::Login),
        }
        Ok(None)
    }

    /// Keeps a command until the missing one before it comes. Its data could not wait.
    fn hold(&mut self, request: &Request, header: &Bhs) -> Result<(), PeerError> {
        let Some(order) = ordered(request) else {
            return Ok(());
        };
        let data_follows = match request {
            Request::Command(command) => command.write && !command.last,
            _ => false,
        };
        if data_follows || header.data_segment_len() > 0 {
            let expected = self.window.expected();
            return Err(PeerError::CommandGap { expected, got: order.cmd_sn });
        }
        self.window.hold(order.cmd_sn, *header);
        Ok(())
    }

    fn on_command(&mut self, command: &ScsiCommand, len: u32) -> Result<Event<'static>, PeerError> {
        let &ScsiCommand { order, itt, lun, expected_len, read, write, .. } = command;
        self.check_tag(itt)?;
        if read && write && expected_len > 0 {
            // No command of a disk moves data both ways.
            return Err(PeerError::field("R and W"));
        }
        if !read && !write && expected_len > 0 {
            return Err(PeerError::field("Expected Data Transfer Length"));
        }
        // Both with nothing to move mean nothing (§11.3.1).
        let (read, write) = (read && !write, write && !read);
        if !write && !command.last {
            return Err(PeerError::field("F"));
        }
        if !write && len > 0 {
            return Err(PeerError::field("DataSegmentLength"));
        }
        // Functions have a bound of their own: there is always room for one of either (§4.2.2.1).
        if order.immediate && self.tasks.immediate() >= IMMEDIATE_MAX {
            return Err(PeerError::TooManyImmediate);
        }
        let unsolicited = self.terms.unsolicited(command, len);
        let unsolicited_len = unsolicited.unwrap_or(0);
        let state = if write {
            let more_comes = len > 0 || !command.last;
            let limit = more_comes.then_some(unsolicited_len);
            State::Receiving(Write::new(expected_len, limit))
        } else {
            State::Executing { sent: 0 }
        };
        let new = NewTask { itt, lun, expected_len, read, immediate: order.immediate, state };
        let task = self.tasks.open(new).ok_or(PeerError::TooManyTasks)?;
        self.took(order);
        self.reading = match unsolicited {
            Err(fault) => Reading::Unwanted { task, fault },
            Ok(_) if len > 0 => Reading::Write { task, last: command.last },
            Ok(_) => Reading::Nothing,
        };
        let &ScsiCommand { cdb, attribute, .. } = command;
        Ok(Event::Command(Command {
            task,
            itt,
            lun,
            cdb,
            attribute,
            expected_len,
            read,
            write,
            unsolicited_len,
        }))
    }

    fn on_logout(&mut self, request: &LogoutRequest) -> Result<Option<Event<'static>>, PeerError> {
        self.took(request.order);
        let itt = request.itt;
        let refused = match request.reason {
            LogoutReason::RemoveForRecovery => Some(LogoutResult::RecoveryUnsupported),
            LogoutReason::CloseConnection if request.cid != self.identity.cid => {
                Some(LogoutResult::CidNotFound)
            }
            LogoutReason::CloseConnection | LogoutReason::CloseSession => None,
        };
        if let Some(result) = refused {
            self.outbox.reply(Reply::Logout { itt, result })?;
            return Ok(None);
        }
        self.abort_all();
        self.phase = Phase::LoggingOut(itt);
        Ok(Some(Event::Logout { itt }))
    }

    /// A tag that a new request may have.
    pub(super) fn check_tag(&self, itt: Itt) -> Result<(), PeerError> {
        if itt == Itt::NONE {
            return Err(PeerError::field("Initiator Task Tag"));
        }
        if self.tasks.find(itt).is_some() || self.managing.has(itt) {
            return Err(PeerError::TaskInProgress(itt));
        }
        Ok(())
    }

    /// A request was taken: unless it is immediate, the next one may come.
    pub(super) fn took(&mut self, order: Order) {
        if !order.immediate {
            self.window.advance();
        }
    }
}

/// The place of a request that has one and is not immediate.
fn ordered(request: &Request) -> Option<Order> {
    let order = match request {
        Request::NopOut(pdu) => pdu.order,
        Request::Command(pdu) => pdu.order,
        Request::TaskManagement(pdu) => pdu.order,
        Request::Text(pdu) => pdu.order,
        Request::Logout(pdu) => pdu.order,
        Request::Login(_) | Request::DataOut(_) | Request::Snack(_) => return None,
    };
    (!order.immediate).then_some(order)
}

impl Terms {
    /// Bytes that may come without an R2T (§13.10, §13.11, §13.14); an error if the command brings
    /// or announces more.
    fn unsolicited(&self, command: &ScsiCommand, len: u32) -> Result<u32, DataFault> {
        let more = !command.last;
        if len > 0 && !self.immediate_data || more && self.initial_r2t {
            return Err(DataFault::Unexpected);
        }
        let most = self.first_burst_len.min(command.expected_len);
        if len > most {
            return Err(DataFault::Amount);
        }
        Ok(if more { most } else { len })
    }
}
