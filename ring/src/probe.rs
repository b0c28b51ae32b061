//! Opens the kernel's ring with exactly the powers needed, or says what to change.

use std::fs;
use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, Probe, opcode};

/// Every operation a ring may submit. The kernel refuses all others: a seccomp filter does not
/// see what goes through a ring, so the ring restricts itself.
const OPERATIONS: [(&str, u8); 9] = [
    ("accept", opcode::Accept::CODE),
    ("async cancel", opcode::AsyncCancel::CODE),
    ("fallocate", opcode::Fallocate::CODE),
    ("fsync", opcode::Fsync::CODE),
    ("read", opcode::Read::CODE),
    ("recv", opcode::Recv::CODE),
    ("recvmsg", opcode::RecvMsg::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("write", opcode::Write::CODE),
];

/// Why there is no ring, and what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Switched off for this process by the administrator.
    #[error(
        "io_uring is switched off: /proc/sys/kernel/io_uring_disabled is {setting}. Set it to 0 \
         (sysctl kernel.io_uring_disabled=0){}",
        if setting == "1" { ", or run in the group named by kernel.io_uring_group" } else { "" }
    )]
    Disabled {
        /// The file's content.
        setting: String,
    },
    /// Refused, though not by that setting.
    #[error(
        "io_uring is forbidden here, though kernel.io_uring_disabled allows it: a seccomp or \
         container profile or a security module is in the way. Let it pass io_uring_setup, \
         io_uring_enter and io_uring_register (Docker: --security-opt seccomp=<profile>; \
         systemd: SystemCallFilter=@aio)"
    )]
    Forbidden,
    /// The system call does not exist.
    #[error(
        "this system answers that it has no io_uring: either kernel {release} was built without \
         CONFIG_IO_URING, or a container profile pretends so. Outband needs Linux 6.1 or later"
    )]
    Absent {
        /// The running kernel.
        release: String,
    },
    /// The kernel does not know the set-up flags.
    #[error(
        "io_uring of kernel {release} is too old: Outband needs Linux 6.1 or later \
         (IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_DEFER_TASKRUN)"
    )]
    TooOld {
        /// The running kernel.
        release: String,
    },
    /// The ring's queues do not fit.
    #[error(
        "there is no memory for the io_uring queues: raise the memory limit of the process \
         (RLIMIT_MEMLOCK, or the container's), or allow fewer operations in flight"
    )]
    NoMemory,
    /// The kernel has io_uring, but not all of it.
    #[error("io_uring of kernel {release} lacks: {}", what.join(", "))]
    Missing {
        /// The running kernel.
        release: String,
        /// Operations and features by name.
        what: Vec<&'static str>,
    },
    /// The bound asked for cannot be had.
    #[error("{asked} operations in flight are not possible on one ring: 1 to {max} are")]
    Bound {
        /// As configured.
        asked: u32,
        /// The most there can be.
        max: u32,
    },
    /// Anything else.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Checks that this process can have a ring with everything Outband needs. For program start:
/// the shards would find the same, later and once each.
pub fn probe() -> Result<(), RingError> {
    open(1, 2).map(drop)
}

/// A ring of the calling thread, its powers already restricted.
pub(crate) fn open(submissions: u32, completions: u32) -> Result<IoUring, RingError> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        // The kernel tells in shared memory that completions are waiting to be run: looking
        // costs no system call.
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .setup_r_disabled()
        .build(submissions)
        .map_err(|error| explain(error, setting("io_uring_disabled"), setting("osrelease")))?;
    check(&ring)?;
    restrict(&ring).map_err(|source| RingError::System { doing: "restrict the ring", source })?;
    ring.submitter()
        .register_enable_rings()
        .map_err(|source| RingError::System { doing: "enable the ring", source })?;
    Ok(ring)
}

fn check(ring: &IoUring) -> Result<(), RingError> {
    let mut known = Probe::new();
    ring.submitter()
        .register_probe(&mut known)
        .map_err(|source| RingError::System { doing: "ask io_uring what it can do", source })?;
    let params = ring.params();
    // Without NODROP a completion could be lost, and its buffer with it.
    let features =
        [("NODROP", params.is_feature_nodrop()), ("EXT_ARG", params.is_feature_ext_arg())];
    let operations = OPERATIONS.map(|(name, code)| (name, known.is_supported(code)));
    let what: Vec<_> =
        features.into_iter().chain(operations).filter(|(_, has)| !has).map(|(n, _)| n).collect();
    if what.is_empty() {
        return Ok(());
    }
    Err(RingError::Missing { release: setting("osrelease").unwrap_or_default(), what })
}

/// From here on: these operations, no flags (so no links and no drains), no registrations.
fn restrict(ring: &IoUring) -> io::Result<()> {
    let mut allowed = OPERATIONS.map(|(_, code)| Restriction::sqe_op(code));
    ring.submitter().register_restrictions(&mut allowed)
}

/// What a refused set-up means, given the two settings that tell cases apart.
fn explain(error: io::Error, disabled: Option<String>, release: Option<String>) -> RingError {
    let release = release.unwrap_or_else(|| "(unknown)".to_owned());
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match disabled {
            Some(setting) if setting != "0" => RingError::Disabled { setting },
            _ => RingError::Forbidden,
        },
        Some(libc::ENOSYS) => RingError::Absent { release },
        Some(libc::EINVAL) => RingError::TooOld { release },
        Some(libc::ENOMEM) => RingError::NoMemory,
        _ => RingError::System { doing: "set up io_uring", source: error },
    }
}

fn setting(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: i32, disabled: Option<&str>) -> String {
        let error = io::Error::from_raw_os_error(errno);
        explain(error, disabled.map(str::to_owned), Some("5.15.0".to_owned())).to_string()
    }

    #[test]
    fn a_refusal_names_what_to_change() {
        for (errno, disabled, says) in [
            (libc::EPERM, Some("2"), "io_uring_disabled is 2. Set it to 0"),
            (libc::EPERM, Some("1"), "kernel.io_uring_group"),
            (libc::EPERM, Some("0"), "seccomp"),
            (libc::EPERM, None, "container profile"),
            (libc::EACCES, Some("0"), "security module"),
            (libc::ENOSYS, None, "kernel 5.15.0 was built without"),
            (libc::EINVAL, Some("0"), "kernel 5.15.0 is too old"),
            (libc::ENOMEM, Some("0"), "RLIMIT_MEMLOCK"),
            (libc::EMFILE, Some("0"), "cannot set up io_uring"),
        ] {
            let message = explained(errno, disabled);
            assert!(message.contains(says), "{errno}: {message}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let what = vec!["EXT_ARG", "fallocate"];
        let error = RingError::Missing { release: "6.0".to_owned(), what };
        assert_eq!(error.to_string(), "io_uring of kernel 6.0 lacks: EXT_ARG, fallocate");
    }

    #[test]
    fn this_machine_can_run_the_tests() {
        probe().unwrap();
    }

    /// The one operation that touches nothing, and that no ring of ours has use for.
    #[test]
    #[expect(unsafe_code, reason = "pushes past the ring's own list of operations")]
    fn the_kernel_refuses_whatever_is_not_on_the_list() {
        let mut ring = open(1, 2).unwrap();
        let entry = opcode::Nop::new().build();
        // SAFETY: the entry points to nothing.
        unsafe { ring.submission().push(&entry) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        let results: Vec<_> = ring.completion().map(|entry| entry.result()).collect();
        assert_eq!(results, [-libc::EACCES]);
    }
}
