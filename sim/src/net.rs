//! Byte streams between hosts and a target, as TCP may fairly treat them: cut anywhere, delayed,
//! reset, closed, and *blocked*, which is a network that takes bytes and brings them later or never
//! (half-open connections, partitions that heal). Bytes are never lost inside a stream, reordered or
//! doubled; they are only damaged on connections that have agreed on digests ([`Net::damage`]).
//!
//! A host that gives a connection up does not take back what it has sent: that arrives when the
//! network heals, as a ghost of the session (promise P8).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use outband_ring::Errno;

use crate::Moment;
use crate::rng::Rng;

/// A connection, for the whole of a simulation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u32);

/// A listening socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub u32);

/// An end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Who connected.
    Host,
    /// Who listened.
    Target,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Host => Self::Target,
            Self::Target => Self::Host,
        }
    }
}

/// How streams are treated.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long a segment travels.
    pub delay: Range<Duration>,
    /// Longest segment of every other one; 1 cuts a stream into single bytes.
    pub segment_len_max: usize,
    /// Bytes that a stream holds between writer and reader.
    pub window: usize,
    /// Reads and writes that move less than they could, in times per thousand.
    pub short: u32,
}

impl Default for Faults {
    fn default() -> Self {
        let delay = Duration::from_micros(10)..Duration::from_micros(200);
        Self { delay, segment_len_max: 64 * 1024, window: 256 * 1024, short: 100 }
    }
}

/// Something that the network has to do at its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A host's request to connect arrives.
    Knock(ConnId),
    /// The answer to it arrives.
    Answer(ConnId),
    /// Something arrives at a side.
    Arrive(ConnId, Side),
}

/// What has changed, for those who wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A connection waits to be accepted.
    Acceptable(ListenerId),
    /// The host is connected.
    Connected(ConnId),
    /// The host is not connected: nobody listens.
    Refused(ConnId),
    /// There is something to read, or the end.
    Readable(ConnId, Side),
    /// There is room to write, or no longer any use.
    Writable(ConnId, Side),
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// So many bytes; 0 at the end of the stream.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The connection is broken.
    Broken(Errno),
}

/// What a write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// So many bytes.
    Bytes(usize),
    /// There is no room now.
    Full,
    /// The connection is broken.
    Broken(Errno),
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Over {
    No,
    Fin,
    Reset,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    travelling: VecDeque<(Moment, Piece)>,
    /// Bytes in `travelling`.
    under_way: usize,
    arrived: VecDeque<u8>,
    /// What the reader finds behind `arrived`.
    over: Over,
    last_due: Moment,
    blocked: bool,
    reader_gone: bool,
    writer_gone: bool,
}

/// A write is cut into one segment more than this, at most.
const CUTS_MAX: usize = 8;

impl Pipe {
    fn new() -> Self {
        Self {
            travelling: VecDeque::new(),
            under_way: 0,
            arrived: VecDeque::new(),
            over: Over::No,
            last_due: Moment::ZERO,
            blocked: false,
            reader_gone: false,
            writer_gone: false,
        }
    }

    /// What is at the reader's end by now.
    fn arriving(&mut self, now: Moment) -> Option<Piece> {
        if self.blocked {
            return None;
        }
        let (_, piece) = self.travelling.pop_front_if(|(due, _)| *due <= now)?;
        if let Piece::Bytes(bytes) = &piece {
            self.under_way -= bytes.len();
        }
        Some(piece)
    }
}

#[derive(Debug)]
struct Conn {
    host: SocketAddr,
    target: SocketAddr,
    to_target: Pipe,
    to_host: Pipe,
    accepted: bool,
    /// Writes that arrive damaged, in times per thousand.
    damage: u32,
}

#[derive(Debug)]
struct Listener {
    at: SocketAddr,
    waiting: VecDeque<ConnId>,
}

/// All connections.
#[derive(Debug)]
pub struct Net {
    faults: Faults,
    conns: BTreeMap<ConnId, Conn>,
    listeners: BTreeMap<ListenerId, Listener>,
    next: u32,
    /// Without power nobody answers, not even with a reset.
    power: bool,
    is_calm: bool,
    due: Vec<(Moment, Event)>,
    news: Vec<News>,
}

impl Net {
    /// No connections.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            conns: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next: 0,
            power: true,
            is_calm: false,
            due: Vec::new(),
            news: Vec::new(),
        }
    }

    /// What is to be done when; taken after each call.
    pub fn take_due(&mut self) -> Vec<(Moment, Event)> {
        std::mem::take(&mut self.due)
    }

    /// What has changed; taken after each call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Treats everything kindly from now on.
    pub fn calm(&mut self) {
        self.faults = Faults { window: self.faults.window, ..Faults::default() };
        self.conns.values_mut().for_each(|conn| conn.damage = 0);
        self.is_calm = true;
    }

    /// Somebody listens at `at`.
    pub fn listen(&mut self, at: SocketAddr) -> ListenerId {
        self.next += 1;
        let id = ListenerId(self.next);
        self.listeners.insert(id, Listener { at, waiting: VecDeque::new() });
        id
    }

    /// Nobody listens any more.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
    }

    /// A host wants to connect.
    pub fn connect(
        &mut self,
        host: SocketAddr,
        at: SocketAddr,
        now: Moment,
        rng: &mut Rng,
    ) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        let (to_target, to_host) = (Pipe::new(), Pipe::new());
        let conn = Conn { host, target: at, to_target, to_host, accepted: false, damage: 0 };
        self.conns.insert(id, conn);
        self.due.push((now + rng.time(self.faults.delay.clone()), Event::Knock(id)));
        id
    }

    /// The next connection of a listener, if one waits.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        let conn = self.listeners.get_mut(&listener)?.waiting.pop_front()?;
        self.conns.get_mut(&conn)?.accepted = true;
        Some(conn)
    }

    /// The addresses of host and target.
    #[must_use]
    pub fn ends(&self, conn: ConnId) -> Option<(SocketAddr, SocketAddr)> {
        self.conns.get(&conn).map(|conn| (conn.host, conn.target))
    }

    /// A bit is flipped in so many of a thousand writes from now on. Fair only with digests.
    pub fn damage(&mut self, conn: ConnId, per_mille: u32) {
        if let Some(conn) = self.conns.get_mut(&conn).filter(|_| !self.is_calm) {
            conn.damage = per_mille;
        }
    }

    /// Something's time has come.
    pub fn handle(&mut self, event: Event, now: Moment, rng: &mut Rng) {
        match event {
            Event::Knock(conn) => self.knock(conn, now, rng),
            Event::Answer(conn) => self.answer(conn),
            Event::Arrive(conn, side) => self.arrive(conn, side, now, rng),
        }
    }

    fn knock(&mut self, id: ConnId, now: Moment, rng: &mut Rng) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if !self.power {
            return;
        }
        let listener = self.listeners.iter_mut().find(|(_, listener)| listener.at == conn.target);
        match listener {
            Some((listener, open)) => {
                open.waiting.push_back(id);
                self.news.push(News::Acceptable(*listener));
            }
            None => conn.to_target.reader_gone = true,
        }
        self.due.push((now + rng.time(self.faults.delay.clone()), Event::Answer(id)));
    }

    fn answer(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if !conn.to_host.reader_gone {
            let gone = conn.to_target.reader_gone;
            self.news.push(if gone { News::Refused(id) } else { News::Connected(id) });
        }
    }

    fn arrive(&mut self, id: ConnId, at: Side, now: Moment, rng: &mut Rng) {
        while let Some((pipe, _)) = self.ends_of(id, at)
            && let Some(piece) = pipe.arriving(now)
        {
            match piece {
                Piece::Bytes(_) if pipe.reader_gone => {
                    return self.answer_with_reset(id, at, now, rng);
                }
                Piece::Bytes(bytes) => pipe.arrived.extend(bytes),
                Piece::Fin => pipe.over = Over::Fin,
                Piece::Reset => {
                    pipe.over = Over::Reset;
                    pipe.arrived.clear();
                    self.news.push(News::Writable(id, at));
                }
            }
            self.news.push(News::Readable(id, at));
        }
    }

    /// Bytes for an end that is closed.
    fn answer_with_reset(&mut self, id: ConnId, at: Side, now: Moment, rng: &mut Rng) {
        if at == Side::Target && !self.power {
            return;
        }
        self.send_reset(id, at, now, rng);
    }

    fn send_reset(&mut self, id: ConnId, from: Side, now: Moment, rng: &mut Rng) {
        let due = now + rng.time(self.faults.delay.clone());
        if let Some((incoming, outgoing)) = self.ends_of(id, from) {
            incoming.travelling.clear();
            incoming.under_way = 0;
            outgoing.travelling.push_back((due, Piece::Reset));
            outgoing.writer_gone = true;
            self.due.push((due, Event::Arrive(id, from.other())));
        }
    }

    /// Reads what there is, at most as much as `into` holds.
    pub fn read(&mut self, id: ConnId, side: Side, into: &mut [u8], rng: &mut Rng) -> Read {
        let Faults { short, window, .. } = self.faults;
        let Some((pipe, _)) = self.ends_of(id, side) else {
            return Read::Broken(Errno::CONNRESET);
        };
        let there = pipe.arrived.len().min(into.len());
        if there == 0 {
            return match pipe.over {
                Over::No if pipe.reader_gone => Read::Bytes(0),
                Over::No => Read::Nothing,
                Over::Fin => Read::Bytes(0),
                Over::Reset => Read::Broken(Errno::CONNRESET),
            };
        }
        let count = if rng.chance(short) { 1 + rng.index(there) } else { there };
        let (front, back) = pipe.arrived.as_slices();
        let cut = front.len().min(count);
        into[..cut].copy_from_slice(&front[..cut]);
        into[cut..count].copy_from_slice(&back[..count - cut]);
        pipe.arrived.drain(..count);
        // As kernels do, or a full stream would go on in pieces of a few bytes.
        if (pipe.under_way + pipe.arrived.len()) * 2 <= window {
            self.news.push(News::Writable(id, side.other()));
        }
        Read::Bytes(count)
    }

    /// Writes what there is room for.
    pub fn write<'b>(
        &mut self,
        id: ConnId,
        side: Side,
        slices: impl Iterator<Item = &'b [u8]>,
        now: Moment,
        rng: &mut Rng,
    ) -> Written {
        let faults = self.faults.clone();
        let damage = self.conns.get(&id).map_or(0, |conn| conn.damage);
        let Some((incoming, pipe)) = self.ends_of(id, side) else {
            return Written::Broken(Errno::PIPE);
        };
        if pipe.writer_gone || incoming.over == Over::Reset {
            return Written::Broken(Errno::PIPE);
        }
        let room = faults.window.saturating_sub(pipe.under_way + pipe.arrived.len());
        if room == 0 {
            return Written::Full;
        }
        let limit = if rng.chance(faults.short) { 1 + rng.index(room) } else { room };
        let mut bytes = Vec::new();
        for slice in slices {
            let take = slice.len().min(limit - bytes.len());
            bytes.extend_from_slice(&slice[..take]);
        }
        let written = bytes.len();
        if written > 0 && rng.chance(damage) {
            bytes[rng.index(written)] ^= 1 << rng.index(8);
        }
        pipe.under_way += written;
        let mut rest = bytes.as_mut_slice();
        let mut times = Vec::new();
        while !rest.is_empty() {
            // Small ones and large ones, and after a few all that is left: in crumbs alone, a few
            // megabytes would come in hundreds of thousands of events.
            let half = if rng.coin() { rest.len() / 2 } else { 0 };
            let longest = faults.segment_len_max.max(half).min(rest.len());
            let len = if times.len() < CUTS_MAX { 1 + rng.index(longest) } else { rest.len() };
            let (segment, behind) = rest.split_at_mut(len);
            rest = behind;
            pipe.last_due = pipe.last_due.max(now + rng.time(faults.delay.clone()));
            pipe.travelling.push_back((pipe.last_due, Piece::Bytes(segment.to_vec())));
            times.push(pipe.last_due);
        }
        times.dedup();
        self.due.extend(times.into_iter().map(|due| (due, Event::Arrive(id, side.other()))));
        Written::Bytes(written)
    }

    /// A side closes its end. Bytes that it has not read make that a reset, as in Linux.
    pub fn close(&mut self, id: ConnId, side: Side, now: Moment, rng: &mut Rng) {
        let delay = rng.time(self.faults.delay.clone());
        let Some((incoming, outgoing)) = self.ends_of(id, side) else {
            return;
        };
        if outgoing.writer_gone && incoming.reader_gone {
            return;
        }
        if !incoming.arrived.is_empty() {
            return self.reset(id, side, now, rng);
        }
        incoming.reader_gone = true;
        if !outgoing.writer_gone {
            outgoing.writer_gone = true;
            outgoing.last_due = outgoing.last_due.max(now + delay);
            let due = outgoing.last_due;
            outgoing.travelling.push_back((due, Piece::Fin));
            self.due.push((due, Event::Arrive(id, side.other())));
        }
    }

    /// A side throws the connection away. What it has sent and the network has not brought yet
    /// may still arrive, or not.
    pub fn reset(&mut self, id: ConnId, side: Side, now: Moment, rng: &mut Rng) {
        let Some((incoming, outgoing)) = self.ends_of(id, side) else {
            return;
        };
        incoming.reader_gone = true;
        incoming.arrived.clear();
        let kept = rng.index(outgoing.travelling.len() + 1);
        outgoing.travelling.truncate(kept);
        let left = outgoing.travelling.iter().map(|(_, piece)| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Fin | Piece::Reset => 0,
        });
        outgoing.under_way = left.sum();
        outgoing.writer_gone = true;
        let due = outgoing.last_due.max(now + rng.time(self.faults.delay.clone()));
        if let Some((_, outgoing)) = self.ends_of(id, side) {
            outgoing.travelling.push_back((due, Piece::Reset));
            outgoing.last_due = due;
            self.due.push((due, Event::Arrive(id, side.other())));
        }
    }

    /// The network keeps what is on its way to `side`, until it is unblocked.
    pub fn block(&mut self, id: ConnId, side: Side) {
        if let Some((pipe, _)) = self.ends_of(id, side) {
            pipe.blocked = true;
        }
    }

    /// What was kept arrives.
    pub fn unblock(&mut self, id: ConnId, side: Side, now: Moment) {
        if let Some((pipe, _)) = self.ends_of(id, side)
            && std::mem::take(&mut pipe.blocked)
        {
            let times: Vec<_> = pipe.travelling.iter().map(|(due, _)| (*due).max(now)).collect();
            self.due.extend(times.into_iter().map(|due| (due, Event::Arrive(id, side))));
        }
    }

    /// The target's machine loses its power: its ends are gone without a word. What it had sent
    /// and hosts had not received is gone too: an answer that comes after the cut says nothing that
    /// one just before it does not.
    pub fn lose_power(&mut self) {
        self.power = false;
        self.listeners.clear();
        for conn in self.conns.values_mut() {
            conn.to_target.reader_gone = true;
            conn.to_target.arrived.clear();
            conn.to_host.writer_gone = true;
            conn.to_host.travelling.clear();
            conn.to_host.under_way = 0;
        }
    }

    /// What was sent to hosts and has not arrived is gone: an answer that comes after the end of a process
    /// says nothing of what went with it that one just before does not.
    pub fn lose_answers(&mut self) {
        self.lose_answers_at(|_| true);
    }

    /// The same for the target among several that has these portals.
    pub fn lose_answers_at(&mut self, is_its: impl Fn(SocketAddr) -> bool) {
        for conn in self.conns.values_mut().filter(|conn| is_its(conn.target)) {
            conn.to_host.travelling.retain(|(_, piece)| !matches!(piece, Piece::Bytes(_)));
            conn.to_host.under_way = 0;
        }
    }

    /// The target's machine has power again, and answers what it does not know with resets.
    pub fn restore_power(&mut self) {
        self.power = true;
    }

    /// The target's process ends: its kernel closes what it had.
    pub fn end_process(&mut self, now: Moment, rng: &mut Rng) {
        self.end_process_at(|_| true, now, rng);
    }

    /// The same for the target among several that has these portals.
    pub fn end_process_at(
        &mut self,
        is_its: impl Fn(SocketAddr) -> bool,
        now: Moment,
        rng: &mut Rng,
    ) {
        self.listeners.retain(|_, listener| !is_its(listener.at));
        let of = |(id, conn): (&ConnId, &Conn)| is_its(conn.target).then_some(*id);
        let open: Vec<_> = self.conns.iter().filter_map(of).collect();
        for conn in open {
            self.close(conn, Side::Target, now, rng);
        }
    }

    /// For a side: what comes in, and what goes out.
    fn ends_of(&mut self, id: ConnId, side: Side) -> Option<(&mut Pipe, &mut Pipe)> {
        let conn = self.conns.get_mut(&id)?;
        Some(match side {
            Side::Host => (&mut conn.to_host, &mut conn.to_target),
            Side::Target => (&mut conn.to_target, &mut conn.to_host),
        })
    }
}

#[cfg(test)]
mod tests;
