//! Counts, in tests alone, how many records and reports a pass looks at: how that grows with the pool
//! is what tests of large pools can say without a clock.

#[cfg(test)]
thread_local! {
    static VISITS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// One was looked at.
#[inline]
pub(crate) fn visit<T: ?Sized>(_: &T) {
    #[cfg(test)]
    VISITS.set(VISITS.get() + 1);
}

/// How many this thread has looked at since it was last asked.
#[cfg(test)]
pub(crate) fn taken() -> u64 {
    VISITS.take()
}
