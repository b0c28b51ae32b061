//! A shard's buffers: bounded in bytes, reused by size class.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Buf;
use crate::buf::{CLASSES, Ledger, class_of};

/// Hands out buffers up to a limit in bytes and keeps those given back for the next taker.
pub struct Pool {
    limit: usize,
    /// Bytes allocated: those out and those free.
    held: Ledger,
    /// Bytes in the free lists.
    idle: usize,
    free: [Vec<Buf>; CLASSES.len()],
}

impl Pool {
    /// A pool that never holds more than `limit` bytes, given out or free. Nothing is allocated
    /// before it is asked for.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        Self { limit, held, idle: 0, free: Default::default() }
    }

    /// A buffer of at least `len` bytes, or `None` when the limit is reached or `len` is above
    /// [`BUF_LEN_MAX`](crate::BUF_LEN_MAX). It holds whatever its last user left in it: it must
    /// be overwritten before any of it goes to a peer.
    pub fn take(&mut self, len: usize) -> Option<Buf> {
        let class = class_of(len)?;
        if let Some(buf) = self.free[class].pop() {
            self.idle -= buf.len();
            return Some(buf);
        }
        let size = CLASSES[class];
        if self.used() + size > self.limit {
            return None;
        }
        // What fits beside the buffers in use may yet have to displace free ones of other sizes.
        while self.held() + size > self.limit {
            self.drop_one();
        }
        Some(Buf::counted(size, &self.held))
    }

    /// Whether buffers of both lengths can be had at once. Nothing needs none.
    #[must_use]
    pub fn has_both(&self, lens: [usize; 2]) -> bool {
        let size = |len| if len == 0 { Some(0) } else { class_of(len).map(|class| CLASSES[class]) };
        let [Some(one), Some(other)] = lens.map(size) else {
            return false;
        };
        self.used() + one + other <= self.limit
    }

    /// Keeps a buffer for the next taker. One of another pool is freed, and counted there.
    pub fn give(&mut self, buf: Buf) {
        if buf.is_counted_in(&self.held) {
            self.idle += buf.len();
            let class = class_of(buf.len()).expect("every buffer has its class");
            self.free[class].push(buf);
        }
    }

    /// Bytes given out and neither given back nor dropped since.
    #[must_use]
    pub fn used(&self) -> usize {
        self.held() - self.idle
    }

    /// Bytes this pool may hold.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Frees one buffer of the class that has the most bytes lying idle.
    fn drop_one(&mut self) {
        let idlest = self.free.iter_mut().zip(CLASSES).max_by_key(|(list, size)| list.len() * size);
        let buf =
            idlest.and_then(|(list, _)| list.pop()).expect("something idle is over the limit");
        self.idle -= buf.len();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limit", &self.limit)
            .field("used", &self.used())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn the_limit_holds_and_a_returned_buffer_serves_again() {
        let mut pool = Pool::new(40 * KIB);
        let first = pool.take(16 * KIB).unwrap();
        let second = pool.take(10 * KIB).unwrap();
        assert_eq!(pool.used(), 32 * KIB);
        assert!(pool.take(5 * KIB).is_none());
        assert_eq!(pool.take(1).map(|buf| buf.len()), Some(4 * KIB));

        let address = first.as_ptr();
        pool.give(first);
        assert_eq!(pool.used(), 16 * KIB);
        assert_eq!(pool.take(16 * KIB).unwrap().as_ptr(), address);
        drop(second);
    }

    #[test]
    fn free_buffers_of_other_sizes_make_room() {
        let mut pool = Pool::new(64 * KIB);
        let small: Vec<_> = (0..16).map(|_| pool.take(4 * KIB).unwrap()).collect();
        assert!(pool.take(64 * KIB).is_none(), "those in use make no room");
        small.into_iter().for_each(|buf| pool.give(buf));
        let large = pool.take(64 * KIB).unwrap();
        assert_eq!((pool.used(), pool.held()), (64 * KIB, 64 * KIB));
        pool.give(large);
        assert_eq!(pool.used(), 0);
        assert!(pool.take(4 * KIB).is_some());
        assert!(pool.held() <= pool.limit());
    }

    #[test]
    fn a_buffer_dropped_on_another_thread_is_no_longer_counted() {
        let mut pool = Pool::new(4 * KIB);
        let buf = pool.take(1).unwrap();
        std::thread::spawn(move || drop(buf)).join().unwrap();
        assert_eq!(pool.used(), 0);
        assert!(pool.take(1).is_some());
    }

    #[test]
    fn another_pools_buffer_is_counted_there_only() {
        let (mut here, mut there) = (Pool::new(8 * KIB), Pool::new(8 * KIB));
        here.give(there.take(1).unwrap());
        here.give(Buf::zeroed(1));
        assert_eq!((here.used(), here.held(), there.used()), (0, 0, 0));
    }

    #[test]
    fn nothing_is_longer_than_the_largest_class() {
        assert!(Pool::new(usize::MAX).take(crate::BUF_LEN_MAX + 1).is_none());
    }
}
