//! Asynchronous Message (§11.9): what the target says of its own accord.

use super::{Bhs, FINAL, Sequence, opcode};
use crate::ids::{Itt, Lun};

/// What happened (§11.9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsyncEvent {
    /// 0: a SCSI event; sense data follows.
    Scsi,
    /// 1: the initiator should log out within `parameters[2]` seconds.
    LogoutRequested,
    /// 2: the connection `parameters[0]` will be dropped.
    ConnectionDropped,
    /// 3: all connections will be dropped.
    SessionDropped,
    /// 4: negotiate parameters anew.
    Renegotiate,
    /// 5: all active tasks of the logical unit are being terminated.
    TasksTerminated,
    /// 255: vendor's.
    Vendor,
    /// Any other.
    Unknown(u8),
}

/// The header of an asynchronous message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsyncMessage {
    /// Which logical unit, for a SCSI event.
    pub lun: Lun,
    /// Progress; it uses up StatSN.
    pub sequence: Sequence,
    /// What happened.
    pub event: AsyncEvent,
    /// Vendor's code.
    pub vendor_code: u8,
    /// Parameter1 to Parameter3; their meaning depends on the event.
    pub parameters: [u16; 3],
}

impl AsyncMessage {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            lun: bhs.lun(),
            sequence: bhs.sequence(),
            event: match bhs.0[36] {
                0 => AsyncEvent::Scsi,
                1 => AsyncEvent::LogoutRequested,
                2 => AsyncEvent::ConnectionDropped,
                3 => AsyncEvent::SessionDropped,
                4 => AsyncEvent::Renegotiate,
                5 => AsyncEvent::TasksTerminated,
                255 => AsyncEvent::Vendor,
                other => AsyncEvent::Unknown(other),
            },
            vendor_code: bhs.0[37],
            parameters: [bhs.u16(38), bhs.u16(40), bhs.u16(42)],
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::ASYNC_MESSAGE);
        bhs.put_flag(FINAL, true);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, Itt::NONE.0);
        bhs.put_sequence(self.sequence);
        bhs.0[36] = match self.event {
            AsyncEvent::Scsi => 0,
            AsyncEvent::LogoutRequested => 1,
            AsyncEvent::ConnectionDropped => 2,
            AsyncEvent::SessionDropped => 3,
            AsyncEvent::Renegotiate => 4,
            AsyncEvent::TasksTerminated => 5,
            AsyncEvent::Vendor => 255,
            AsyncEvent::Unknown(value) => value,
        };
        bhs.0[37] = self.vendor_code;
        for (at, parameter) in [38, 40, 42].into_iter().zip(self.parameters) {
            bhs.put_u16(at, parameter);
        }
        bhs
    }
}
