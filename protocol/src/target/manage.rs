//! Task management (§11.5): which tasks a function ends, and what is answered when none is.

use super::outbox::Reply;
use super::{Conn, Event, Manage, PeerError};
use crate::ids::{Itt, Lun, TaskId};
use crate::limits::IMMEDIATE_MAX;
use crate::pdu::{TaskManagementFunction, TaskManagementRequest, TaskManagementResult};

/// Functions under way, from the request to the moment the response leaves.
#[derive(Debug, Default)]
pub(super) struct Managing {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    itt: Itt,
    answered: bool,
}

impl Managing {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn has(&self, itt: Itt) -> bool {
        self.pending.iter().any(|pending| pending.itt == itt)
    }

    /// The response has left.
    pub(super) fn forget(&mut self, itt: Itt) {
        self.pending.retain(|pending| pending.itt != itt);
    }
}

impl Conn {
    /// How a function went; sent after the answers of all tasks that were not affected.
    pub fn answer_management(&mut self, itt: Itt, result: TaskManagementResult) {
        let pending = self.managing.pending.iter_mut().find(|pending| pending.itt == itt);
        if let Some(pending) = pending.filter(|pending| !pending.answered) {
            pending.answered = true;
            self.outbox.answer(Reply::Managed { itt, result });
        }
    }

    /// Ends a task without a response: late data for it is dropped, nothing more is asked for or
    /// sent. `complete` then frees its slot.
    pub fn abort(&mut self, task: TaskId) {
        self.tasks.abort(task);
    }

    pub(super) fn on_management(
        &mut self,
        request: &TaskManagementRequest,
    ) -> Result<Option<Event<'static>>, PeerError> {
        if self.managing.len() >= IMMEDIATE_MAX {
            return Err(PeerError::TooManyImmediate);
        }
        self.check_tag(request.itt)?;
        self.took(request.order);
        self.managing.pending.push(Pending { itt: request.itt, answered: false });
        match self.affected(request) {
            Ok(tasks) => {
                let &TaskManagementRequest { itt, function, lun, .. } = request;
                Ok(Some(Event::Manage(Manage { itt, function, lun, tasks })))
            }
            Err(result) => {
                self.answer_management(request.itt, result);
                Ok(None)
            }
        }
    }

    /// The tasks that the function ends, marked aborted; or the answer, when the shell need not
    /// know of it.
    fn affected(
        &mut self,
        request: &TaskManagementRequest,
    ) -> Result<Vec<TaskId>, TaskManagementResult> {
        use TaskManagementFunction as F;
        match request.function {
            F::AbortTask => self.abort_referenced(request).map(|task| vec![task]),
            F::AbortTaskSet | F::ClearTaskSet | F::LogicalUnitReset => {
                Ok(self.abort_all(|lun| lun == request.lun))
            }
            F::TargetWarmReset | F::TargetColdReset => Ok(self.abort_all(|_| true)),
            F::TaskReassign => Err(TaskManagementResult::ReassignmentUnsupported),
            F::ClearAca | F::Other(_) => Err(TaskManagementResult::Unsupported),
        }
    }

    /// A function cannot be aborted (§11.5.1). §11.6.1: an unknown task whose command could still have been under way counts as received
    /// and aborted; one that has been answered does not exist.
    fn abort_referenced(
        &mut self,
        request: &TaskManagementRequest,
    ) -> Result<TaskId, TaskManagementResult> {
        if self.managing.has(request.referenced) {
            return Err(TaskManagementResult::Rejected);
        }
        if let Some(task) = self.tasks.find(request.referenced)
            && self.tasks.get(task).is_some_and(|entry| entry.lun == request.lun)
            && self.tasks.abort(task)
        {
            return Ok(task);
        }
        if self.window.plug(request.ref_cmd_sn, request.order.cmd_sn) {
            return Err(TaskManagementResult::Complete);
        }
        Err(TaskManagementResult::TaskDoesNotExist)
    }

    /// Marks the tasks of these logical units aborted. Those that were answered already are not
    /// among them; those that were aborted before are, because they must drain first.
    pub(super) fn abort_all(&mut self, hit: impl Fn(Lun) -> bool) -> Vec<TaskId> {
        self.window.abort_early(&hit);
        let tasks: Vec<TaskId> =
            self.tasks.iter().filter(|(_, entry)| hit(entry.lun)).map(|(task, _)| task).collect();
        for &task in &tasks {
            self.tasks.abort(task);
        }
        tasks
    }
}
