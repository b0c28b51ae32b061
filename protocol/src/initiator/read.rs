//! Taking Data-In: each byte once, in order, never more than was asked for.

use super::error::PeerError;
use crate::ids::TaskId;
use crate::pdu::DataIn;
use crate::serial::Sn;

/// How far a read has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Read {
    /// All bytes before this one have come.
    pub(super) received: u32,
    /// Number of the next Data-In.
    data_sn: Sn,
}

impl Read {
    /// Takes a Data-In of `len` bytes. DataPDUInOrder and DataSequenceInOrder are always agreed on,
    /// and at error recovery level 0 nothing is sent twice, so there is one place it can belong to.
    pub(super) fn take(
        &mut self,
        task: TaskId,
        pdu: &DataIn,
        len: u32,
        expected_len: u32,
    ) -> Result<(), PeerError> {
        if len == 0 {
            // Only carries a status. DataSN counts PDUs, and this is one.
            self.data_sn = self.data_sn.next();
            return Ok(());
        }
        if pdu.offset != self.received || pdu.data_sn != self.data_sn {
            return Err(PeerError::DataInOutOfOrder { task, due: self.received, got: pdu.offset });
        }
        if len > expected_len - self.received {
            return Err(PeerError::DataInBeyondEnd { task, expected_len });
        }
        self.received += len;
        self.data_sn = self.data_sn.next();
        Ok(())
    }
}
