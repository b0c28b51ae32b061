//! Any bytes on a device, in its journal or in a file of reservations are refused, or read into a
//! record that survives being written and read again. With a good checksum, too: nobody has to be
//! lucky to write one.

use outband_target_server::media::reread;
use outband_target_server::scsi::{Kept, SLOT_LEN};
use uuid::Uuid;

/// Bytes before the body of a record of reservations.
const HEAD_LEN: usize = 40;

/// See the module.
pub fn run(input: &[u8]) {
    reread::device(input);
    reread::journal(input);
    let _ = Kept::load(input, Uuid::nil());
    let Some(number) = input.first() else {
        return;
    };
    // Two good slots, one of them with another body.
    let mut file = vec![0; 2 * SLOT_LEN];
    for (slot, body) in file.chunks_mut(SLOT_LEN).zip([input, &input[1..]]) {
        let record = sealed(*number, body);
        slot[..record.len()].copy_from_slice(&record);
    }
    let _ = Kept::load(&file, Uuid::nil());
}

/// A record of reservations with `body`, as it would be written.
fn sealed(number: u8, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(SLOT_LEN - HEAD_LEN - 4)];
    let mut record = b"OBRESERV\0\0\0\x01".to_vec();
    record.extend([0; 16]);
    record.extend(u64::from(number).to_be_bytes());
    record.extend(u32::try_from(body.len()).expect("less than a slot").to_be_bytes());
    record.extend_from_slice(body);
    let sum = reread::checksum(&record);
    record.extend(sum.to_be_bytes());
    record
}
