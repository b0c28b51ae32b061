//! Requests and answers, a line of JSON each, and the descriptor that goes along.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use outband_control::access::{Redirect, Subject};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::media::{
    AddOptions, DeviceReport, NewPartition, NewVolume, PartitionSpec, VolumeName, VolumeReport,
    WritePolicy,
};

/// Longest line either side takes. A unit's volumes fit: a ledger is a MiB.
const LINE_MAX: u64 = 16 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Request {
    /// The descriptor comes along; the path is where the unit finds it at the next start.
    DeviceAdd {
        path: PathBuf,
        fresh: bool,
        options: AddOptions,
    },
    DeviceImport {
        path: PathBuf,
    },
    DeviceLs,
    DeviceRm {
        device: String,
    },
    VolumeCreate {
        volume: NewVolume,
    },
    VolumeLs,
    VolumeGrow {
        name: String,
        size: u64,
    },
    VolumeSet {
        name: String,
        write_policy: WritePolicy,
    },
    VolumeRm {
        name: String,
        force: bool,
    },
    VolumeRecover {
        name: String,
    },
    PartitionCreate {
        volume: String,
        partition: NewPartition,
    },
    PartitionLs {
        volume: Option<String>,
    },
    PartitionGrow {
        volume: String,
        number: u16,
        size: u64,
    },
    PartitionRm {
        volume: String,
        number: u16,
    },
    RedirectAdd {
        subject: Subject,
        redirect: Redirect,
    },
    RedirectLs,
    RedirectRm {
        subject: Subject,
    },
    DebugDump,
    Log {
        filter: String,
    },
}

impl Request {
    /// Nobody but a unit that runs can do it.
    pub(super) fn is_for_who_runs(&self) -> bool {
        matches!(self, Self::DebugDump | Self::Log { .. })
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    Devices(Vec<DeviceReport>),
    Volumes(Vec<VolumeReport>),
    Partitions(Vec<PartitionRow>),
    Redirects(Vec<RedirectRow>),
    /// What is inside.
    Dump(serde_json::Value),
    /// What the log's filter is now.
    Log(String),
    /// Done, and nothing is left to show.
    Removed(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PartitionRow {
    pub(super) volume: VolumeName,
    pub(super) block_size: u32,
    #[serde(flatten)]
    pub(super) partition: PartitionSpec,
}

/// A redirect, and what it is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RedirectRow {
    pub(super) subject: Subject,
    #[serde(flatten)]
    pub(super) redirect: Redirect,
}

/// The reply, or why there is none, for people.
pub(super) type Answer = Result<Reply, String>;

/// Sends a value as one line, and a descriptor with its first byte.
pub(super) fn send(
    stream: &UnixStream,
    value: &impl Serialize,
    fd: Option<&OwnedFd>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut sent = 0;
    if let Some(fd) = fd {
        let fds = [fd.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for a descriptor beside the request"));
        }
        sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    }
    (&mut &*stream).write_all(&line[sent..])
}

/// Receives one line, and the descriptor that came with its beginning, if one did.
pub(super) fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
) -> io::Result<(T, Option<OwnedFd>)> {
    let mut first = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut first)], &mut control, flags)?;
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            // More than one is more than was asked for; the others close here.
            fd = fds.into_iter().next();
        }
    }
    first.truncate(got.bytes);
    let mut line = Vec::new();
    let rest = BufReader::new(stream);
    first.as_slice().chain(rest).take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&line)?, fd))
}
