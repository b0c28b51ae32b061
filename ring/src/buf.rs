//! Page-aligned memory, as O_DIRECT wants it, owned by whoever holds the value.

#![allow(unsafe_code, reason = "views whole pages as bytes; the standard library has no such box")]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Alignment of every buffer, and the smallest one.
pub const PAGE: usize = 4096;

/// The largest buffer. Longer transfers run burst by burst.
pub const BUF_LEN_MAX: usize = 1 << 20;

/// The sizes there are: 4, 16, 64, 256 KiB, 1 MiB.
pub(crate) const CLASSES: [usize; 5] = [PAGE, PAGE << 2, PAGE << 4, PAGE << 6, BUF_LEN_MAX];

/// Position in [`CLASSES`] of the smallest that holds `len` bytes.
pub(crate) fn class_of(len: usize) -> Option<usize> {
    CLASSES.iter().position(|size| len <= *size)
}

// Size and alignment are equal, so there is no padding anywhere in a slice of these.
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

/// A page-aligned buffer. Its length is that of its class: 4, 16, 64, 256 KiB or 1 MiB. The
/// bytes do not move when the value does. Freed on drop; [`Pool::give`](crate::Pool::give) is
/// cheaper.
pub struct Buf {
    pages: Box<[Page]>,
    ledger: Option<Ledger>,
}

/// How many bytes of buffers a pool has allocated. A buffer carries its pool's ledger, so that
/// one dropped anywhere, on any thread, is no longer counted.
pub(crate) type Ledger = Arc<AtomicUsize>;

impl Buf {
    /// A buffer of zeros outside of any pool, of the smallest class that holds `len` bytes.
    ///
    /// # Panics
    ///
    /// When `len` is above [`BUF_LEN_MAX`].
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let class = class_of(len).expect("no buffer is longer than BUF_LEN_MAX");
        let pages = vec![Page([0; PAGE]); CLASSES[class] / PAGE].into_boxed_slice();
        Self { pages, ledger: None }
    }

    /// The same, counted in `ledger` until dropped.
    pub(crate) fn counted(len: usize, ledger: &Ledger) -> Self {
        let mut buf = Self::zeroed(len);
        ledger.fetch_add(buf.len(), Ordering::Relaxed);
        buf.ledger = Some(Arc::clone(ledger));
        buf
    }

    pub(crate) fn is_counted_in(&self, ledger: &Ledger) -> bool {
        self.ledger.as_ref().is_some_and(|own| Arc::ptr_eq(own, ledger))
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let pages: &[Page] = &self.pages;
        // SAFETY: the pages are one allocation of initialised bytes without padding (see `Page`),
        // borrowed for as long as the result is.
        unsafe { slice::from_raw_parts(pages.as_ptr().cast(), size_of_val(pages)) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let pages: &mut [Page] = &mut self.pages;
        // SAFETY: as in `deref`, and borrowed mutably; any byte is valid in a `Page`.
        unsafe { slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), size_of_val(pages)) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.fetch_sub(size_of_val::<[Page]>(&self.pages), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the contents: they are somebody's data.
        write!(f, "Buf({} KiB)", self.len() / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_of_its_class() {
        for (asked, got) in [(0, 4096), (1, 4096), (4097, 16384), (65536, 65536), (65537, 262144)] {
            let buf = Buf::zeroed(asked);
            assert_eq!((buf.len(), buf.as_ptr().addr() % PAGE), (got, 0));
            assert!(buf.iter().all(|byte| *byte == 0));
        }
        assert_eq!(Buf::zeroed(BUF_LEN_MAX).len(), BUF_LEN_MAX);
    }

    #[test]
    fn moving_a_buffer_does_not_move_its_bytes() {
        let mut buf = Buf::zeroed(PAGE);
        buf[7] = 7;
        let before = buf.as_ptr();
        let moved = std::thread::spawn(move || buf).join().unwrap();
        assert_eq!((moved.as_ptr(), moved[7]), (before, 7));
    }
}
