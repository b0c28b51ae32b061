//! Whether a thread has waited for something, or was only kept from running.

#![allow(unsafe_code, reason = "asks the kernel, for which no library here has a safe call")]

use std::mem::MaybeUninit;

/// How often the calling thread has given up its processor to wait. Being preempted, or a hypervisor that
/// has run somebody else, does not count. 0 if the kernel does not say.
pub(crate) fn voluntary() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to room for one such structure, which the call fills and does not keep.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: it consists of integers, which are valid as the zeros that it began with, too.
    let usage = unsafe { usage.assume_init() };
    usage.ru_nvcsw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_has_waited_and_one_that_works_has_not() {
        let before = voluntary();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(voluntary() > before);
        let before = voluntary();
        let sum: u64 = std::hint::black_box((0..1_000_000u64).sum());
        assert_eq!((voluntary(), sum), (before, 499_999_500_000));
    }
}
