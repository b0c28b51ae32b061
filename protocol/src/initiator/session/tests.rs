//! Conversations of a session with a target, over the connections it takes.

mod deadlines;
mod identities;
mod logins;
mod pair;
mod replays;
mod world;

use self::world::World;
