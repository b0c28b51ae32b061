//! For the fuzz targets: everything that is read from a device at start, read from any bytes. What
//! reads as a record must survive being written and read again.

use uuid::Uuid;

use super::journal;
use super::record::{Ledger, Superblock};

/// Bytes at the places of a superblock and of a ledger; with their checksum set right, too.
///
/// # Panics
/// When a record is not what was read.
pub fn device(bytes: &[u8]) {
    let mut sealed = b"OUTBAND2".to_vec();
    sealed.extend_from_slice(bytes);
    sealed.resize(super::record::SUPERBLOCK_LEN - 4, 0);
    seal(&mut sealed);
    for bytes in [bytes, &sealed] {
        if let Ok(superblock) = Superblock::decode(bytes) {
            // What only a newer program knows is not written by this one.
            let again = Superblock::decode(&superblock.encode());
            assert_eq!(again.as_ref(), Ok(&superblock));
        }
    }
    let mut sealed = b"OBLEDGR\0".to_vec();
    sealed.extend([0; 24]);
    sealed.extend(u32::try_from(bytes.len()).expect("an input is short").to_be_bytes());
    sealed.extend_from_slice(bytes);
    seal(&mut sealed);
    for bytes in [bytes, &sealed] {
        let _ = Ledger::encoded_len(bytes);
        if let Ok((ledger, generation)) = Ledger::decode(bytes, Uuid::nil()) {
            let again = Ledger::decode(&ledger.encode(Uuid::nil(), generation), Uuid::nil());
            assert_eq!(again, Ok((ledger.clone(), generation)));
            for volume in ledger.volumes.values() {
                let _ = (volume.home(), volume.members(), volume.visible());
                let _ = ledger.held_on(volume.home(), &(1..u32::MAX));
            }
        }
    }
}

/// Bytes in a journal: an intent, or a mark.
///
/// # Panics
/// When a record is not what was read.
pub fn journal(bytes: &[u8]) {
    let mut slot = vec![0; journal::SLOT_LEN];
    let len = bytes.len().min(slot.len());
    slot[..len].copy_from_slice(&bytes[..len]);
    journal::seal_header(&mut slot);
    for bytes in [bytes, &slot] {
        if let Some(intent) = journal::decode_intent(bytes) {
            let mut again = vec![0; journal::SLOT_LEN];
            journal::encode_intent(&mut again, intent.volume, &intent.places, &intent.data);
            assert_eq!(journal::decode_intent(&again), Some(intent));
        }
        let _ = journal::decode_mark(bytes);
    }
}

/// The checksum that ends every record (CRC32C).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

fn seal(record: &mut Vec<u8>) {
    let sum = checksum(record);
    record.extend(sum.to_be_bytes());
}
