//! What the process gives up before it listens: files that are none of its business (Landlock), system
//! calls that no part of it makes (seccomp), capabilities, core dumps, and ever getting any of that
//! back. Whoever takes the process over by the network has what is left (P26).
//!
//! It is entered before the first thread is started, since most of it is a thread's and inherited.
//! What it does not cover: seccomp does not see what goes through a ring.

mod calls;

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::serve::ServeArgs;
use crate::unit::UnitConfig;

/// Landlock's interface that the rules are written for; an older kernel does what it can of it.
const LANDLOCK: ABI = ABI::V5;

/// What name resolution, time zones and questions about devices and memory are answered from.
const READABLE: &[&str] = &[
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/lib",
    "/lib64",
    "/proc",
    "/run/systemd/resolve",
    "/sys",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
];

/// Which files a process may reach.
#[derive(Clone, Default, Debug)]
pub struct Reach {
    /// Files and folders, with all below them, that are read.
    pub readable: Vec<PathBuf>,
    /// Those that are read, written, made and removed.
    pub writable: Vec<PathBuf>,
}

/// Why the process is not as confined as it should be.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox could not be entered: {what}; --no-sandbox runs without it")]
pub struct SandboxError {
    what: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Reach {
    /// What a unit needs: its state, its devices, and the token it introduces itself with.
    ///
    /// Devices that are added later come as descriptors; at the next start they are listed.
    #[must_use]
    pub fn of_unit(config: &UnitConfig, listed: Vec<PathBuf>) -> Self {
        let files = config.file.iter().map(|file| file.path.clone());
        let devices = files.chain(listed);
        // A file is made, preallocated and synced together with the folder that it is in.
        let mut writable: Vec<_> = devices.map(|path| around(&path)).collect();
        writable.push(config.state_dir.clone());
        Self { readable: config.join_token_file.iter().cloned().collect(), writable }
    }

    /// What `serve` needs: its file, and what lies beside it.
    #[must_use]
    pub fn of_serve(args: &ServeArgs) -> Self {
        Self {
            readable: args.secret_files().map(Path::to_owned).collect(),
            writable: args.file().map(around).into_iter().collect(),
        }
    }
}

/// The folder of a file, or a device of its own.
fn around(path: &Path) -> PathBuf {
    // A name by which udev knows a device leads to the device.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        return path;
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Confines this thread and those that it starts from now on to `reach`, and the process to dump no
/// core. There is no way back.
///
/// # Errors
/// When the kernel refuses. That it is too old for Landlock is only logged.
pub fn enter(reach: &Reach) -> Result<(), SandboxError> {
    let failed = |what| move |source: io::Error| SandboxError { what, source: source.into() };
    dump_no_core().map_err(failed("core dumps"))?;
    drop_capabilities().map_err(failed("capabilities"))?;
    restrict_files(reach)
        .map_err(|source| SandboxError { what: "files", source: source.into() })?;
    restrict_calls().map_err(|source| SandboxError { what: "system calls", source })
}

/// Memory has secrets of hosts and blocks of theirs.
fn dump_no_core() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Those that serving a volume may take: memory for the ring, low ports, and devices and files of
/// another owner, as far as Landlock lets it.
const KEPT: CapabilitySet = CapabilitySet::IPC_LOCK
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

fn drop_capabilities() -> io::Result<()> {
    let now = capabilities(None)?;
    let kept = CapabilitySets {
        effective: now.effective & KEPT,
        permitted: now.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, kept)?)
}

fn restrict_files(reach: &Reach) -> Result<(), landlock::RulesetError> {
    let all = AccessFs::from_all(LANDLOCK);
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all & !BitFlags::from(AccessFs::Execute);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(&reach.readable, read))?
        .add_rules(path_beneath_rules(["/dev/null", "/dev/urandom"], read))?
        .add_rules(path_beneath_rules(&reach.writable, write))?
        .restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        tracing::warn!(
            status = ?status.ruleset,
            "this kernel's Landlock does not keep all files from the process"
        );
    }
    Ok(())
}

/// What is not allowed looks as if the kernel did not have it, so that a library falls back on what
/// there is.
fn restrict_calls() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let refuse = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(calls::allowed()?, refuse, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
