//! READ DEFECT DATA (SBC-3): a volume's medium sees to its own defects, so both lists are empty.

use outband_protocol::scsi::cdb::ReadDefects;

use super::{Plan, Reply};

/// The header alone, of `len` bytes: which lists were asked for, in the format asked for, and zero
/// for their length (and for the generation code, in the longer header).
pub(super) fn none(fields: &ReadDefects, len: usize) -> Plan {
    let mut data = vec![0; len];
    data[1] = fields.flags();
    Reply::data(data, fields.allocation).into()
}
