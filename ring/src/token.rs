//! What an operation is called by whoever pushed it.

/// The caller's name for an operation, handed back with its completion. The ring reads nothing
/// into it: kind, slot and generation are the caller's to pack. What `user_data` carries to the
/// kernel is the ring's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Token(pub u64);
