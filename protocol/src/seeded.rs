//! Defects on purpose. `cargo xtask sim --seeded-bugs` proves by them that the simulator finds such
//! defects; `docs/reliability.md` has after how many seeds.
//!
//! They are compiled in with the feature `seeded-bugs` only, which nothing but the simulator asks for,
//! and then sleep until `choose` wakes one. Without it `is` is `false` to the compiler.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident $name:literal $world:ident,)*) => {
        /// A defect, and the world that is to find it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug { $($(#[$doc])* $bug,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// What it is called on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// Which simulation is to find it.
            #[must_use]
            pub const fn world(self) -> World {
                match self { $(Self::$bug => World::$world,)* }
            }
        }
    };
}

/// A kind of simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    /// One target and its hosts.
    Target,
    /// A pool with its station.
    Pool,
}

bugs! {
    /// A flush is acknowledged and not done (P2).
    AckBeforeFlush "ack-before-flush" Target,
    /// A flush syncs the first of a volume's devices only (P2).
    FlushOneDevice "flush-one-device" Target,
    /// FUA means nothing (P1).
    ForgetFua "forget-fua" Target,
    /// UNMAP without a write cache is not made durable (P3).
    UnmapNotFlushed "unmap-not-flushed" Target,
    /// A sync that failed is tried again, and then believed (P5).
    RetryFailedSync "retry-failed-sync" Target,
    /// A failed sync is told to its caller alone (P5).
    ForgetFault "forget-fault" Target,
    /// A sync beside a failed one is believed (P5).
    BelieveOtherSync "believe-other-sync" Target,
    /// A short transfer counts as whole (P6).
    ShortIsWhole "short-is-whole" Target,
    /// EAGAIN counts as done (P6).
    AgainIsDone "again-is-done" Target,
    /// A transfer goes on past the end of its extent (P4).
    PastTheExtent "past-the-extent" Target,
    /// The last block of a volume is one too far (P4).
    OneBlockTooMany "one-block-too-many" Target,
    /// UNMAP takes a block more than it was told to (P4).
    UnmapOneMore "unmap-one-more" Target,
    /// The data of a second R2T burst is put in the wrong place (P4).
    SecondBurstMisplaced "second-burst-misplaced" Target,
    /// Another burst of a long write goes where the first one went (P4).
    BurstAtTheStart "burst-at-the-start" Target,
    /// A wrong data digest is no reason to drop anything (P4).
    IgnoreDigest "ignore-digest" Target,
    /// A new session begins before its predecessor's I/O is over (P8).
    NoDrainAtLogin "no-drain-at-login" Target,
    /// Task management is answered before the medium has let go of the task (P8).
    AnswerAbortEarly "answer-abort-early" Target,
    /// A fence is acknowledged while writes of the old grant are under way (P12).
    NoDrainAtFence "no-drain-at-fence" Target,
    /// What a full turn has put off is overtaken by what comes after it.
    UnreadOvertaken "unread-overtaken" Target,
    /// COMPARE AND WRITE does not keep others off its blocks.
    SwapUnclaimed "swap-unclaimed" Target,
    /// COMPARE AND WRITE does not compare.
    SwapUncompared "swap-uncompared" Target,
    /// The initiator repeats what must not be done twice (P9).
    RepeatAnything "repeat-anything" Target,
    /// The initiator repeats a write after a newer one of the same blocks was acknowledged (P9).
    RepeatOvertaken "repeat-overtaken" Target,
    /// A unit acknowledges a fence that it has not stored (P12).
    ForgetFence "forget-fence" Pool,
    /// A unit acknowledges a fence without waiting for the old host's I/O (P12).
    FenceWithoutDrain "fence-without-drain" Pool,
    /// A fence leaves the epoch floor where it was (P12).
    FenceLeavesFloor "fence-leaves-floor" Pool,
    /// A unit takes an epoch a second time (P13).
    EpochAgain "epoch-again" Pool,
    /// A unit's store is written and not synced (P13).
    StoreUnsynced "store-unsynced" Pool,
    /// A station calls a release done which its unit has not acknowledged (P12).
    ReleaseWithoutFence "release-without-fence" Pool,
    /// A late call deletes whatever has the name by now (P13).
    DeleteByName "delete-by-name" Pool,
}

impl Bug {
    /// The defect of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// Whether this defect is there.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
mod awake {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    /// The chosen one's number in the enum, and one.
    static CHOSEN: AtomicUsize = AtomicUsize::new(0);

    /// Whether this defect is there.
    #[must_use]
    #[inline]
    pub fn is(bug: Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as usize + 1
    }

    /// From now on this process has that defect, or none.
    pub fn choose(bug: Option<Bug>) {
        CHOSEN.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
    }
}

#[cfg(feature = "seeded-bugs")]
pub use awake::{choose, is};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for bug in Bug::ALL {
            assert_eq!(Bug::named(bug.name()), Some(*bug));
        }
        assert_eq!(Bug::named("no-such-bug"), None);
    }

    #[test]
    fn nothing_is_wrong_unless_chosen() {
        assert!(Bug::ALL.iter().all(|bug| !is(*bug)));
    }
}
