//! The journal of a device: what a WRITE ATOMIC is about to write, written down before it is, so
//! that a cut in the middle is finished at the next start and never seen half done; and marks of
//! targets whose SANITIZE or FORMAT UNIT has begun and not ended. Formats and replay; shards write it (`shard/journal.rs`).
//!
//! A slot belongs to one shard. An intent is durable before the first of its bytes goes to its
//! place, and gone, durably, before the write is answered and before anybody else may write there;
//! so whatever valid intent is found was not answered, and nothing was written over it since.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tracing::{error, info};
use uuid::Uuid;

pub use super::blocks::Blocks;
use crate::scsi::Wiping;

/// Bytes of a journal: slots for intents, then pages for marks.
pub const JOURNAL_LEN: u64 = 4 * super::MIB;
/// The longest write an intent has room for.
pub(crate) const INTENT_DATA_MAX: usize = 128 * 1024;
/// An intent's header; also a mark.
pub(crate) const PAGE_LEN: usize = 4096;
/// An intent: its header, then its data.
pub const SLOT_LEN: usize = PAGE_LEN + INTENT_DATA_MAX;
const SLOTS: u64 = 30;
const MARKS: u64 = 34;

const INTENT_MAGIC: [u8; 8] = *b"OBINTENT";
const MARK_MAGIC: [u8; 8] = *b"OBSANITZ";
/// Where the checksum is in a header; it covers header and data, with itself as zero.
const CRC_AT: usize = PAGE_LEN - 4;
/// More places than a write of its size can have: extents are whole MiB.
const PLACES_MAX: usize = 8;
const PLACE_LEN: usize = 28;
const PLACES_AT: usize = 32;

/// Where a part of an intent's data belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IntentPlace {
    pub(crate) device: Uuid,
    /// Bytes from the start of the device.
    pub(crate) at: u64,
    pub(crate) len: u32,
}

/// A write that must happen as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    pub volume: Uuid,
    pub(crate) places: Vec<IntentPlace>,
    pub(crate) data: Vec<u8>,
}

/// Byte positions, within the journal, of the intents that are `shard`'s of so many.
pub fn slots_of(shard: usize, shards: usize) -> Vec<u64> {
    let shard = u64::try_from(shard).unwrap_or(u64::MAX);
    (shard..SLOTS).step_by(shards.max(1)).map(|slot| slot * SLOT_LEN as u64).collect()
}

/// Likewise of the pages for marks.
pub fn marks_of(shard: usize, shards: usize) -> Vec<u64> {
    let shard = u64::try_from(shard).unwrap_or(u64::MAX);
    (shard..MARKS).step_by(shards.max(1)).map(mark_at).collect()
}

fn mark_at(mark: u64) -> u64 {
    SLOTS * SLOT_LEN as u64 + mark * PAGE_LEN as u64
}

/// Writes an intent to write `data` into the start of `slot`; returns its length.
///
/// # Panics
/// If there are more places, or more data, than a slot has room for.
pub(crate) fn encode_intent(
    slot: &mut [u8],
    volume: Uuid,
    places: &[IntentPlace],
    data: &[u8],
) -> usize {
    assert!(places.len() <= PLACES_MAX && data.len() <= INTENT_DATA_MAX, "checked by the command");
    let len = PAGE_LEN + data.len();
    let record = &mut slot[..len];
    record[..PAGE_LEN].fill(0);
    record[..8].copy_from_slice(&INTENT_MAGIC);
    record[8..24].copy_from_slice(volume.as_bytes());
    let data_len = u32::try_from(data.len()).expect("at most 128 KiB");
    record[24..28].copy_from_slice(&data_len.to_be_bytes());
    record[28] = u8::try_from(places.len()).expect("a few");
    for (place, field) in places.iter().zip(record[PLACES_AT..].chunks_exact_mut(PLACE_LEN)) {
        field[..16].copy_from_slice(place.device.as_bytes());
        field[16..24].copy_from_slice(&place.at.to_be_bytes());
        field[24..].copy_from_slice(&place.len.to_be_bytes());
    }
    record[PAGE_LEN..].copy_from_slice(data);
    let crc = crc_fast::crc32_iscsi(record);
    record[CRC_AT..PAGE_LEN].copy_from_slice(&crc.to_be_bytes());
    len
}

/// How much data follows a header, if it may be one.
fn told_len(header: &[u8]) -> Option<usize> {
    let told = u32::from_be_bytes(header.get(24..28)?.try_into().ok()?);
    let len = usize::try_from(told).ok()?;
    (header.starts_with(&INTENT_MAGIC) && len <= INTENT_DATA_MAX).then_some(len)
}

/// Reads an intent; none if it is not whole.
pub(crate) fn decode_intent(slot: &[u8]) -> Option<Intent> {
    let record = slot.get(..PAGE_LEN + told_len(slot)?)?;
    if !is_whole(record) {
        return None;
    }
    let count = usize::from(record[28]);
    let fields = record[PLACES_AT..CRC_AT].chunks_exact(PLACE_LEN).take(count);
    let place = |field: &[u8]| {
        Some(IntentPlace {
            device: Uuid::from_slice(&field[..16]).ok()?,
            at: u64::from_be_bytes(field[16..24].try_into().ok()?),
            len: u32::from_be_bytes(field[24..].try_into().ok()?),
        })
    };
    let places = fields.map(place).collect::<Option<Vec<_>>>()?;
    let total: u64 = places.iter().map(|place| u64::from(place.len)).sum();
    let data = record[PAGE_LEN..].to_vec();
    let sound = count <= PLACES_MAX && total == data.len() as u64;
    let volume = Uuid::from_slice(&record[8..24]).ok()?;
    sound.then_some(Intent { volume, places, data })
}

/// Sets the checksum of the intent that a slot begins with right, whatever it is.
pub(crate) fn seal_header(slot: &mut [u8]) {
    slot[..8].copy_from_slice(&INTENT_MAGIC);
    if let Some(len) = told_len(slot) {
        let record = &mut slot[..PAGE_LEN + len];
        record[CRC_AT..PAGE_LEN].fill(0);
        let crc = crc_fast::crc32_iscsi(record);
        record[CRC_AT..PAGE_LEN].copy_from_slice(&crc.to_be_bytes());
    }
}

fn is_whole(record: &[u8]) -> bool {
    let mut copy = record.to_vec();
    copy[CRC_AT..PAGE_LEN].fill(0);
    record[CRC_AT..PAGE_LEN] == crc_fast::crc32_iscsi(&copy).to_be_bytes()
}

/// Where a command that wipes and has not ended is marked, and which it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub at: u64,
    pub by: Wiping,
}

/// What a mark has for each command.
const RESTRICTED: u8 = 0;
const UNRESTRICTED: u8 = 1;
const FORMAT: u8 = 2;

/// A mark that the wiping of `target` has begun.
pub(crate) fn encode_mark(page: &mut [u8], target: Uuid, by: Wiping) {
    page[..PAGE_LEN].fill(0);
    page[..8].copy_from_slice(&MARK_MAGIC);
    page[8..24].copy_from_slice(target.as_bytes());
    page[24] = match by {
        Wiping::Sanitize { unrestricted: false } => RESTRICTED,
        Wiping::Sanitize { unrestricted: true } => UNRESTRICTED,
        Wiping::Format => FORMAT,
    };
    let crc = crc_fast::crc32_iscsi(&page[..PAGE_LEN]);
    page[CRC_AT..PAGE_LEN].copy_from_slice(&crc.to_be_bytes());
}

/// Whose wiping a page says has begun. A command that is not known here has failed all the more.
pub(crate) fn decode_mark(page: &[u8]) -> Option<(Uuid, Wiping)> {
    let page = page.get(..PAGE_LEN)?;
    let marks = page.starts_with(&MARK_MAGIC) && is_whole(page);
    let target = Uuid::from_slice(&page[8..24]).ok().filter(|_| marks)?;
    let by = match page[24] {
        FORMAT => Wiping::Format,
        code => Wiping::Sanitize { unrestricted: code == UNRESTRICTED },
    };
    Some((target, by))
}

/// Targets marked in the journal at `at`, and the positions of their marks within it.
pub(crate) fn marks(blocks: &dyn Blocks, at: u64) -> io::Result<BTreeMap<Uuid, Mark>> {
    let mut found = BTreeMap::new();
    let mut pages = vec![0; PAGE_LEN * usize::try_from(MARKS).expect("a few")];
    blocks.read_at(at + mark_at(0), &mut pages)?;
    for (mark, page) in (0..MARKS).zip(pages.chunks_exact(PAGE_LEN)) {
        if let Some((target, by)) = decode_mark(page) {
            found.insert(target, Mark { at: mark_at(mark), by });
        }
    }
    Ok(found)
}

/// Whether nothing in the journal at `at` is needed any more.
pub(crate) fn is_empty(blocks: &dyn Blocks, at: u64) -> io::Result<bool> {
    Ok(intents(blocks, at)?.is_empty() && marks(blocks, at)?.is_empty())
}

/// Where the journal at `at` holds an intent, and of which volume.
pub(crate) fn intents(blocks: &dyn Blocks, at: u64) -> io::Result<BTreeMap<u64, Uuid>> {
    let mut found = BTreeMap::new();
    for slot in (0..SLOTS).map(|slot| at + slot * SLOT_LEN as u64) {
        if let Some(intent) = read_intent(blocks, slot)? {
            found.insert(slot, intent.volume);
        }
    }
    Ok(found)
}

/// What is to become of an intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is carried out and then forgotten.
    Finish,
    /// Its volume is gone: it is forgotten.
    Forget,
    /// Not ours to touch now.
    Leave,
}

/// Finishes what a cut has left half done: every whole intent in the journal at `at` is written to
/// its place, durably, and then forgotten, durably. A cut in the middle changes nothing about that.
/// Returns the volumes for which that could not be done.
pub fn replay(
    journal: &dyn Blocks,
    at: u64,
    devices: &BTreeMap<Uuid, Arc<dyn Blocks>>,
    judge: impl Fn(&Intent) -> Verdict,
) -> io::Result<BTreeSet<Uuid>> {
    let mut unfinished = BTreeSet::new();
    for slot in (0..SLOTS).map(|slot| at + slot * SLOT_LEN as u64) {
        let Some(intent) = read_intent(journal, slot)? else { continue };
        let (volume, bytes) = (intent.volume, intent.data.len());
        let finished = match judge(&intent) {
            Verdict::Leave => continue,
            Verdict::Finish => finish(&intent, devices),
            Verdict::Forget => Ok(()),
        };
        let forgotten = finished
            .and_then(|()| journal.write_at(slot, &[0; PAGE_LEN]))
            .and_then(|()| journal.sync());
        match forgotten {
            Ok(()) => info!(%volume, bytes, "an atomic write that was cut short was finished"),
            Err(error) => {
                error!(%volume, %error, "an atomic write that was cut short cannot be finished");
                unfinished.insert(volume);
            }
        }
    }
    Ok(unfinished)
}

fn read_intent(journal: &dyn Blocks, slot: u64) -> io::Result<Option<Intent>> {
    let mut bytes = vec![0; PAGE_LEN];
    journal.read_at(slot, &mut bytes)?;
    if told_len(&bytes).is_none() {
        return Ok(None);
    }
    bytes.resize(SLOT_LEN, 0);
    journal.read_at(slot, &mut bytes)?;
    Ok(decode_intent(&bytes))
}

fn finish(intent: &Intent, devices: &BTreeMap<Uuid, Arc<dyn Blocks>>) -> io::Result<()> {
    let mut data = intent.data.as_slice();
    for place in &intent.places {
        let device = devices.get(&place.device).ok_or(io::ErrorKind::NotFound)?;
        let (part, rest) = data.split_at(place.len as usize);
        device.write_at(place.at, part)?;
        data = rest;
    }
    for place in &intent.places {
        devices.get(&place.device).ok_or(io::ErrorKind::NotFound)?.sync()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        let place = |device, at, len| IntentPlace { device: Uuid::from_u128(device), at, len };
        let data = (0..8192u32).map(|at| at.to_be_bytes()[3]).collect();
        let places = vec![place(1, 8 << 20, 512), place(2, 9 << 20, 7680)];
        Intent { volume: Uuid::from_u128(7), places, data }
    }

    fn encoded(intent: &Intent) -> Vec<u8> {
        let mut slot = vec![0xEE; SLOT_LEN];
        let len = encode_intent(&mut slot, intent.volume, &intent.places, &intent.data);
        assert_eq!(len, PAGE_LEN + intent.data.len());
        slot
    }

    #[test]
    fn an_intent_comes_back_as_it_was_written_whatever_is_behind_it() {
        assert_eq!(decode_intent(&encoded(&intent())), Some(intent()));
    }

    #[test]
    fn an_intent_that_is_torn_or_rotten_anywhere_is_none() {
        let slot = encoded(&intent());
        for at in (0..PAGE_LEN + 8192).step_by(97) {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert_eq!(decode_intent(&bad), None, "byte {at}");
            let mut torn = slot.clone();
            torn[at..].fill(0xEE);
            assert_eq!(decode_intent(&torn), None, "torn at {at}");
        }
        assert_eq!(decode_intent(&[0; PAGE_LEN]), None);
        assert_eq!(decode_intent(&[]), None);
    }

    #[test]
    fn a_mark_is_of_its_target_only_while_it_is_whole() {
        let mut page = vec![0; PAGE_LEN];
        let sanitize = |unrestricted| Wiping::Sanitize { unrestricted };
        for by in [sanitize(false), sanitize(true), Wiping::Format] {
            encode_mark(&mut page, Uuid::from_u128(9), by);
            assert_eq!(decode_mark(&page), Some((Uuid::from_u128(9), by)));
        }
        page[20] ^= 1;
        assert_eq!(decode_mark(&page), None);
        assert_eq!(decode_mark(&vec![0; PAGE_LEN]), None);
    }

    #[test]
    fn two_shards_never_share_a_slot_or_a_page_and_all_lie_in_the_journal() {
        for shards in [1, 3, 8, 30, 64] {
            for (of, len) in [(slots_of as fn(_, _) -> _, SLOT_LEN), (marks_of, PAGE_LEN)] {
                let mut all: Vec<u64> = (0..shards).flat_map(|shard| of(shard, shards)).collect();
                all.sort_unstable();
                assert!(all.windows(2).all(|pair| pair[0] + len as u64 <= pair[1]), "{shards}");
                assert!(all.last().is_some_and(|last| last + len as u64 <= JOURNAL_LEN));
            }
        }
        assert!(slots_of(29, 30)[0] + SLOT_LEN as u64 <= marks_of(0, 1)[0]);
    }
}
