//! The one task that owns a session: it carries bytes, time and requests to the protocol's session
//! and what that decides back. It decides nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outband_protocol::initiator::{Action, Config, Event, Outcome, Placement, Request, Session};
use outband_protocol::scsi::sense::CAPACITY_CHANGED;
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;
use tracing::{debug, info, warn};

use crate::Error;
use crate::config::fill_random;
use crate::link::{Link, LinkEvent};
use crate::slots::{Finished, Payload, Reply, Slots};

const INPUT_LEN: usize = 256 * 1024;
/// Read data that is still to come is received in place from this length on.
const PLACE_MIN: u32 = 16 * 1024;
/// Requests taken in a row before the socket gets its turn.
const BATCH_MAX: usize = 64;

/// What a disk wants of its session.
#[derive(Debug)]
pub(crate) enum Message {
    Do { request: Request, payload: Payload, reply: Reply },
    Close,
}

/// How a session is, for those who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    Starting,
    Up,
    Down,
    Over(Error),
}

pub(crate) struct Owner {
    session: Session,
    requests_max: usize,
    messages: mpsc::Receiver<Message>,
    health: watch::Sender<Health>,
    capacity_changed: Arc<AtomicBool>,
    link: Link,
    slots: Slots,
    input: Box<[u8]>,
    portal: String,
    last_error: Option<Arc<io::Error>>,
    closing: bool,
    over: bool,
}

impl Owner {
    pub(crate) fn new(
        config: Config,
        messages: mpsc::Receiver<Message>,
        health: watch::Sender<Health>,
        capacity_changed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            requests_max: config.requests_max.into(),
            session: Session::new(config, Instant::now()),
            messages,
            health,
            capacity_changed,
            link: Link::None,
            slots: Slots::default(),
            input: vec![0; INPUT_LEN].into_boxed_slice(),
            portal: String::new(),
            last_error: None,
            closing: false,
            over: false,
        }
    }

    /// Runs until the session is over: closed, or failed.
    pub(crate) async fn run(mut self) {
        let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        self.drain();
        while !self.over {
            let armed = self.arm(timer.as_mut());
            let takes = !self.closing && self.slots.live() < self.requests_max;
            let place = self.session.placement().filter(|place| place.len >= PLACE_MIN);
            let room = place.and_then(|place| self.slots.room(place));
            let place = place.filter(|_| room.is_some());
            let room = room.unwrap_or(&mut self.input);
            tokio::select! {
                message = self.messages.recv(), if takes => self.on_messages(message),
                event = self.link.event(room) => self.on_link(event, place),
                () = timer.as_mut(), if armed => self.session.handle_timeout(Instant::now()),
            }
            self.drain();
        }
    }

    /// Sees to it that the timer fires in time. It may fire early: setting it anew with each byte
    /// that comes would cost more than that.
    fn arm(&self, timer: Pin<&mut Sleep>) -> bool {
        let Some(due) = self.session.poll_timeout() else {
            return false;
        };
        let set = timer.deadline().into_std();
        if timer.is_elapsed() || set > due {
            timer.reset(due.into());
        }
        true
    }

    fn on_messages(&mut self, first: Option<Message>) {
        let Some(first) = first else {
            // Nobody holds the disk any more.
            return self.close();
        };
        self.on_message(first);
        for _ in 1..BATCH_MAX {
            if self.closing || self.slots.live() >= self.requests_max {
                return;
            }
            match self.messages.try_recv() {
                Ok(message) => self.on_message(message),
                Err(_) => return,
            }
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Close => self.close(),
            Message::Do { request, payload, reply } => match self.session.submit(request) {
                Ok(task) => self.slots.insert(task, payload, reply),
                Err(error) => {
                    debug!(%error, "a request was not taken");
                    let _ = reply.send(Finished { outcome: Outcome::NotSent, payload });
                }
            },
        }
    }

    fn close(&mut self) {
        self.closing = true;
        self.session.close(Instant::now());
    }

    /// `place` is where what was received is, if not in `input`.
    fn on_link(&mut self, event: LinkEvent, place: Option<Placement>) {
        match event {
            LinkEvent::Connected => {
                let mut entropy = [0; 32];
                match fill_random(&mut entropy) {
                    Ok(()) => self.session.handle_connected(Instant::now(), entropy),
                    // Without entropy no login is safe; the next attempt may find some.
                    Err(error) => {
                        warn!(%error, "cannot log in");
                        self.disconnected(None);
                    }
                }
            }
            LinkEvent::Received(count) => self.on_received(count, place),
            // What waits goes out with the drain that follows.
            LinkEvent::Writable => {}
            LinkEvent::Failed(error) => self.disconnected(Some(error)),
        }
    }

    fn disconnected(&mut self, error: Option<io::Error>) {
        if let Some(error) = error {
            debug!(portal = self.portal, %error, "connection lost or not made");
            self.last_error = Some(Arc::new(error));
        }
        self.link.close(true);
        self.session.handle_disconnected(Instant::now());
    }

    fn on_received(&mut self, count: usize, place: Option<Placement>) {
        if let Some(room) = place.and_then(|place| self.slots.room(place)) {
            self.session.placed(&room[..count], Instant::now());
            return self.hear(&[]);
        }
        let input = std::mem::take(&mut self.input);
        self.hear(&input[..count]);
        self.input = input;
    }

    /// Does what the session wants until it wants nothing more.
    fn drain(&mut self) {
        loop {
            self.hear(&[]);
            let Link::Open { stream, outbox } = &mut self.link else {
                return;
            };
            while outbox.has_room()
                && let Some(transmit) = self.session.poll_transmit()
            {
                outbox.push(&transmit, &mut self.slots);
            }
            let full = !outbox.has_room();
            if let Err(error) = outbox.flush(stream) {
                self.disconnected(Some(error));
            } else if !full || !outbox.has_room() {
                // Sending may have told something: that a request was not to be repeated.
                return self.hear(&[]);
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        let now = Instant::now();
        loop {
            let event = self.session.next_event(&mut input, now);
            while let Some(action) = self.session.poll_action() {
                self.act(action);
            }
            match event {
                Some(event) => self.on_event(event),
                None => return,
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Close { abort } => self.link.close(abort),
            Action::Connect { address } => {
                debug!(portal = address, "connecting");
                self.portal.clone_from(&address);
                self.link = Link::connect(address);
            }
        }
    }

    fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::ReadData { task, offset, bytes } => self.slots.fill(task, offset, bytes),
            Event::Done { task, outcome } => self.slots.finish(task, outcome),
            Event::Up => {
                info!(portal = self.portal, "logged in");
                self.last_error = None;
                // It may have grown while nobody could be told.
                self.capacity_changed.store(true, Ordering::Relaxed);
                self.health.send_replace(Health::Up);
            }
            Event::Down { reason } => {
                let was_up = matches!(*self.health.borrow(), Health::Up);
                if was_up {
                    warn!(portal = self.portal, %reason, "session lost; making it anew");
                    self.health.send_replace(Health::Down);
                } else {
                    debug!(portal = self.portal, %reason, "attempt failed");
                }
            }
            Event::Attention(sense) => {
                debug!(%sense, "unit attention");
                if sense.is(&CAPACITY_CHANGED) {
                    self.capacity_changed.store(true, Ordering::Relaxed);
                }
            }
            Event::Failed { reason } => {
                warn!(portal = self.portal, %reason, "session over");
                let error = Error::of_session(reason, &self.portal, self.last_error.take());
                self.end(error);
            }
            Event::Closed => self.end(Error::Closed),
        }
    }

    fn end(&mut self, error: Error) {
        self.health.send_replace(Health::Over(error));
        self.over = true;
    }
}
