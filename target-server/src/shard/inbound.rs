//! Bytes from initiators: read as far as the turn has room for what they ask for.

use outband_ring::{Completion, Errno, Ring};

use super::Shard;
use super::conn::{Ending, Progress};
use super::peer::{Lost, Phase};
use super::token::ConnKey;
use super::wire::Received;

impl<R: Ring> Shard<R> {
    pub(super) fn on_recv(&mut self, key: ConnKey, completion: Completion) {
        let desk = &mut self.desk;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let failed = completion.result.as_ref().err().copied();
        let cancelled = failed == Some(Errno::CANCELED);
        match peer.wire.received(completion.result, completion.op, desk) {
            None if cancelled && !matches!(peer.phase, Phase::Leaving(_)) => {}
            None => peer.leave(&Lost(failed), desk),
            Some(Received { placed, unread }) => {
                peer.heard = desk.now;
                peer.pinged = None;
                match &mut peer.phase {
                    Phase::Inside(conn) => {
                        if let Some((buf, at)) = placed {
                            conn.on_placed(buf, at, desk);
                        }
                        peer.wire.put_off(unread);
                        self.read(key);
                    }
                    Phase::Entering(_) => {
                        peer.on_login(unread.bytes(), desk);
                        peer.wire.keep(unread, desk);
                    }
                    Phase::Waiting(knock) | Phase::Moving(knock) => {
                        knock.leftover.extend_from_slice(unread.bytes());
                        peer.wire.keep(unread, desk);
                    }
                    Phase::Refused | Phase::Leaving(_) => peer.wire.keep(unread, desk),
                }
            }
        }
        self.touch(key);
    }

    /// Goes on where turns before had no room, for so many connections.
    pub(super) fn read_on(&mut self, connections: usize) {
        self.desk.make_room();
        for _ in 0..connections {
            if self.desk.is_full() {
                return;
            }
            if let Some(key) = self.unread.pop_front() {
                self.read(key);
                self.touch(key);
            }
        }
    }

    fn read(&mut self, key: ConnKey) {
        let desk = &mut self.desk;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(mut unread) = peer.wire.take_unread() else {
            return;
        };
        let Phase::Inside(conn) = &mut peer.phase else {
            return peer.wire.keep(unread, desk);
        };
        let mut input = unread.bytes();
        let outcome = conn.on_bytes(&mut input, desk);
        let left = input.len();
        match outcome {
            Ok(Progress::PutOff) => {
                unread.advance_to(left);
                peer.wire.put_off(unread);
                return self.unread.push_back(key);
            }
            // The response to a logout is on its way out still.
            Ok(Progress::Through) | Err(Ending::Logout) => {}
            Err(ending) => {
                tracing::warn!(peer = %peer.wire.peer, %ending, "connection dropped");
                self.header_digest_errors += u64::from(ending.is_header_digest());
                peer.leave(&ending, desk);
            }
        }
        peer.wire.keep(unread, desk);
    }
}
