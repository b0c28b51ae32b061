//! How commands end: answered, aborted, or with the whole session.

use bytes::Bytes;
use outband_protocol::ids::{IscsiName, Itt, TaskId};
use outband_protocol::keys::{PortalAddress, TargetRecord, TextQueue, send_targets};
use outband_protocol::limits::{TASKS_INITIAL, TASKS_MAX};
use outband_protocol::pdu::{TaskManagementFunction, TaskManagementResult};
use outband_protocol::scsi::{Sense, Status, sense};
use outband_protocol::target::Outcome;
use outband_ring::Buf;

use super::{
    Conn, DataFault, Desk, Errand, Event, Manage, Reply, Ring, Stage, Targets, Task, Work,
};
use crate::exports::Portal;
use crate::metrics::{Ended, Failure, Operation};
use crate::shard::order::Turn;
use crate::store::StoreError;

impl Conn {
    /// A command that has its answer.
    pub(super) fn reply<R: Ring>(&mut self, slot: usize, reply: Reply, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        task.wanted = reply.wanted;
        let expected = if task.command.read { task.command.expected_len } else { 0 };
        let len = u32::try_from(reply.data.len()).unwrap_or(u32::MAX).min(expected);
        task.payload = reply.data;
        self.finish(slot, reply.status, reply.sense, len, desk);
    }

    /// A command has moved all its bytes.
    pub(super) fn moved_all<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        let data_in = if task.work == Work::Read { task.len } else { 0 };
        self.finish(slot, Status::Good, None, data_in, desk);
    }

    /// Ends a task: its response is due. What was read stays until the core has named it.
    pub(super) fn finish<R: Ring>(
        &mut self,
        slot: usize,
        status: Status,
        sense: Option<Sense>,
        data_in: u32,
        desk: &mut Desk<R>,
    ) {
        self.unclaim(slot, desk);
        if self.task_at(slot).copying.is_some() {
            self.forget_copy(slot, false, None, desk);
        }
        self.count(slot, Failure::of(status, sense.as_ref()), data_in, desk);
        let sense = sense.map(|sense| self.sense_data(&sense, desk));
        let task = self.task_at(slot);
        if let Some(slot) = task.intent.take() {
            desk.give_slot(*slot);
        }
        task.stage = Stage::Ended;
        task.beside.take().into_iter().for_each(|buf| desk.buffers.give(buf));
        if data_in == 0
            && let Some(buf) = task.buf.take()
        {
            desk.buffers.give(buf);
        }
        let outcome = Outcome { status: status.code(), sense, data_in, wanted: task.wanted };
        let id = task.id;
        let turn = std::mem::replace(&mut task.turn, Turn::Out);
        self.core.complete(id, outcome);
        if let Some(target) = self.target {
            desk.end_turn(target, turn, (self.key, id));
        }
    }

    /// The command is on record; its time is taken when its response leaves with this turn.
    fn count<R: Ring>(
        &mut self,
        slot: usize,
        failure: Option<Failure>,
        data_in: u32,
        desk: &mut Desk<R>,
    ) {
        let (Some(target), task) = (self.target, self.task_at(slot)) else {
            return;
        };
        let data_out = if task.command.write && failure.is_none() { task.len } else { 0 };
        let ended = Ended {
            operation: Operation::of(task.command.cdb[0]),
            failure,
            bytes: data_in + data_out,
            at: task.at,
            clock: task.clock,
        };
        self.counts.commands += 1;
        self.counts.read_bytes += u64::from(data_in);
        self.counts.written_bytes += u64::from(data_out);
        desk.meter.end((target, self.key), ended);
    }

    /// In the format that the logical unit's control mode page has (D_SENSE).
    fn sense_data<R: Ring>(&self, sense: &Sense, desk: &Desk<R>) -> Bytes {
        match self.target.and_then(|target| desk.targets.get(target)) {
            Some(target) => target.lu.sense_data(sense).into(),
            None => Bytes::copy_from_slice(&sense.fixed()),
        }
    }

    /// The data of a write is no use.
    pub(super) fn on_data_failed<R: Ring>(
        &mut self,
        id: TaskId,
        fault: DataFault,
        desk: &mut Desk<R>,
    ) {
        let Some(stage) = self.task(id).map(|task| task.stage) else {
            return;
        };
        self.counts.data_digest_errors += u64::from(fault == DataFault::Digest);
        let slot = usize::from(id.slot);
        if stage == Stage::Storing && !self.withdraw(id, desk) {
            // An earlier burst is on its way to the medium: the answer waits for that to end.
            let task = self.task_at(slot);
            task.stage = Stage::Draining;
            task.fault = Some(fault);
            self.draining += 1;
            return;
        }
        self.fail(slot, fault, desk);
    }

    fn fail<R: Ring>(&mut self, slot: usize, fault: DataFault, desk: &mut Desk<R>) {
        let (status, sense) = match fault {
            DataFault::Digest => (Status::CheckCondition, Some(sense::DATA_CRC_ERROR)),
            DataFault::OutOfOrder => (Status::CheckCondition, Some(sense::DATA_PHASE_ERROR)),
            DataFault::Unexpected => {
                (Status::CheckCondition, Some(sense::UNEXPECTED_UNSOLICITED_DATA))
            }
            DataFault::Amount => (Status::CheckCondition, Some(sense::NOT_ENOUGH_UNSOLICITED_DATA)),
            DataFault::NoRoom => (Status::TaskSetFull, None),
        };
        self.finish(slot, status, sense, 0, desk);
    }

    /// What the initiator sent, beside what the medium has.
    pub(super) fn on_beside<R: Ring>(
        &mut self,
        slot: usize,
        beside: Option<Buf>,
        desk: &mut Desk<R>,
    ) {
        let task = self.task_at(slot);
        let len = (task.bound.min(task.len) - task.base) as usize;
        let differs = match (&task.buf, &beside) {
            (Some(sent), Some(stored)) => {
                sent[..len].iter().zip(&stored[..len]).position(|(sent, stored)| sent != stored)
            }
            _ => return self.lost_buffer(slot, desk),
        };
        let base = u64::from(task.base);
        beside.into_iter().for_each(|buf| desk.buffers.give(buf));
        match differs {
            Some(at) => {
                let error = StoreError::Miscompare(base + at as u64);
                self.finish(slot, Status::CheckCondition, Some(error.sense()), 0, desk);
            }
            None => self.burst_moved(slot, desk),
        }
    }

    /// There is no data where there has to be some: a mistake of ours, which must not pass for success.
    pub(super) fn lost_buffer<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        debug_assert!(false, "a task whose data is here has the buffer that it is in");
        tracing::error!(host = %self.host, "a command is without its data");
        self.finish(slot, Status::CheckCondition, Some(sense::INTERNAL_FAILURE), 0, desk);
    }

    /// The core has ended tasks; those that the medium has are waited for, and then answered.
    pub(super) fn on_manage<R: Ring>(&mut self, manage: &Manage, desk: &mut Desk<R>) {
        for id in &manage.tasks {
            self.end_task(*id, desk);
        }
        use TaskManagementFunction as F;
        let of_unit =
            matches!(manage.function, F::AbortTaskSet | F::ClearTaskSet | F::LogicalUnitReset);
        if of_unit && manage.lun.number() != Some(0) {
            return self.core.answer_management(manage.itt, TaskManagementResult::LunDoesNotExist);
        }
        self.managing.push(manage.itt);
        self.cold |= manage.function == TaskManagementFunction::TargetColdReset;
        let Some(target) = self.target else {
            self.settle();
            return;
        };
        let reset = matches!(
            manage.function,
            TaskManagementFunction::LogicalUnitReset
                | TaskManagementFunction::TargetWarmReset
                | TaskManagementFunction::TargetColdReset
        );
        if reset || manage.function == TaskManagementFunction::ClearTaskSet {
            desk.errands.push_back(Errand::EndTasks { target, by: self.key, reset });
        }
        desk.errands.push_back(Errand::Settle(target));
    }

    /// Asks the initiator to log out, once (§11.9.1, event 1).
    pub(crate) fn ask_to_leave<R: Ring>(&mut self, desk: &Desk<R>) {
        let wait = desk.settings.logout_wait;
        if self.leave_by.is_none() && self.leaving.is_none() {
            self.leave_by = Some(desk.now + wait);
            self.core.request_logout(u16::try_from(wait.as_secs()).unwrap_or(u16::MAX));
        }
    }

    /// Another session, or a fence, ends all tasks of this one. True when there were any.
    pub(crate) fn end_tasks<R: Ring>(&mut self, desk: &mut Desk<R>) -> bool {
        let live = |task: &Task| !matches!(task.stage, Stage::Ended | Stage::Draining);
        let ids: Vec<_> =
            self.tasks.iter().flatten().filter(|task| live(task)).map(|task| task.id).collect();
        let any = !ids.is_empty();
        for id in ids {
            self.core.abort(id);
            self.end_task(id, desk);
        }
        any
    }

    /// A task that the core has marked aborted.
    fn end_task<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) {
        let Some(task) = self.task(id) else {
            return;
        };
        let stage = task.stage;
        if stage == Stage::Hungry {
            self.starve_no_more(id, desk);
        }
        if stage == Stage::Storing && !self.withdraw(id, desk) {
            self.task_at(usize::from(id.slot)).stage = Stage::Draining;
            self.draining += 1;
        } else if stage != Stage::Draining {
            self.finish(usize::from(id.slot), Status::TaskAborted, None, 0, desk);
        }
    }

    /// The medium has let go of an aborted task.
    pub(super) fn drained<R: Ring>(&mut self, slot: usize, buf: Option<Buf>, desk: &mut Desk<R>) {
        buf.into_iter().for_each(|buf| desk.buffers.give(buf));
        self.draining -= 1;
        match self.task_at(slot).fault {
            Some(fault) => self.fail(slot, fault, desk),
            None => self.finish(slot, Status::TaskAborted, None, 0, desk),
        }
        if let Some(target) = self.target {
            desk.errands.push_back(Errand::Settle(target));
        }
    }

    /// Whether the medium has a task that was aborted.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining > 0
    }

    /// No aborted task of the target is with the medium: those who asked are told. True when that
    /// ends every session of the target: a cold reset is as power on (§11.5.1).
    pub(crate) fn settle(&mut self) -> bool {
        for itt in self.managing.drain(..) {
            self.core.answer_management(itt, TaskManagementResult::Complete);
        }
        if let Some(itt) = self.leaving.take() {
            self.core.answer_logout(itt);
            self.answered_logout = true;
        }
        std::mem::take(&mut self.cold)
    }

    /// Whether the response to a logout has been handed out, so that nothing more comes or goes.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut nothing: &[u8] = &[];
        if self.answered_logout
            && matches!(self.core.next_event(&mut nothing), Ok(Some(Event::Ended)))
        {
            self.has_ended = true;
        }
        self.has_ended
    }

    /// The initiator leaves: its tasks are aborted already.
    pub(super) fn on_logout<R: Ring>(&mut self, itt: Itt, desk: &mut Desk<R>) {
        self.end_tasks(desk);
        self.leaving = Some(itt);
        match self.target {
            Some(target) => desk.errands.push_back(Errand::Settle(target)),
            None => {
                self.settle();
            }
        }
    }

    /// SendTargets: what this host may use, and nothing else (P25).
    pub(super) fn on_send_targets<R: Ring>(
        &mut self,
        itt: Itt,
        which: &Targets,
        desk: &mut Desk<R>,
    ) {
        let source = self.source;
        let own = self.target.map(|target| desk.targets[target].name.clone());
        let exports = &desk.exports;
        let wanted = |name: &IscsiName| match which {
            Targets::All => true,
            Targets::Own => own.as_ref() == Some(name),
            Targets::Name(asked) => asked == name,
        };
        let portal = |portal: &Portal| PortalAddress::new(portal.address, Some(portal.group));
        let records: Vec<_> = exports
            .visible_to(&self.host, source)
            .filter_map(|name| IscsiName::new(&name).ok())
            .filter(wanted)
            .map(|name| TargetRecord {
                name,
                portals: exports.portals.iter().map(portal).collect(),
            })
            .collect();
        let mut text = TextQueue::default();
        send_targets(&records, &mut text);
        let (text, _) = text.next_piece(usize::MAX);
        self.core.answer_targets(itt, text.to_vec());
    }

    /// The window starts small and doubles while it is filled, as far as the shard's credit goes.
    pub(super) fn grow_credit<R: Ring>(&mut self, desk: &mut Desk<R>) {
        let used = u32::try_from(self.core.in_flight()).unwrap_or(u32::MAX);
        if used < self.credit {
            return;
        }
        let more = self.credit.min(TASKS_MAX - self.credit).min(desk.credit);
        if more == 0 {
            self.counts.window_stalls += 1;
        } else {
            desk.credit -= more;
            self.credit += more;
            self.core.set_credit(self.credit);
        }
    }

    /// Gives back everything that the session held of the shard's. What the medium still has keeps
    /// its turn until the medium lets go of it; that is returned.
    pub(crate) fn release<R: Ring>(&mut self, desk: &mut Desk<R>) -> Vec<(TaskId, Turn)> {
        desk.credit += self.credit.saturating_sub(TASKS_INITIAL);
        self.drop_waiting(desk);
        let mut with_medium = Vec::new();
        for task in self.tasks.iter_mut().flatten() {
            let both = task.buf.take().into_iter().chain(task.beside.take());
            both.for_each(|buf| desk.buffers.give(buf));
            task.intent.take().into_iter().for_each(|slot| desk.give_slot(*slot));
            let turn = std::mem::replace(&mut task.turn, Turn::Out);
            if matches!(task.stage, Stage::Storing | Stage::Draining) {
                with_medium.push((task.id, turn));
            } else if let Some(target) = self.target {
                desk.end_turn(target, turn, (self.key, task.id));
            }
        }
        with_medium
    }

    /// The gather of this turn is closed: what was attached to it is not attached to the next.
    pub(super) fn forget_bodies(&mut self) {
        for slot in self.attached.drain(..) {
            if let Some(Some(task)) = self.tasks.get_mut(usize::from(slot)) {
                task.body = None;
            }
        }
    }
}
