//! What a logical unit can do, as parameter data: REPORT SUPPORTED OPERATION CODES and REPORT
//! SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.35, §6.36).

use super::cdb::usage::Usage;
use super::put;

/// The one-command format: CTDP, and the values of SUPPORT.
const CTDP: u8 = 0x80;
const NOT_SUPPORTED: u8 = 0x01;
const AS_THE_STANDARD_SAYS: u8 = 0x03;

/// The data that tells every command, in the order given.
#[must_use]
pub fn all_commands<'a>(
    commands: impl IntoIterator<Item = &'a Usage>,
    with_timeouts: bool,
) -> Vec<u8> {
    let mut data = vec![0; 4];
    for command in commands {
        let len = u16::try_from(command.data().len()).expect("a block is at most 16 bytes");
        let flags = u8::from(with_timeouts) << 1 | u8::from(command.service_action.is_some());
        data.extend([command.opcode(), 0, 0, command.service_action.unwrap_or(0), 0, flags]);
        data.extend(len.to_be_bytes());
        if with_timeouts {
            data.extend(timeouts(command));
        }
    }
    let len = u32::try_from(data.len() - 4).expect("there are at most 256 operation codes");
    put(&mut data, 0, len.to_be_bytes());
    data
}

/// The data that tells one command, or that it is not there.
#[must_use]
pub fn one_command(command: Option<&Usage>, with_timeouts: bool) -> Vec<u8> {
    let Some(command) = command else {
        return vec![0, NOT_SUPPORTED, 0, 0];
    };
    let len = u8::try_from(command.data().len()).expect("a block is at most 16 bytes");
    let ctdp = if with_timeouts { CTDP } else { 0 };
    let mut data = vec![0, ctdp | AS_THE_STANDARD_SAYS, 0, len];
    data.extend(command.data());
    if with_timeouts {
        data.extend(timeouts(command));
    }
    data
}

/// The command timeouts descriptor.
fn timeouts(command: &Usage) -> [u8; 12] {
    let mut descriptor = [0; 12];
    put(&mut descriptor, 0, 10u16.to_be_bytes());
    put(&mut descriptor, 4, command.nominal_seconds.to_be_bytes());
    put(&mut descriptor, 8, command.recommended_seconds.to_be_bytes());
    descriptor
}

/// The task management functions of iSCSI that are carried out: ABORT TASK, ABORT TASK SET, CLEAR
/// TASK SET, LOGICAL UNIT RESET and the target resets. The extended data gives no timeouts.
#[must_use]
pub fn task_management(extended: bool) -> Vec<u8> {
    const ABORT_TASK: u8 = 0x80;
    const ABORT_TASK_SET: u8 = 0x40;
    const CLEAR_TASK_SET: u8 = 0x10;
    const LOGICAL_UNIT_RESET: u8 = 0x08;
    const TARGET_RESET: u8 = 0x02;
    let functions =
        ABORT_TASK | ABORT_TASK_SET | CLEAR_TASK_SET | LOGICAL_UNIT_RESET | TARGET_RESET;
    let mut data = vec![functions, 0, 0, 0];
    if extended {
        data[3] = 12;
        data.resize(16, 0);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::cdb::usage::{COMMANDS, find};

    #[test]
    fn every_command_has_a_descriptor_of_eight_bytes_or_twenty() {
        for (timeouts, len) in [(false, 8), (true, 20)] {
            let data = all_commands(COMMANDS, timeouts);
            assert_eq!(data.len(), 4 + len * COMMANDS.len());
            let told = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
            assert_eq!(told as usize, data.len() - 4);
            for (descriptor, command) in data[4..].chunks_exact(len).zip(COMMANDS) {
                assert_eq!(descriptor[0], command.opcode());
                let action = command.service_action.unwrap_or(0);
                assert_eq!(descriptor[2..4], [0, action]);
                let flags = u8::from(timeouts) << 1 | u8::from(command.service_action.is_some());
                assert_eq!(descriptor[5], flags);
                assert_eq!(usize::from(descriptor[7]), command.data().len());
            }
        }
    }

    #[test]
    fn one_command_is_told_with_its_usage() {
        let read = find(0x28, None);
        let usage = [0x28, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0];
        assert_eq!(one_command(read, false), [&[0, 3, 0, 10], &usage[..]].concat());
        let timeouts = [0, 10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 30];
        assert_eq!(one_command(read, true), [&[0, 0x83, 0, 10], &usage[..], &timeouts].concat());
        assert_eq!(one_command(None, true), [0, 1, 0, 0]);
    }

    #[test]
    fn task_management_is_told_in_four_bytes_or_sixteen() {
        assert_eq!(task_management(false), [0xDA, 0, 0, 0]);
        assert_eq!(task_management(true)[..4], [0xDA, 0, 0, 12]);
        assert_eq!(task_management(true)[4..], [0; 12]);
    }
}
