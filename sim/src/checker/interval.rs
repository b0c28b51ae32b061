//! What is known of a value, in words.

use std::fmt;

use super::{NEVER, Tick, Value};

/// From when to when a value was there for certain, and what else is known.
pub(super) struct Interval<'v>(pub(super) &'v Value);

impl fmt::Display for Interval<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Value { issued, acknowledged, closed, durable, repeated, seen_by, seen_at, .. } =
            self.0;
        write!(f, "[issued {issued}")?;
        let tick = |f: &mut fmt::Formatter<'_>, name, tick: Tick| match tick {
            NEVER | 0 => Ok(()),
            tick => write!(f, ", {name} {tick}"),
        };
        tick(f, "acknowledged", *acknowledged)?;
        if acknowledged != closed {
            tick(f, "closed", *closed)?;
        }
        tick(f, "seen by", *seen_by)?;
        tick(f, "seen at", *seen_at)?;
        f.write_str(if *repeated { ", repeated" } else { "" })?;
        f.write_str(if *durable { ", durable]" } else { "]" })
    }
}
