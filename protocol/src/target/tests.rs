//! Conversations with a small initiator.
