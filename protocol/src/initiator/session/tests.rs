//! Conversations of a session with a target, over the connections it takes.
