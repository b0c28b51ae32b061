//! What a shard calls its operations: whose they are, and what for.

use outband_protocol::ids::TaskId;
use outband_ring::Token;
use slotmap::{Key, KeyData, new_key_type};

new_key_type! {
    /// A connection of this shard.
    pub(crate) struct ConnKey;
    /// An I/O on its way to a medium.
    pub(crate) struct IoKey;
    /// A copy's I/O that another target asked for.
    pub(crate) struct VisitKey;
    /// A target of this shard.
    pub(crate) struct TargetKey;
    /// A volume of this shard.
    pub(crate) struct VolumeKey;
}

/// Who waits for an I/O.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// A task of a connection.
    Task(ConnKey, TaskId),
    /// A copy of another target.
    Visit(VisitKey),
    /// The sanitize of a target.
    Sanitize(TargetKey),
    /// The unit itself: a flush, by its number.
    Unit(u16),
}

impl From<(ConnKey, TaskId)> for Whose {
    fn from((key, task): (ConnKey, TaskId)) -> Self {
        Self::Task(key, task)
    }
}

/// Who an operation belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The accept on the portal of this index.
    Accept(u32),
    /// A connection's receive.
    Recv(ConnKey),
    /// A connection's send.
    Send(ConnKey),
    /// A medium's operation.
    Store(IoKey),
    /// The record of a target's reservations.
    Ledger(TargetKey),
}

/// slotmap gives an index in the low and a version in the high half; a shard has far fewer than
/// 2^24 of anything, so the top byte of the index is free to say what kind it is.
const KIND_SHIFT: u32 = 24;
const INDEX_MASK: u64 = (1 << KIND_SHIFT) - 1;
const VERSION_MASK: u64 = 0xffff_ffff_0000_0000;

impl Owner {
    /// As the ring carries it.
    pub(crate) fn token(self) -> Token {
        let (kind, value) = match self {
            Self::Accept(portal) => (0u64, u64::from(portal)),
            Self::Recv(key) => (1, key.data().as_ffi()),
            Self::Send(key) => (2, key.data().as_ffi()),
            Self::Store(key) => (3, key.data().as_ffi()),
            Self::Ledger(key) => (4, key.data().as_ffi()),
        };
        debug_assert_eq!(value & !VERSION_MASK & !INDEX_MASK, 0, "below 2^24 of each kind");
        Token(value & (VERSION_MASK | INDEX_MASK) | kind << KIND_SHIFT)
    }

    /// From what the ring carried.
    pub(crate) fn from_token(token: Token) -> Self {
        let value = token.0 & (VERSION_MASK | INDEX_MASK);
        let key = KeyData::from_ffi(value);
        match token.0 >> KIND_SHIFT & 0xff {
            0 => Self::Accept(u32::try_from(value).expect("a portal's index has no version")),
            1 => Self::Recv(key.into()),
            2 => Self::Send(key.into()),
            3 => Self::Store(key.into()),
            _ => Self::Ledger(key.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn an_owner_survives_the_ring() {
        let mut conns = SlotMap::<ConnKey, ()>::with_key();
        let first = conns.insert(());
        conns.remove(first);
        let key = conns.insert(());
        let mut ios = SlotMap::<IoKey, ()>::with_key();
        let io = ios.insert(());
        let mut targets = SlotMap::<TargetKey, ()>::with_key();
        let target = Owner::Ledger(targets.insert(()));
        for owner in
            [Owner::Accept(7), Owner::Recv(key), Owner::Send(key), Owner::Store(io), target]
        {
            assert_eq!(Owner::from_token(owner.token()), owner);
        }
        assert_ne!(Owner::Recv(first).token(), Owner::Recv(key).token());
    }
}
