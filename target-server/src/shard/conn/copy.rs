//! EXTENDED COPY: piece after piece, read at one target and written at another. One piece is on its
//! way at a time, in one buffer, and each half of its way is a visit to the shard of that target.

use outband_protocol::ids::TaskId;
use outband_protocol::limits::BURST_LEN_MAX;
use outband_protocol::scsi::copy::{Cscd, List, Progress, Standing};
use outband_protocol::scsi::{Sense, Status};
use outband_ring::{Buf, Ring};
use uuid::Uuid;

use super::{Conn, Desk, Stage, Work};
use crate::scsi::{Course, Party, Piece, Refusal};
use crate::shard::desk::Hungry;
use crate::shard::mailbox::Message;
use crate::shard::visit::{Answer, Guest, Stay, Visit};

/// A copy on its way.
#[derive(Debug)]
pub(crate) struct Copying {
    course: Course,
    /// Where each descriptor of the list leads.
    places: Vec<Option<Place>>,
    /// What is on its way.
    piece: Option<Piece>,
    /// It has been read and is being written.
    writing: bool,
}

/// Where a copy source or destination lives, and by which grant this host may use it.
#[derive(Clone, Copy, Debug)]
struct Place {
    shard: usize,
    target: Uuid,
    epoch: u64,
}

impl Conn {
    /// The list makes sense: who are its parties?
    pub(super) fn begin_copy<R: Ring>(&mut self, slot: usize, list: List, desk: &mut Desk<R>) {
        let named: Vec<_> = list.cscds.iter().map(|cscd| self.reach(cscd, desk)).collect();
        let places = named.iter().map(|found| found.map(|(place, _)| place)).collect();
        let parties = named.iter().map(|found| found.map(|(_, party)| party)).collect();
        let identifier = (list.id, list.usage);
        let task = self.task_at(slot);
        task.work = Work::Copy;
        match Course::new(list, parties) {
            Ok(course) => {
                let copying = Copying { course, places, piece: None, writing: false };
                task.copying = Some(Box::new(copying));
                self.copy_on(slot, desk);
            }
            Err(sense) => {
                let progress = Progress { standing: Standing::Failed, segments: 0, bytes: 0 };
                let failure = Some((Status::CheckCondition, sense));
                if let Some(target) = self.target {
                    desk.targets[target].lu.copy_ended(self.nexus, identifier, progress, failure);
                }
                self.finish(slot, Status::CheckCondition, Some(sense), 0, desk);
            }
        }
    }

    /// The target that a descriptor names, if this host may use it.
    fn reach<R: Ring>(&self, cscd: &Cscd, desk: &Desk<R>) -> Option<(Place, Party)> {
        let (name, route) = desk.exports.named(cscd)?;
        let own = self.target.is_some_and(|own| desk.targets[own].id == route.target);
        let epoch = if own {
            self.epoch
        } else {
            desk.exports.access.admit(self.host.as_str(), self.source, name).ok()?.epoch.0
        };
        let place = Place { shard: route.shard, target: route.target, epoch };
        let (block_size, blocks) = (route.block_size, route.blocks);
        Some((place, Party { target: route.target, block_size, blocks }))
    }

    /// The next piece, or the end.
    pub(super) fn copy_on<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let (conn, id) = (self.key, self.task_at(slot).id);
        if self.fenced {
            return self.copy_ends(slot, Status::ReservationConflict, None, desk);
        }
        let task = self.task_at(slot);
        let Some(copying) = &mut task.copying else {
            return;
        };
        let piece = match copying.course.next_piece(BURST_LEN_MAX) {
            Ok(Some(piece)) => piece,
            Ok(None) => return self.copy_ends(slot, Status::Good, None, desk),
            Err(sense) => return self.copy_ends(slot, Status::CheckCondition, Some(sense), desk),
        };
        let len = piece.data.max(piece.written) as usize;
        let room = len.next_multiple_of(4096);
        let Some(buf) = desk.buffers.take(room) else {
            task.stage = Stage::Hungry;
            return desk.hungry.push_back(Hungry { conn, task: id, room });
        };
        (copying.piece, copying.writing) = (Some(piece), false);
        let place = copying.places[piece.source];
        self.visit(slot, place, (piece.source_lba, piece.source_blocks), buf, None, desk);
    }

    /// One side has done its part of the piece, or not.
    pub(crate) fn on_visited<R: Ring>(
        &mut self,
        id: TaskId,
        result: Result<Option<Stay>, Refusal>,
        buf: Option<Buf>,
        desk: &mut Desk<R>,
    ) {
        self.ios -= 1;
        let slot = usize::from(id.slot);
        let fenced = self.fenced;
        let Some(task) = self.task(id) else {
            return buf.into_iter().for_each(|buf| desk.buffers.give(buf));
        };
        if task.stage == Stage::Draining {
            return self.drained(slot, buf, desk);
        }
        let Some(copying) = &mut task.copying else {
            return buf.into_iter().for_each(|buf| desk.buffers.give(buf));
        };
        let piece = copying.piece.expect("a visit is made for a piece");
        match (result, buf) {
            (Ok(stay), Some(mut buf)) if !copying.writing && !fenced => {
                copying.writing = true;
                buf[piece.data as usize..piece.written.max(piece.data) as usize].fill(0);
                let place = copying.places[piece.destination];
                let range = (piece.destination_lba, piece.destination_blocks);
                self.visit(slot, place, range, buf, stay, desk);
            }
            (Ok(_), buf) => {
                buf.into_iter().for_each(|buf| desk.buffers.give(buf));
                self.piece_moved(slot, desk);
            }
            (Err(refusal), buf) => {
                buf.into_iter().for_each(|buf| desk.buffers.give(buf));
                let sense = copying.course.failed(refusal);
                self.copy_ends(slot, Status::CheckCondition, Some(sense), desk);
            }
        }
    }

    /// A piece is at its destination, unless a fence came between.
    fn piece_moved<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let nexus = self.nexus;
        let Some(lu) = self.target.map(|target| &mut desk.targets[target].lu) else {
            return;
        };
        if let Some(copying) = &mut self.task_at(slot).copying
            && copying.writing
            && let Some(piece) = copying.piece.take()
        {
            copying.course.moved(&piece);
            lu.copy_moved(nexus, &copying.course);
        }
        self.copy_on(slot, desk);
    }

    /// Half of a piece's way.
    fn visit<R: Ring>(
        &mut self,
        slot: usize,
        place: Option<Place>,
        (lba, blocks): (u64, u32),
        buf: Buf,
        write: Option<Stay>,
        desk: &mut Desk<R>,
    ) {
        let (host, source) = (self.host.clone(), self.source);
        let task = self.task_at(slot);
        task.stage = Stage::Storing;
        let id = task.id;
        let Place { shard, target, epoch } =
            place.expect("a piece is only made between parties that were reached");
        let home = desk.shards[desk.settings.index].clone();
        // When this shard has ended, its copies have too.
        let tell = Box::new(move |visited| {
            let _ = home.send(Message::Visited(Box::new(visited)));
        });
        let answer = Answer::new((self.key, id), tell);
        let guest = Guest { host, source, epoch };
        self.ios += 1;
        let visit = Visit { target, guest, lba, blocks, buf, write, answer };
        // A shard that has ended drops it, and that is an answer, too.
        desk.shards[shard].send(Message::Visit(Box::new(visit)));
    }

    fn copy_ends<R: Ring>(
        &mut self,
        slot: usize,
        status: Status,
        sense: Option<Sense>,
        desk: &mut Desk<R>,
    ) {
        let failure = sense.map(|sense| (status, sense));
        self.forget_copy(slot, status == Status::Good, failure, desk);
        self.finish(slot, status, sense, 0, desk);
    }

    /// A copy is over, however: what is kept of it is the logical unit's.
    pub(super) fn forget_copy<R: Ring>(
        &mut self,
        slot: usize,
        done: bool,
        failure: Option<(Status, Sense)>,
        desk: &mut Desk<R>,
    ) {
        let copying = self.task_at(slot).copying.take();
        if let (Some(copying), Some(target)) = (copying, self.target) {
            let standing = if done { Standing::Done } else { Standing::Failed };
            let progress = copying.course.progress(standing);
            let identifier = copying.course.identifier();
            desk.targets[target].lu.copy_ended(self.nexus, identifier, progress, failure);
        }
    }
}
