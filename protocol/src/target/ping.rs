//! Pings of both sides (§11.18, §11.19).

use super::outbox::Reply;
use super::{Conn, Event, PeerError, Reading};
use crate::ids::{Itt, Ttt};
use crate::limits::PING_LEN_MAX;
use crate::pdu::NopOut;

/// Ours under way, and the data of theirs.
#[derive(Debug, Default)]
pub(super) struct Pings {
    echo: Vec<u8>,
    names_given: u16,
    /// The ping of ours that is not answered yet.
    open: Option<Ttt>,
}

impl Pings {
    /// A name for a ping of ours. One is under way at a time.
    pub(super) fn begin(&mut self) -> Option<Ttt> {
        if self.open.is_some() {
            return None;
        }
        self.names_given = self.names_given.wrapping_add(1);
        // Apart from the names of R2Ts and texts, and never NONE.
        self.open = Some(Ttt(0xfd00_0000 | u32::from(self.names_given)));
        self.open
    }

    /// More of the peer's ping; what is beyond the bounds is not echoed.
    pub(super) fn extend(&mut self, bytes: &[u8], peer_segment_len_max: u32) {
        let most = peer_segment_len_max.min(PING_LEN_MAX) as usize;
        let room = most - self.echo.len();
        self.echo.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Conn {
    /// Sends a ping; [`Event::Pong`] is its answer. One is under way at a time: while it is not
    /// answered, this does nothing.
    pub fn ping(&mut self) {
        if let Some(ttt) = self.pings.begin() {
            self.outbox.answer(Reply::Ping(ttt));
        }
    }

    pub(super) fn on_ping(&mut self, ping: NopOut) {
        self.pings.echo.clear();
        self.reading = Reading::Ping(ping);
    }

    /// The ping is whole: echo it if it asks for that, or take it for an answer.
    pub(super) fn on_ping_end(
        &mut self,
        ping: &NopOut,
    ) -> Result<Option<Event<'static>>, PeerError> {
        self.took(ping.order);
        if ping.itt != Itt::NONE {
            let data = std::mem::take(&mut self.pings.echo).into();
            self.outbox.reply(Reply::Echo { itt: ping.itt, lun: ping.lun, data })?;
        }
        if ping.ttt != Ttt::NONE && self.pings.open == Some(ping.ttt) {
            self.pings.open = None;
            return Ok(Some(Event::Pong));
        }
        Ok(None)
    }
}
