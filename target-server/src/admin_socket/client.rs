//! The command's end: asks the running unit, or does it itself when none runs.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use outband_control::access::Redirect;

use super::args::{
    AdminArgs, AdminCommand, DebugCommand, DeviceCommand, Output, PartitionCommand,
    RedirectCommand, VolumeCommand,
};
use super::leave::leave_pool;
use super::redirects::Stored;
use super::wire::{Answer, Reply, Request, receive, send};
use super::{SOCKET, local, table};
use crate::media::{AddOptions, Catalog, Holdings, MediaError, NewPartition, NewVolume, open_path};

/// Why a command did nothing. The message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The unit, or its catalog, refused.
    #[error("{0}")]
    Refused(String),
    /// The unit runs and does not answer.
    #[error("the unit does not answer on {}", path.display())]
    Socket { path: PathBuf, source: io::Error },
}

impl From<MediaError> for AdminError {
    fn from(error: MediaError) -> Self {
        Self::Refused(error.full())
    }
}

/// Carries out one command. What is returned goes to standard output as it is.
pub fn run(command: AdminCommand) -> Result<String, AdminError> {
    let (common, request, device) = match prepare(command)? {
        Task::Ask(common, request, device) => (common, request, device),
        Task::LeavePool(common) => {
            leave_pool(&common.state_dir)?;
            return Ok(show(&Reply::Removed("this unit from its pool".to_owned()), common.output));
        }
    };
    let made = device.as_ref().filter(|device| device.fresh).map(|device| device.path.clone());
    let answer = ask(&common.state_dir, request, device.map(|device| device.fd));
    match answer.and_then(|answer| answer.map_err(AdminError::Refused)) {
        Ok(reply) => Ok(show(&reply, common.output)),
        Err(error) => {
            if let Some(path) = made {
                // Made for a unit that does not want it.
                let _ = fs::remove_file(path);
            }
            Err(error)
        }
    }
}

struct OpenDevice {
    path: PathBuf,
    fd: OwnedFd,
    fresh: bool,
}

enum Task {
    /// For the unit, or for who holds its state directory.
    Ask(AdminArgs, Request, Option<OpenDevice>),
    /// For no unit: it must not run.
    LeavePool(AdminArgs),
}

fn prepare(command: AdminCommand) -> Result<Task, AdminError> {
    let (common, request, device) = match command {
        AdminCommand::Device { common, command } => {
            let (request, device) = device_request(command)?;
            (common, request, device)
        }
        AdminCommand::Volume { common, command } => (common, volume_request(command), None),
        AdminCommand::Partition { common, command } => (common, partition_request(command), None),
        AdminCommand::Redirect { common, command } => (common, redirect_request(command), None),
        AdminCommand::Debug { common, command: DebugCommand::Dump } => {
            (common, Request::DebugDump, None)
        }
        AdminCommand::Log { common, filter } => (common, Request::Log { filter }, None),
        AdminCommand::LeavePool { common } => return Ok(Task::LeavePool(common)),
    };
    Ok(Task::Ask(common, request, device))
}

fn device_request(command: DeviceCommand) -> Result<(Request, Option<OpenDevice>), AdminError> {
    let open = |path: &Path, size| -> Result<OpenDevice, AdminError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (fd, fresh) = open_path(&path, size)?;
        Ok(OpenDevice { path, fd, fresh })
    };
    Ok(match command {
        DeviceCommand::Add { path, size, yes_erase, allow_network } => {
            let size = size.map(|size| size.0);
            let device = open(&path, size)?;
            let options = AddOptions { size, yes_erase, allow_network };
            let (path, fresh) = (device.path.clone(), device.fresh);
            (Request::DeviceAdd { path, fresh, options }, Some(device))
        }
        DeviceCommand::Import { path } => {
            let device = open(&path, None)?;
            (Request::DeviceImport { path: device.path.clone() }, Some(device))
        }
        DeviceCommand::Ls => (Request::DeviceLs, None),
        DeviceCommand::Rm { device } => (Request::DeviceRm { device }, None),
    })
}

fn volume_request(command: VolumeCommand) -> Request {
    match command {
        VolumeCommand::Create {
            name,
            size,
            block_size,
            write_policy,
            on,
            allow_volatile,
            allow_sanitize,
        } => {
            let mut volume = NewVolume::new(name, size.0);
            volume.block_size = block_size.map(u32::from);
            volume.write_policy = write_policy.into();
            volume.on = on;
            volume.allow_volatile = allow_volatile;
            volume.allow_sanitize = allow_sanitize;
            Request::VolumeCreate { volume }
        }
        VolumeCommand::Ls => Request::VolumeLs,
        VolumeCommand::Grow { name, size } => Request::VolumeGrow { name, size: size.0 },
        VolumeCommand::Set { name, write_policy } => {
            Request::VolumeSet { name, write_policy: write_policy.into() }
        }
        VolumeCommand::Rm { name, force } => Request::VolumeRm { name, force },
        VolumeCommand::Recover { name } => Request::VolumeRecover { name },
    }
}

fn partition_request(command: PartitionCommand) -> Request {
    match command {
        PartitionCommand::Create { volume, size, start, number } => {
            let partition = NewPartition { number, start, size: size.map(|size| size.0) };
            Request::PartitionCreate { volume, partition }
        }
        PartitionCommand::Ls { volume } => Request::PartitionLs { volume },
        PartitionCommand::Grow { partition, size } => Request::PartitionGrow {
            volume: partition.volume,
            number: partition.number,
            size: size.0,
        },
        PartitionCommand::Rm { partition } => {
            Request::PartitionRm { volume: partition.volume, number: partition.number }
        }
    }
}

fn redirect_request(command: RedirectCommand) -> Request {
    match command {
        RedirectCommand::Add { subject, address, permanent } => {
            Request::RedirectAdd { subject, redirect: Redirect { address, permanent } }
        }
        RedirectCommand::Ls => Request::RedirectLs,
        RedirectCommand::Rm { subject } => Request::RedirectRm { subject },
    }
}

fn ask(state_dir: &Path, request: Request, fd: Option<OwnedFd>) -> Result<Answer, AdminError> {
    let path = state_dir.join(SOCKET);
    match UnixStream::connect(&path) {
        Ok(stream) => {
            let io = |source| AdminError::Socket { path: path.clone(), source };
            send(&stream, &request, fd.as_ref()).map_err(io)?;
            Ok(receive::<Answer>(&stream).map_err(io)?.0)
        }
        // None running: no socket, or one that a killed unit left. The lock tells if that is wrong.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            if request.is_for_who_runs() {
                let why = format!("no unit runs on {}", state_dir.display());
                return Err(AdminError::Refused(why));
            }
            let holdings = Holdings::new(Catalog::open(state_dir)?);
            let redirects = Stored::new(state_dir);
            let answer = local::carry_out(&holdings, &redirects, request, fd);
            holdings.settle();
            Ok(answer)
        }
        Err(source) => Err(AdminError::Socket { path, source }),
    }
}

fn show(reply: &Reply, output: Output) -> String {
    match (output, reply) {
        (Output::Table, reply) => table::of(reply),
        (Output::Json, Reply::Devices(rows)) => json(rows),
        (Output::Json, Reply::Volumes(rows)) => json(rows),
        (Output::Json, Reply::Partitions(rows)) => json(rows),
        (Output::Json, Reply::Redirects(rows)) => json(rows),
        (Output::Json, Reply::Dump(dump)) => json(dump),
        (Output::Json, Reply::Log(filter)) => json(&serde_json::json!({ "log": filter })),
        (Output::Json, Reply::Removed(name)) => json(&serde_json::json!({ "removed": name })),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("reports are plain data");
    text.push('\n');
    text
}
