//! Text in full feature phase (§6.4, §11.10): SendTargets, MaxRecvDataSegmentLength, and an honest
//! answer to everything else. One exchange at a time, as the standard has it.

use bytes::Bytes;

use super::outbox::Reply;
use super::{Conn, Event, PeerError, Reading, Targets};
use crate::ids::{Itt, Ttt};
use crate::keys::{self, Asked, By, Pairs, Row, Rule, TextBuffer, TextQueue, Used, reserved};
use crate::limits::PAIRS_MAX;
use crate::pdu::TextRequest;

/// The exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    itt: Itt,
    /// What a follow-up has to carry.
    ttt: Ttt,
    names_given: u16,
    /// Keys of this exchange, none of which may come again.
    said: Vec<String>,
    /// MaxRecvDataSegmentLength as said in it; it holds when the exchange is over (§6.4).
    segment_len: Option<u32>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The initiator's text comes, over one request or several.
    Collecting(TextBuffer),
    /// The shell looks up targets; `answer` is what goes before them.
    Asking { answer: TextQueue, last: bool },
    /// The initiator fetches our text piece by piece.
    Answering { rest: TextQueue, last: bool },
}

impl Default for Exchange {
    fn default() -> Self {
        let state = State::Collecting(TextBuffer::default());
        let (itt, ttt) = (Itt::NONE, Ttt::NONE);
        Self { itt, ttt, names_given: 0, said: Vec::new(), segment_len: None, state }
    }
}

/// One Text Response.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) itt: Itt,
    pub(super) ttt: Ttt,
    pub(super) last: bool,
    pub(super) more: bool,
    pub(super) text: Bytes,
}

impl Exchange {
    /// The request belongs to this exchange or starts another.
    fn begin(&mut self, request: &TextRequest) -> Result<(), PeerError> {
        if request.last && request.more {
            return Err(PeerError::Text);
        }
        if request.ttt == Ttt::NONE {
            self.reset();
            self.itt = request.itt;
        } else if (request.itt, request.ttt) != (self.itt, self.ttt) {
            return Err(PeerError::Text);
        }
        Ok(())
    }

    /// Forgets the exchange; a follow-up of it is out of place.
    pub(super) fn reset(&mut self) {
        *self = Self { names_given: self.names_given, ..Self::default() };
    }

    /// Text of the request. While ours is being fetched there is none that matters.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        match &mut self.state {
            State::Collecting(text) => text.add(bytes).map_err(|_| PeerError::TextTooLong),
            State::Asking { .. } | State::Answering { .. } => Ok(()),
        }
    }

    /// A name for the next follow-up, apart from those of R2Ts and pings.
    fn name(&mut self) -> Ttt {
        self.names_given = self.names_given.wrapping_add(1);
        self.ttt = Ttt(0xfe00_0000 | u32::from(self.names_given));
        self.ttt
    }

    /// The next piece of the answer, at most `len_max` bytes of it.
    fn part(&mut self, len_max: u32) -> Option<Part> {
        let State::Answering { rest, last } = &mut self.state else {
            return None;
        };
        let (text, more) = rest.next_piece(len_max as usize);
        let last = *last && !more;
        if !more {
            self.state = State::Collecting(TextBuffer::default());
        }
        let ttt = if last { Ttt::NONE } else { self.name() };
        self.ttt = ttt;
        Some(Part { itt: self.itt, ttt, last, more, text })
    }
}

impl Conn {
    /// The next piece of the answer. With the last one what was negotiated comes into force.
    fn next_part(&mut self) -> Option<Part> {
        let part = self.exchange.part(self.terms.peer_segment_len_max)?;
        if part.last {
            if let Some(len) = self.exchange.segment_len.take() {
                self.params.max_recv_theirs = len;
                self.terms.peer_segment_len_max = len;
            }
            self.exchange.said.clear();
        }
        Some(part)
    }

    /// The text that answers [`Event::SendTargets`]: `TargetName=…`, `TargetAddress=…`, each ended
    /// by a NUL. It is cut into as many PDUs as it takes. `SendTargets=Reject` is an answer, too.
    pub fn answer_targets(&mut self, itt: Itt, text: Vec<u8>) {
        if self.exchange.itt != itt {
            return;
        }
        let State::Asking { answer, last } = &mut self.exchange.state else {
            return;
        };
        let (mut rest, last) = (std::mem::take(answer), *last);
        for pair in keys::pairs(&text).map_while(Result::ok) {
            rest.write(pair.key, pair.value);
        }
        self.exchange.state = State::Answering { rest, last };
        if let Some(part) = self.next_part() {
            self.outbox.answer(Reply::Text(part));
        }
    }

    pub(super) fn on_text(&mut self, request: TextRequest) -> Result<(), PeerError> {
        if request.itt == Itt::NONE {
            return Err(PeerError::field("Initiator Task Tag"));
        }
        self.check_tag(request.itt)?;
        self.exchange.begin(&request)?;
        self.reading = Reading::Text(request);
        Ok(())
    }

    /// The request is whole.
    pub(super) fn on_text_end(
        &mut self,
        request: &TextRequest,
    ) -> Result<Option<Event<'static>>, PeerError> {
        let step = self.text_step(request);
        match &step {
            Ok(_) => self.took(request.order),
            // Nothing of it holds (§7.12); its CmdSN does not count as received (§7.3).
            Err(_) => self.exchange.reset(),
        }
        step
    }

    fn text_step(&mut self, request: &TextRequest) -> Result<Option<Event<'static>>, PeerError> {
        let itt = request.itt;
        match &mut self.exchange.state {
            State::Collecting(text) => {
                let whole = text.end_of_pdu(request.more).map_err(|_| PeerError::TextTooLong)?;
                let Some(text) = whole else {
                    let ttt = self.exchange.name();
                    let part = Part { itt, ttt, last: false, more: false, text: Bytes::new() };
                    self.outbox.reply(Reply::Text(part))?;
                    return Ok(None);
                };
                let mut answer = TextQueue::default();
                let last = request.last;
                if let Some(which) = self.on_keys(&text, &mut answer)? {
                    self.outbox.check_room()?;
                    self.exchange.state = State::Asking { answer, last };
                    return Ok(Some(Event::SendTargets { itt, which }));
                }
                self.exchange.state = State::Answering { rest: answer, last };
            }
            State::Asking { .. } => return Err(PeerError::Text),
            // Whether this is the last is said anew with each request for more.
            State::Answering { last, .. } => *last = request.last,
        }
        if let Some(part) = self.next_part() {
            self.outbox.reply(Reply::Text(part))?;
        }
        Ok(None)
    }

    /// Reads the keys of a whole text, writes the answers that we can give, and says which targets
    /// are asked for.
    fn on_keys(&mut self, text: &[u8], out: &mut TextQueue) -> Result<Option<Targets>, PeerError> {
        let mut which = None;
        for pair in Pairs::parse(text).map_err(|_| PeerError::Text)?.iter() {
            if self.exchange.said.iter().any(|said| said == pair.key) {
                return Err(PeerError::Text);
            }
            if self.exchange.said.len() >= PAIRS_MAX {
                return Err(PeerError::TextTooLong);
            }
            // We have offered nothing that this could answer (§6.2).
            if keys::is_answer(pair.value) {
                return Err(PeerError::Text);
            }
            self.exchange.said.push(pair.key.to_owned());
            let Some((_, row)) = Row::find(pair.key) else {
                out.write(pair.key, reserved::NOT_UNDERSTOOD);
                continue;
            };
            match &row.rule {
                Rule::SendTargets => match self.targets(pair.value) {
                    Some(targets) => which = Some(targets),
                    None => out.write(pair.key, reserved::REJECT),
                },
                Rule::ReceiveLimit(range) => match keys::number(pair.value) {
                    Some(len) if range.contains(&len) => {
                        self.exchange.segment_len = Some(len);
                    }
                    _ => out.write(pair.key, reserved::REJECT),
                },
                Rule::Declared if row.used == Used::Any && row.by == By::Initiator => {}
                // All others are for the login only (§13).
                _ => out.write(pair.key, reserved::REJECT),
            }
        }
        Ok(which)
    }

    /// Appendix C: All belongs to discovery sessions, no value to the others.
    fn targets(&self, value: &str) -> Option<Targets> {
        match Asked::parse(value)? {
            Asked::All => self.terms.discovery.then_some(Targets::All),
            Asked::ThisTarget => (!self.terms.discovery).then_some(Targets::Own),
            Asked::Target(name) => Some(Targets::Name(name)),
        }
    }
}
