//! EXTENDED COPY (SPC-4 §5.17): which blocks go where and in which order, and what is kept of each
//! copy for RECEIVE COPY RESULTS. Moving the blocks is the shard's part.

use std::collections::BTreeMap;

use outband_protocol::ids::IscsiName;
use outband_protocol::scsi::cdb::Cdb;
use outband_protocol::scsi::copy::{
    self, Limits, List, Progress, Segment, Standing, Usage, action,
};
use outband_protocol::scsi::sense::{
    COPY_TARGET_NOT_REACHABLE, INCORRECT_COPY_TARGET_TYPE, INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST, LBA_OUT_OF_RANGE, OPERATION_IN_PROGRESS, PARAMETER_LIST_LENGTH_ERROR,
    Sense, SenseKey, THIRD_PARTY_DEVICE_FAILURE, UNEXPECTED_INEXACT_SEGMENT,
    UNREACHABLE_COPY_TARGET,
};
use outband_protocol::scsi::{Status, inquiry};
use uuid::Uuid;

use super::{LogicalUnit, NexusId, Plan, Reply};

/// What a copy may ask for. As many copies may run as a session may have tasks.
pub(super) const LIMITS: Limits =
    Limits { cscds: 16, segments: 256, list_len: 16 * 32 + 256 * 28, copies: 128, granularity: 9 };

/// A list beyond this is not even read to find out what else is wrong with it.
const LIST_LEN_READ: u32 = 64 * 1024;

/// A copy source or copy destination, as this unit knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Party {
    /// The volume or partition.
    pub target: Uuid,
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks on the medium.
    pub blocks: u64,
}

/// A stretch of a segment that is moved at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The descriptor that names where it comes from.
    pub source: usize,
    /// The first block there.
    pub source_lba: u64,
    /// How many are read.
    pub source_blocks: u32,
    /// The descriptor that names where it goes.
    pub destination: usize,
    /// The first block there.
    pub destination_lba: u64,
    /// How many are written.
    pub destination_blocks: u32,
    /// Bytes of what was read that count; the rest of what is written is zeros.
    pub data: u32,
    /// Bytes written.
    pub written: u32,
}

/// A copy on its way through its segments.
#[derive(Debug)]
pub struct Course {
    list: List,
    parties: Vec<Option<Party>>,
    /// The segment that is due, and bytes of it that were written.
    segment: usize,
    done: u64,
    /// Bytes written by all of them.
    bytes: u64,
}

/// A segment in bytes.
struct Run {
    source: (usize, Party),
    destination: (usize, Party),
    from: u64,
    to: u64,
    /// Bytes that are copied.
    data: u64,
    /// Bytes that are written: whole blocks of the destination.
    written: u64,
    /// From the last piece to the first.
    backwards: bool,
}

impl Course {
    /// A copy between `parties`, one for each descriptor of `list`, where it can be reached.
    pub fn new(list: List, parties: Vec<Option<Party>>) -> Result<Self, Sense> {
        for (index, (cscd, party)) in list.cscds.iter().zip(&parties).enumerate() {
            if party.is_some_and(|party| party.block_size != cscd.block_size) {
                let byte = u16::try_from(16 + 32 * index + 29).expect("sixteen descriptors");
                return Err(INVALID_FIELD_IN_LIST.at_list(byte));
            }
        }
        Ok(Self { list, parties, segment: 0, done: 0, bytes: 0 })
    }

    /// The next piece, of at most `max` bytes, a multiple of every block size; none when all is
    /// copied. Segments are looked at when their turn comes: those before one that cannot be
    /// copied are copied all the same (SPC-4 §5.17.7.4).
    pub fn next_piece(&mut self, max: u32) -> Result<Option<Piece>, Sense> {
        while let Some(segment) = self.list.segments.get(self.segment).copied() {
            if let Some(run) = self.run(&segment)?
                && self.done < run.written
            {
                return Ok(Some(run.piece(self.done, max)));
            }
            (self.segment, self.done) = (self.segment + 1, 0);
        }
        Ok(None)
    }

    /// A piece is at its destination.
    pub fn moved(&mut self, piece: &Piece) {
        self.done += u64::from(piece.written);
        self.bytes += u64::from(piece.written);
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self, standing: Standing) -> Progress {
        let segments = u16::try_from(self.segment).unwrap_or(u16::MAX);
        Progress { standing, segments, bytes: self.bytes }
    }

    /// The list identifier, and whether results are kept under it.
    #[must_use]
    pub fn identifier(&self) -> (u8, Usage) {
        (self.list.id, self.list.usage)
    }

    /// What the host is told when one side refused or failed the piece that was due.
    #[must_use]
    pub fn failed(&self, why: Refusal) -> Sense {
        match why {
            Refusal::Unreachable => self.aborted(COPY_TARGET_NOT_REACHABLE, None),
            Refusal::Device => self.aborted(THIRD_PARTY_DEVICE_FAILURE, None),
        }
    }

    fn aborted(&self, sense: Sense, byte: Option<u16>) -> Sense {
        sense.in_segment(u16::try_from(self.segment).unwrap_or(u16::MAX), byte)
    }

    fn party(&self, index: u16, byte: u16) -> Result<(usize, Party), Sense> {
        let index = usize::from(index);
        let cscd = self.list.cscds.get(index);
        let cscd = cscd.ok_or_else(|| self.aborted(UNREACHABLE_COPY_TARGET, Some(byte)))?;
        if cscd.peripheral != inquiry::Peripheral::Disk.code() {
            return Err(self.aborted(INCORRECT_COPY_TARGET_TYPE, Some(byte)));
        }
        let party = self.parties[index];
        party
            .map(|party| (index, party))
            .ok_or_else(|| self.aborted(COPY_TARGET_NOT_REACHABLE, Some(byte)))
    }

    /// A segment, checked; none when it has no blocks.
    fn run(&self, segment: &Segment) -> Result<Option<Run>, Sense> {
        let source = self.party(segment.source, Segment::SOURCE_AT)?;
        let destination = self.party(segment.destination, Segment::DESTINATION_AT)?;
        if segment.blocks == 0 {
            return Ok(None);
        }
        let (from_size, to_size) = (bytes(source.1.block_size), bytes(destination.1.block_size));
        let counted = if segment.destination_count { to_size } else { from_size };
        let data = u64::from(segment.blocks) * counted;
        let pads = |index: usize| self.list.cscds[index].pad;
        // What fills no whole block at its destination is filled up, and what is left of a block
        // of the source dropped, if the descriptor says so. Nothing is kept for the next segment.
        let inexact = !data.is_multiple_of(to_size) && !pads(destination.0)
            || !data.is_multiple_of(from_size) && !pads(source.0);
        if inexact {
            return Err(self.aborted(UNEXPECTED_INEXACT_SEGMENT, Some(Segment::BLOCKS_AT)));
        }
        let past_end = Sense::new(SenseKey::CopyAborted, 0, 0);
        if !source.1.holds(segment.source_lba, data.div_ceil(from_size)) {
            return Err(self.aborted(past_end, Some(Segment::SOURCE_LBA_AT)));
        }
        if !destination.1.holds(segment.destination_lba, data.div_ceil(to_size)) {
            return Err(self.aborted(past_end, Some(Segment::DESTINATION_LBA_AT)));
        }
        let (from, to) = (segment.source_lba * from_size, segment.destination_lba * to_size);
        // Onto itself, the copy is as if all were read before any is written.
        let backwards = source.1.target == destination.1.target && from < to && to < from + data;
        let written = data.next_multiple_of(to_size);
        Ok(Some(Run { source, destination, from, to, data, written, backwards }))
    }
}

impl Run {
    fn piece(&self, done: u64, max: u32) -> Piece {
        let len = (self.written - done).min(max.into());
        let offset = if self.backwards { self.written - done - len } else { done };
        let (from_size, to_size) =
            (bytes(self.source.1.block_size), bytes(self.destination.1.block_size));
        let data = len.min(self.data - offset);
        let small = |value: u64| u32::try_from(value).expect("a piece is at most `max` long");
        Piece {
            source: self.source.0,
            source_lba: (self.from + offset) / from_size,
            source_blocks: small(data.div_ceil(from_size)),
            destination: self.destination.0,
            destination_lba: (self.to + offset) / to_size,
            destination_blocks: small(len / to_size),
            data: small(data),
            written: small(len),
        }
    }
}

impl Party {
    fn holds(&self, lba: u64, blocks: u64) -> bool {
        lba.checked_add(blocks).is_some_and(|end| end <= self.blocks)
    }
}

fn bytes(block_size: u32) -> u64 {
    u64::from(block_size)
}

/// Why one side of a copy did not do its part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is not there, or not for this host.
    Unreachable,
    /// It refused the command, or failed.
    Device,
}

/// What is kept of copies, by who asked for them and their list identifier. There are at most 256
/// of each nexus.
#[derive(Debug, Default)]
pub(super) struct Copies {
    kept: BTreeMap<(NexusId, u8), Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Told once it has ended, and then no longer known.
    progress: Option<Progress>,
    /// What the command ended with, when it failed; told once.
    failure: Option<(Status, Sense)>,
}

impl Copies {
    pub(super) fn detach(&mut self, nexus: NexusId) {
        self.kept.retain(|(of, _), _| *of != nexus);
    }

    /// A reset ends all copies, and what is kept of them.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}

impl LogicalUnit {
    pub(super) fn extended_copy(cdb: Cdb, len: u32) -> Result<Plan, Sense> {
        match len {
            0 => Ok(Reply::good().into()),
            1..=LIST_LEN_READ => Ok(Plan::Parameters { cdb, len }),
            _ => Err(PARAMETER_LIST_LENGTH_ERROR),
        }
    }

    /// The list is here and makes sense; whether its parties can be reached is the shard's to see.
    pub(super) fn copy_list(
        &mut self,
        nexus: NexusId,
        len: u32,
        bytes: &[u8],
    ) -> Result<Plan, Sense> {
        let list = List::parse(bytes, &LIMITS)?;
        if list.usage != Usage::Unidentified {
            let running =
                |kept: &Kept| kept.progress.is_some_and(|at| at.standing == Standing::InProgress);
            if self.copies.kept.get(&(nexus, list.id)).is_some_and(running) {
                return Err(OPERATION_IN_PROGRESS);
            }
            let progress = Progress { standing: Standing::InProgress, segments: 0, bytes: 0 };
            let kept = Kept { progress: Some(progress), failure: None };
            self.copies.kept.insert((nexus, list.id), kept);
        }
        Ok(Plan::Copy { list: Box::new(list), wanted: len.into() })
    }

    /// A copy that `nexus` asked for has come further.
    pub fn copy_moved(&mut self, nexus: NexusId, course: &Course) {
        if let Some(kept) = self.copies.kept.get_mut(&(nexus, course.list.id)) {
            kept.progress = Some(course.progress(Standing::InProgress));
        }
    }

    /// A copy has ended. Of one that went well nothing is kept if nobody means to ask.
    pub fn copy_ended(
        &mut self,
        nexus: NexusId,
        (id, usage): (u8, Usage),
        progress: Progress,
        failure: Option<(Status, Sense)>,
    ) {
        if usage == Usage::Unidentified {
            return;
        }
        if usage == Usage::Discard && progress.standing == Standing::Done {
            self.copies.kept.remove(&(nexus, id));
        } else if let Some(kept) = self.copies.kept.get_mut(&(nexus, id)) {
            *kept = Kept { progress: Some(progress), failure };
        }
    }

    /// RECEIVE COPY RESULTS.
    pub(super) fn copy_results(
        &mut self,
        nexus: NexusId,
        service: u8,
        list: u8,
        allocation: u32,
    ) -> Result<Plan, Sense> {
        let data = match service {
            action::OPERATING_PARAMETERS => LIMITS.bytes(),
            action::COPY_STATUS => self.copies.tell_status(nexus, list)?.to_vec(),
            action::RECEIVE_DATA => self.copies.tell_data(nexus, list)?.to_vec(),
            action::FAILED_SEGMENT_DETAILS => self.copies.tell_failure(nexus, list)?,
            _ => return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4))),
        };
        Ok(Reply::data(data, allocation).into())
    }

    /// Whether a copy may read or write these blocks now. The same is looked at as for a READ or
    /// a WRITE of the host that asked for the copy.
    pub fn admit_copy(
        &self,
        host: &IscsiName,
        lba: u64,
        blocks: u32,
        write: bool,
    ) -> Result<(), Sense> {
        if let Some(sense) = self.unsanitized() {
            return Err(sense);
        }
        if !self.holds(lba, blocks) {
            return Err(LBA_OUT_OF_RANGE);
        }
        if self.bars_host(host, write) {
            return Err(THIRD_PARTY_DEVICE_FAILURE);
        }
        if write { self.check_writable() } else { Ok(()) }
    }
}

/// No copy is known under this identifier.
const UNKNOWN_LIST: Sense = INVALID_FIELD_IN_CDB.at_cdb(2, None);

impl Copies {
    fn tell_status(&mut self, nexus: NexusId, list: u8) -> Result<[u8; 12], Sense> {
        let kept = self.kept.get_mut(&(nexus, list)).ok_or(UNKNOWN_LIST)?;
        let progress = kept.progress.ok_or(UNKNOWN_LIST)?;
        if progress.standing != Standing::InProgress {
            kept.progress = None;
            self.forget_told(nexus, list);
        }
        Ok(progress.bytes())
    }

    /// No segment here holds data for the host, so there never is any once the copy has ended.
    fn tell_data(&self, nexus: NexusId, list: u8) -> Result<[u8; 4], Sense> {
        let kept = self.kept.get(&(nexus, list)).ok_or(UNKNOWN_LIST)?;
        match kept.progress {
            Some(Progress { standing: Standing::InProgress, .. }) => Err(UNKNOWN_LIST),
            _ => Ok(copy::no_data()),
        }
    }

    fn tell_failure(&mut self, nexus: NexusId, list: u8) -> Result<Vec<u8>, Sense> {
        let kept = self.kept.get_mut(&(nexus, list)).ok_or(UNKNOWN_LIST)?;
        let data = match kept.failure.take() {
            Some((status, sense)) => copy::failure(status, &sense),
            None => copy::no_data().to_vec(),
        };
        self.forget_told(nexus, list);
        Ok(data)
    }

    fn forget_told(&mut self, nexus: NexusId, list: u8) {
        let told = |kept: &Kept| kept.progress.is_none() && kept.failure.is_none();
        if self.kept.get(&(nexus, list)).is_some_and(told) {
            self.kept.remove(&(nexus, list));
        }
    }
}
