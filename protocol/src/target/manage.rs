//! Task management (§11.5): which tasks a function ends, and what is answered when none is.

use super::outbox::Reply;
use super::{Conn, Event, Manage, PeerError, Phase, Reading};
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
    /// Not carried out before the data that its tasks have asked for is here (§4.2.3.3 a).
    held: Option<Manage>,
    /// Not answered before all earlier answers are acknowledged (§11.6.1).
    fenced: bool,
    /// A ping has asked for them.
    asked: bool,
    /// Waits for the initiator as long as that takes.
    patient: bool,
}

impl Managing {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether a function waits for data.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.iter().any(|pending| pending.held.is_some())
    }

    /// Whether the answer to `itt` waits for acknowledgements.
    pub(super) fn is_fenced(&self, itt: Itt) -> bool {
        self.pending.iter().any(|pending| pending.itt == itt && pending.fenced && pending.patient)
    }

    /// To be set when the initiator was asked for the acknowledgements that `itt` waits for. `None` if it
    /// was: once is enough, as the answer to a ping that came behind them acknowledges them.
    pub(super) fn unasked(&mut self, itt: Itt) -> Option<&mut bool> {
        let unasked = |pending: &&mut Pending| pending.itt == itt && !pending.asked;
        self.pending.iter_mut().find(unasked).map(|pending| &mut pending.asked)
    }

    pub(super) fn wait_no_longer(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.patient = false);
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

    /// Whether a function waits for what the initiator owes: data that was asked for, or an
    /// acknowledgement. The shell bounds that by [`wait_no_longer`](Self::wait_no_longer).
    #[must_use]
    pub fn waits_for_peer(&self) -> bool {
        let waits = |pending: &Pending| {
            pending.patient && (pending.held.is_some() || pending.fenced && pending.answered)
        };
        self.phase == Phase::Open && self.managing.pending.iter().any(waits)
    }

    /// Carries out, or answers, what has waited for the initiator. Then call `next_event`, with empty
    /// input if there is no other. Data that still comes is dropped (§10.7).
    pub fn wait_no_longer(&mut self) {
        self.managing.wait_no_longer();
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
        let &TaskManagementRequest { itt, function, lun, .. } = request;
        let of_task_set = function == TaskManagementFunction::AbortTaskSet
            || function == TaskManagementFunction::ClearTaskSet;
        let (answered, held, fenced, patient) = (false, None, of_task_set, true);
        self.managing.pending.push(Pending { itt, answered, held, fenced, asked: false, patient });
        match self.affected(request) {
            Ok(tasks) => {
                let held = Some(Manage { itt, function, lun, tasks });
                if let Some(pending) = self.managing.pending.last_mut() {
                    pending.held = held;
                }
            }
            Err(result) => self.answer_management(itt, result),
        }
        Ok(None)
    }

    /// The next function whose tasks have all the data that was asked for, or that waits no longer.
    /// Its tasks are marked aborted. The data comes first: until then nothing is done (§11.5.1).
    pub(super) fn next_function(&mut self) -> Option<Manage> {
        // The last PDU is to pass as a whole.
        let between = matches!(self.reading, Reading::Between);
        let Self { tasks, managing, .. } = self;
        let is_due = |pending: &&mut Pending| {
            let owed = |held: &Manage| held.tasks.iter().any(|task| tasks.is_owed_data(*task));
            let is_over = |held: &Manage| !pending.patient || between && !owed(held);
            pending.held.as_ref().is_some_and(is_over)
        };
        let mut manage = managing.pending.iter_mut().find(is_due)?.held.take()?;
        manage.tasks.retain(|task| tasks.abort(*task));
        Some(manage)
    }

    /// The tasks that the function ends, for which nothing more is asked for; or the answer, when the
    /// shell need not know of it.
    fn affected(
        &mut self,
        request: &TaskManagementRequest,
    ) -> Result<Vec<TaskId>, TaskManagementResult> {
        use TaskManagementFunction as F;
        match request.function {
            F::AbortTask => self.abort_referenced(request).map(|task| vec![task]),
            F::AbortTaskSet | F::ClearTaskSet | F::LogicalUnitReset => {
                Ok(self.end_all(|lun| lun == request.lun))
            }
            F::TargetWarmReset | F::TargetColdReset => Ok(self.end_all(|_| true)),
            F::TaskReassign => Err(TaskManagementResult::ReassignmentUnsupported),
            F::ClearAca | F::Other(_) => Err(TaskManagementResult::Unsupported),
        }
    }

    /// A function cannot be aborted (§11.5.1). §11.6.1: an unknown task whose command could still have
    /// been under way counts as received and aborted; one that has been answered does not exist.
    fn abort_referenced(
        &mut self,
        request: &TaskManagementRequest,
    ) -> Result<TaskId, TaskManagementResult> {
        if self.managing.has(request.referenced) {
            return Err(TaskManagementResult::Rejected);
        }
        if let Some(task) = self.tasks.find(request.referenced)
            && self.tasks.get(task).is_some_and(|entry| entry.lun == request.lun)
        {
            if self.tasks.abort(task) {
                return Ok(task);
            }
            // It was over but for its answer.
            if self.tasks.get(task).is_none() {
                return Err(TaskManagementResult::Complete);
            }
        }
        if self.window.plug(request.ref_cmd_sn, request.order.cmd_sn) {
            return Err(TaskManagementResult::Complete);
        }
        Err(TaskManagementResult::TaskDoesNotExist)
    }

    /// The tasks of these logical units, for which nothing more is asked for from now on. Those that
    /// were answered already are not among them; those that were aborted before are, because they
    /// must drain first.
    fn end_all(&mut self, hit: impl Fn(Lun) -> bool) -> Vec<TaskId> {
        self.window.abort_early(&hit);
        let tasks: Vec<TaskId> =
            self.tasks.iter().filter(|(_, entry)| hit(entry.lun)).map(|(task, _)| task).collect();
        tasks.iter().for_each(|task| self.tasks.end(*task));
        tasks
    }

    /// Marks all tasks aborted.
    pub(super) fn abort_all(&mut self) {
        let tasks = self.end_all(|_| true);
        tasks.into_iter().for_each(|task| {
            self.tasks.abort(task);
        });
    }
}
