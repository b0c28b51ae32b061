//! Task Management Function Request and Response (§11.5, §11.6).

use super::{Bhs, FINAL, Order, Sequence, opcode};
use crate::ids::{Itt, Lun};
use crate::serial::Sn;

/// What is to be done to tasks (§11.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskManagementFunction {
    /// 1: the task named by the Referenced Task Tag.
    AbortTask,
    /// 2: all tasks of this session on the logical unit.
    AbortTaskSet,
    /// 3: the auto contingent allegiance.
    ClearAca,
    /// 4: all tasks on the logical unit, whoever's they are.
    ClearTaskSet,
    /// 5: the logical unit.
    LogicalUnitReset,
    /// 6: the target, keeping sessions.
    TargetWarmReset,
    /// 7: the target, ending sessions.
    TargetColdReset,
    /// 8: moves a task to this connection; only at error recovery level 2.
    TaskReassign,
    /// A function that RFC 7143 does not define; RFC 7144 has 9 to 12.
    Other(u8),
}

impl TaskManagementFunction {
    const fn parse(value: u8) -> Self {
        match value {
            1 => Self::AbortTask,
            2 => Self::AbortTaskSet,
            3 => Self::ClearAca,
            4 => Self::ClearTaskSet,
            5 => Self::LogicalUnitReset,
            6 => Self::TargetWarmReset,
            7 => Self::TargetColdReset,
            8 => Self::TaskReassign,
            other => Self::Other(other),
        }
    }

    const fn value(self) -> u8 {
        match self {
            Self::AbortTask => 1,
            Self::AbortTaskSet => 2,
            Self::ClearAca => 3,
            Self::ClearTaskSet => 4,
            Self::LogicalUnitReset => 5,
            Self::TargetWarmReset => 6,
            Self::TargetColdReset => 7,
            Self::TaskReassign => 8,
            Self::Other(value) => value,
        }
    }
}

/// The initiator wants tasks ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskManagementRequest {
    /// Place in the session; normally immediate.
    pub order: Order,
    /// What is to be done.
    pub function: TaskManagementFunction,
    /// On which logical unit.
    pub lun: Lun,
    /// The initiator's name for the request.
    pub itt: Itt,
    /// The task meant by ABORT TASK and TASK REASSIGN, else [`Itt::NONE`].
    pub referenced: Itt,
    /// CmdSN of the referenced task.
    pub ref_cmd_sn: Sn,
    /// For TASK REASSIGN.
    pub exp_data_sn: Sn,
}

impl TaskManagementRequest {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            order: bhs.order(),
            function: TaskManagementFunction::parse(bhs.0[1] & 0x7f),
            lun: bhs.lun(),
            itt: bhs.itt(),
            referenced: Itt(bhs.u32(20)),
            ref_cmd_sn: bhs.sn(32),
            exp_data_sn: bhs.sn(36),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::TASK_MANAGEMENT_REQUEST);
        bhs.put_flag(FINAL, true);
        bhs.0[1] |= self.function.value() & 0x7f;
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.referenced.0);
        bhs.put_order(self.order);
        bhs.put_u32(32, self.ref_cmd_sn.0);
        bhs.put_u32(36, self.exp_data_sn.0);
        bhs
    }
}

/// How a function went (§11.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskManagementResult {
    /// 0.
    Complete,
    /// 1.
    TaskDoesNotExist,
    /// 2.
    LunDoesNotExist,
    /// 3.
    StillAllegiant,
    /// 4.
    ReassignmentUnsupported,
    /// 5.
    Unsupported,
    /// 6.
    NotAuthorised,
    /// 255.
    Rejected,
    /// Any other.
    Unknown(u8),
}

/// Sent after all responses of the tasks that are not affected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskManagementResponse {
    /// How it went.
    pub result: TaskManagementResult,
    /// Which request.
    pub itt: Itt,
    /// Progress.
    pub sequence: Sequence,
}

impl TaskManagementResponse {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            result: match bhs.0[2] {
                0 => TaskManagementResult::Complete,
                1 => TaskManagementResult::TaskDoesNotExist,
                2 => TaskManagementResult::LunDoesNotExist,
                3 => TaskManagementResult::StillAllegiant,
                4 => TaskManagementResult::ReassignmentUnsupported,
                5 => TaskManagementResult::Unsupported,
                6 => TaskManagementResult::NotAuthorised,
                255 => TaskManagementResult::Rejected,
                other => TaskManagementResult::Unknown(other),
            },
            itt: bhs.itt(),
            sequence: bhs.sequence(),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::TASK_MANAGEMENT_RESPONSE);
        bhs.put_flag(FINAL, true);
        bhs.0[2] = match self.result {
            TaskManagementResult::Complete => 0,
            TaskManagementResult::TaskDoesNotExist => 1,
            TaskManagementResult::LunDoesNotExist => 2,
            TaskManagementResult::StillAllegiant => 3,
            TaskManagementResult::ReassignmentUnsupported => 4,
            TaskManagementResult::Unsupported => 5,
            TaskManagementResult::NotAuthorised => 6,
            TaskManagementResult::Rejected => 255,
            TaskManagementResult::Unknown(value) => value,
        };
        bhs.put_u32(16, self.itt.0);
        bhs.put_sequence(self.sequence);
        bhs
    }
}
