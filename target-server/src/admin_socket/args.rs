//! The commands as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use outband_control::access::{BadSubject, RedirectAddress, Subject};
use outband_pool_api::{BlockSize, Size};

use crate::media::{VolumeName, WritePolicy};

/// Where a unit keeps its state unless told otherwise.
const STATE_DIR: &str = "/var/lib/outband-target";

/// What every one of these commands takes.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// State directory of the unit
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,
    /// A table for people, JSON for programs
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// Devices, volumes, partitions and redirects of this machine's unit
#[derive(Subcommand, Clone, Debug)]
pub enum AdminCommand {
    /// Files and block devices that hold volumes
    Device {
        #[command(flatten)]
        common: AdminArgs,
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// Volumes on those devices
    Volume {
        #[command(flatten)]
        common: AdminArgs,
        #[command(subcommand)]
        command: VolumeCommand,
    },
    /// Parts of a volume that are given away by themselves
    Partition {
        #[command(flatten)]
        common: AdminArgs,
        #[command(subcommand)]
        command: PartitionCommand,
    },
    /// Where hosts are sent whose volume lives at another portal
    Redirect {
        #[command(flatten)]
        common: AdminArgs,
        #[command(subcommand)]
        command: RedirectCommand,
    },
    /// A look inside the running unit, for support
    Debug {
        #[command(flatten)]
        common: AdminArgs,
        #[command(subcommand)]
        command: DebugCommand,
    },
    /// Say from now on what the filter lets through; until the unit starts anew
    Log {
        #[command(flatten)]
        common: AdminArgs,
        /// As tracing has it, for example info, or info,outband_target_server=debug
        filter: String,
    },
    /// Forget the station of this unit, so that one can enrol it anew; volumes and grants stay. The
    /// unit must not run
    LeavePool {
        #[command(flatten)]
        common: AdminArgs,
    },
}

#[derive(Subcommand, Clone, Copy, Debug)]
pub enum DebugCommand {
    /// Sessions, tasks in flight, buffers and ring state of each shard, as JSON
    Dump,
}

#[derive(Subcommand, Clone, Debug)]
pub enum DeviceCommand {
    /// Take a file or block device; a file that is not there is made if --size is given
    Add {
        path: PathBuf,
        /// How large to make the file, for example 100G
        #[arg(long)]
        size: Option<Size>,
        /// Erase whatever is on it
        #[arg(long)]
        yes_erase: bool,
        /// Take a file on a network file system, which may lose what it acknowledged
        #[arg(long)]
        allow_network: bool,
    },
    /// List devices
    Ls,
    /// Take over a device of another unit, with its volumes
    Import { path: PathBuf },
    /// Give up a device that holds no volume, or is missing; nothing is erased
    Rm {
        /// Path or id
        device: String,
    },
}

#[derive(Subcommand, Clone, Debug)]
pub enum VolumeCommand {
    /// Make a volume
    Create {
        name: VolumeName,
        /// From 1M to 8E, for example 80G
        size: Size,
        /// Bytes in a logical block, 512 or 4096; 512 where the devices can, if not given
        #[arg(long, value_name = "BYTES")]
        block_size: Option<BlockSize>,
        /// When a write is acknowledged: on stable storage (normal) or in the cache (high)
        #[arg(long, value_enum, default_value = "normal")]
        write_policy: Policy,
        /// Only on this device (path or id); may be repeated
        #[arg(long, value_name = "DEVICE")]
        on: Vec<String>,
        /// Memory and tmpfs will do
        #[arg(long)]
        allow_volatile: bool,
        /// Hosts may ask for SANITIZE and FORMAT UNIT, which wipe the whole volume
        #[arg(long)]
        allow_sanitize: bool,
    },
    /// List volumes
    Ls,
    /// Make a volume larger
    Grow {
        /// Name or id
        name: String,
        /// Its new size
        size: Size,
    },
    /// Change a volume; hosts that use it are told
    Set {
        /// Name or id
        name: String,
        /// When a write is acknowledged: on stable storage (normal) or in the cache (high)
        #[arg(long, value_enum)]
        write_policy: Policy,
    },
    /// Remove a volume and all its data
    Rm {
        /// Name or id
        name: String,
        /// Also when a device of it is missing
        #[arg(long)]
        force: bool,
    },
    /// Take a faulted volume back into service; what was not synced may be lost
    Recover {
        /// Name or id
        name: String,
    },
}

#[derive(Subcommand, Clone, Debug)]
pub enum PartitionCommand {
    /// Make a partition
    Create {
        /// The volume
        volume: String,
        /// All of the first gap, if not given
        #[arg(long)]
        size: Option<Size>,
        /// First block; the first gap that is large enough, if not given
        #[arg(long, value_name = "LBA")]
        start: Option<u64>,
        /// The `n` of VOLUME.pn; the lowest free one, if not given
        #[arg(long)]
        number: Option<u16>,
    },
    /// List partitions
    Ls {
        /// Of this volume only
        volume: Option<String>,
    },
    /// Make a partition larger
    Grow {
        #[arg(value_name = "VOLUME.pN")]
        partition: PartitionName,
        /// Its new size
        size: Size,
    },
    /// Remove a partition; its blocks stay in the volume
    Rm {
        #[arg(value_name = "VOLUME.pN")]
        partition: PartitionName,
    },
}

#[derive(Subcommand, Clone, Debug)]
pub enum RedirectCommand {
    /// Send hosts that have a grant on a target to another portal
    Add {
        /// Volume, VOLUME.pN or target name
        #[arg(value_name = "TARGET", value_parser = subject)]
        subject: Subject,
        /// The portal, for example 192.0.2.7:3260
        #[arg(value_name = "ADDR")]
        address: RedirectAddress,
        /// Hosts are to remember it; if not, they ask here again each time
        #[arg(long)]
        permanent: bool,
    },
    /// List redirects
    Ls,
    /// Serve the hosts of a target here again
    Rm {
        /// Volume, VOLUME.pN or target name
        #[arg(value_name = "TARGET", value_parser = subject)]
        subject: Subject,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Policy {
    Normal,
    High,
}

impl From<Policy> for WritePolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Normal => Self::Normal,
            Policy::High => Self::High,
        }
    }
}

/// `<volume>.p<number>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionName {
    pub volume: String,
    pub number: u16,
}

impl std::str::FromStr for PartitionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once(".p").and_then(|(volume, number)| {
            Some(Self { volume: volume.to_owned(), number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| format!("`{text}` is not a partition; write for example db.p1"))
    }
}

/// A target name ends with what it serves (`…:pool:volume`).
fn subject(text: &str) -> Result<Subject, String> {
    let last = text.rsplit_once(':').map_or(text, |(_, last)| last);
    last.parse().map_err(|error: BadSubject| error.to_string())
}
