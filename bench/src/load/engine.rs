//! The loop: wait, receive what is there, fill the free slots, send. One thread, all sessions.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{Timespec, epoll::Event};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::lane::{Broken, Dialect, Lane};
use super::ledger::Ledger;
use super::slots::Tally;
use super::work::Stream;
use super::{Load, Measured, StartError};
use crate::cpu::{Reading, Used};

/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 256;
/// A server that says nothing for so long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// For the answers to what is in flight at the end.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// What can be verified: a ledger of it fits into memory.
const VERIFIED_MAX: u64 = 4 << 30;
/// Written over and over where nothing is verified.
const PAYLOAD_LEN: usize = 1 << 20;

struct Engine<'l, D> {
    load: &'l Load,
    lanes: Vec<Lane<D>>,
    /// Lanes from here on only answer pings.
    active: usize,
    tally: Tally,
    payload: Vec<u8>,
    start: Instant,
    /// No new requests.
    over: bool,
}

/// Connects the sessions with `connect` and runs the load.
pub(super) fn run<D: Dialect>(
    load: &Load,
    mut connect: impl FnMut(u32) -> Result<(TcpStream, D, u64), StartError>,
) -> Result<Measured, StartError> {
    if load.sessions == 0 || load.depth == 0 || load.active > load.sessions {
        return Err(StartError::Load("there is no such number of sessions or requests".into()));
    }
    let mut tally = Tally::default();
    let mut lanes = Vec::new();
    for number in 0..load.sessions {
        let (socket, dialect, size) = connect(number)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let span = span(load, size)?;
        if load.verify && tally.ledger.is_none() {
            tally.ledger = Some(Ledger::new(load.block_len, span));
        }
        let stream = (number < load.active)
            .then(|| Stream::new(load.pattern, load.block_len, span, number.into()));
        let stream = stream.map(|stream| if load.once { stream.once() } else { stream });
        lanes.push(Lane::new(socket, dialect, load.depth, stream));
    }
    let mut engine = Engine {
        load,
        lanes,
        active: load.active as usize,
        tally,
        payload: payload(load.block_len as usize),
        start: Instant::now(),
        over: false,
    };
    let used = engine.run()?;
    Ok(measured(load, &engine.tally, used))
}

/// Bytes of the volume that are used.
fn span(load: &Load, size: u64) -> Result<u64, StartError> {
    let span = load.span.unwrap_or(size).min(size);
    let span = if load.verify { span.min(VERIFIED_MAX) } else { span };
    if load.block_len == 0 || !load.block_len.is_multiple_of(512) || span < load.block_len.into() {
        let why = format!("requests of {} bytes on a volume of {size}", load.block_len);
        return Err(StartError::Load(why));
    }
    Ok(span)
}

/// Bytes that no server compresses or finds to be zeros.
fn payload(len: usize) -> Vec<u8> {
    let mut state = 0x0123_4567_89AB_CDEF_u64;
    let words = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    });
    words.take(len.max(PAYLOAD_LEN).div_ceil(8)).flatten().collect()
}

impl<D: Dialect> Engine<'_, D> {
    fn now_ns(&self) -> u64 {
        nanoseconds(self.start)
    }

    fn run(&mut self) -> Result<Used, StartError> {
        for index in 0..self.active {
            self.ask(index)?;
        }
        let poll = self.watch()?;
        let lone = self.lanes.len() == 1;
        let begin = Instant::now() + self.load.ramp;
        let end = begin + self.load.time;
        let mut before = None;
        while !self.is_through() {
            let now = Instant::now();
            if before.is_none() && now >= begin {
                before = Some(Reading::now(&self.load.servers));
                self.tally.measuring = true;
            }
            if now >= end {
                break;
            }
            // A lone session with nothing to send needs no epoll: its receive waits by itself.
            if lone && self.active == 1 && self.lanes[0].has_sent() {
                self.turn(0, !self.load.spin)?;
            } else if self.load.spin {
                (0..self.lanes.len()).try_for_each(|index| self.turn(index, false))?;
            } else {
                self.wait(&poll, end.saturating_duration_since(now))?;
            }
        }
        self.tally.measuring = false;
        let after = Reading::now(&self.load.servers);
        self.over = true;
        self.drain(&poll)?;
        let before = before.unwrap_or_else(|| after.clone());
        Ok(before.until(&after))
    }

    /// With `once`, everything was asked for and answered.
    fn is_through(&self) -> bool {
        self.load.once && self.lanes[..self.active].iter().all(Lane::is_through)
    }

    fn watch(&self) -> Result<OwnedFd, StartError> {
        let poll = epoll::create(CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        for (index, lane) in self.lanes.iter().enumerate() {
            let data = EventData::new_u64(index as u64);
            epoll::add(&poll, &lane.socket, data, EventFlags::IN).map_err(std::io::Error::from)?;
        }
        Ok(poll)
    }

    /// One wait for any session, at most `time`.
    fn wait(&mut self, poll: &OwnedFd, time: Duration) -> Result<(), StartError> {
        // A session with something to send is watched for room, too.
        let blocked: Vec<usize> =
            (0..self.lanes.len()).filter(|index| !self.lanes[*index].has_sent()).collect();
        self.watch_room(poll, &blocked, EventFlags::IN | EventFlags::OUT)?;
        let mut events: [Event; EVENTS_MAX] =
            [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS_MAX];
        let time = Timespec::try_from(time.max(Duration::from_millis(1)))
            .expect("seconds of a run are few");
        let count = match epoll::wait(poll, &mut events[..], Some(&time)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        for event in &events[..count] {
            let index = usize::try_from(event.data.u64()).expect("an index of ours");
            self.turn(index, false)?;
        }
        self.watch_room(poll, &blocked, EventFlags::IN)
    }

    fn watch_room(
        &self,
        poll: &OwnedFd,
        lanes: &[usize],
        flags: EventFlags,
    ) -> Result<(), StartError> {
        for index in lanes {
            let data = EventData::new_u64(*index as u64);
            let socket = &self.lanes[*index].socket;
            epoll::modify(poll, socket, data, flags).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    /// Receives once on one session, and asks for more.
    fn turn(&mut self, index: usize, wait: bool) -> Result<(), StartError> {
        let start = self.start;
        let clock = || nanoseconds(start);
        let lane = &mut self.lanes[index];
        let received = lane.receive(wait, &self.payload, &mut self.tally, clock);
        received.map_err(|why| broken(index, &why))?;
        self.ask(index)
    }

    fn ask(&mut self, index: usize) -> Result<(), StartError> {
        let now_ns = self.now_ns();
        let lane = &mut self.lanes[index];
        let asked = if self.over {
            lane.send(&self.payload, &self.tally)
        } else {
            lane.ask(&self.payload, &mut self.tally, now_ns)
        };
        asked.map_err(|why| broken(index, &why))
    }

    /// Waits for what is in flight.
    fn drain(&mut self, poll: &OwnedFd) -> Result<(), StartError> {
        let deadline = Instant::now() + DRAIN_MAX;
        while !self.lanes.iter().all(Lane::is_quiet) {
            if Instant::now() >= deadline {
                return Err(StartError::Load("requests were left without an answer".into()));
            }
            self.wait(poll, Duration::from_millis(100))?;
        }
        Ok(())
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).expect("a run takes less than centuries")
}

fn broken(session: usize, why: &Broken) -> StartError {
    let mut text = why.to_string();
    if let Some(source) = std::error::Error::source(why) {
        text = format!("{text}: {source}");
    }
    StartError::Broken { session, why: text }
}

#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn measured(load: &Load, tally: &Tally, used: Used) -> Measured {
    let seconds = used.wall.as_secs_f64().max(1e-9);
    let requests = tally.requests as f64;
    let each =
        |time: Duration| if requests > 0.0 { time.as_secs_f64() * 1e6 / requests } else { 0.0 };
    Measured {
        pattern: load.pattern.to_string(),
        block_len: load.block_len,
        depth: load.depth,
        sessions: load.sessions,
        active: load.active,
        seconds,
        requests: tally.requests,
        iops: requests / seconds,
        mib_s: tally.bytes as f64 / seconds / f64::from(1 << 20),
        p50_us: tally.latency.quantile_us(0.5),
        p99_us: tally.latency.quantile_us(0.99),
        p999_us: tally.latency.quantile_us(0.999),
        max_us: tally.latency.max_us(),
        over_50_ms: tally.latency.longer_than(50_000_000),
        histogram: tally.latency.powers(),
        failed: tally.failed,
        wrong: tally.wrong,
        own_us: each(used.own),
        server_us: each(used.servers),
        server_cpus: used.servers.as_secs_f64() / seconds,
        other_cpus: used.others.as_secs_f64() / seconds,
    }
}
