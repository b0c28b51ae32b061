//! A request carried out on the holdings: by the unit for a client, or by the command itself.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::redirects::Redirects;
use super::wire::{Answer, PartitionRow, RedirectRow, Reply, Request};
use crate::media::{Holdings, MediaError, Report, VolumeName, VolumeReport};

pub(super) fn carry_out(
    holdings: &Arc<Holdings>,
    redirects: &dyn Redirects,
    request: Request,
    fd: Option<OwnedFd>,
) -> Answer {
    let needs = "the request came without the device's descriptor";
    let reply = match request {
        Request::DeviceAdd { path, fresh, options } => {
            let fd = fd.ok_or(needs)?;
            holdings.add_device(fd, &path, fresh, options).map(|id| device(holdings, id))
        }
        Request::DeviceImport { path } => {
            let fd = fd.ok_or(needs)?;
            let end_grants = |volume: &VolumeName| redirects.end_grants(volume);
            holdings.import_device(fd, &path, end_grants).map(|id| device(holdings, id))
        }
        Request::DeviceLs => Ok(Reply::Devices(holdings.report().devices)),
        Request::DeviceRm { device } => {
            holdings.remove_device(&device).map(|()| Reply::Removed(device))
        }
        Request::RedirectAdd { subject, redirect } => {
            redirects.set(&subject, &redirect)?;
            return Ok(Reply::Redirects(vec![RedirectRow { subject, redirect }]));
        }
        Request::RedirectLs => {
            let row = |(subject, redirect)| RedirectRow { subject, redirect };
            return Ok(Reply::Redirects(redirects.list()?.into_iter().map(row).collect()));
        }
        Request::RedirectRm { subject } => {
            let is_here = holdings.volume(subject.volume()).is_ok();
            redirects.clear(&subject, is_here)?;
            return Ok(Reply::Removed(format!("redirect of {subject}")));
        }
        other => volume_request(holdings, other),
    };
    reply.map_err(|error| error.full())
}

fn volume_request(holdings: &Arc<Holdings>, request: Request) -> Result<Reply, MediaError> {
    match request {
        Request::VolumeCreate { volume } => {
            let made = holdings.create_volume(&volume)?;
            Ok(one_volume(&holdings.report(), |v| v.id == made.id))
        }
        Request::VolumeGrow { name, size } => {
            let grown = holdings.grow_volume(&name, size)?;
            Ok(one_volume(&holdings.report(), |v| v.id == grown.id))
        }
        Request::VolumeSet { name, write_policy } => {
            let id = holdings.volume(&name)?.id;
            holdings.set_write_policy(&name, write_policy)?;
            Ok(one_volume(&holdings.report(), |v| v.id == id))
        }
        Request::VolumeRm { name, force } => {
            holdings.remove_volume(&name, force).map(|()| Reply::Removed(name))
        }
        Request::VolumeRecover { name } => {
            let back = holdings.recover(&name)?;
            Ok(one_volume(&holdings.report(), |v| v.id == back.id))
        }
        Request::PartitionCreate { volume, partition } => {
            let made = holdings.create_partition(&volume, partition)?;
            partitions(holdings, Some(&volume), |row| row.partition.id == made.id)
        }
        Request::PartitionGrow { volume, number, size } => {
            holdings.grow_partition(&volume, number, size)?;
            partitions(holdings, Some(&volume), |row| row.partition.number == number)
        }
        Request::PartitionRm { volume, number } => {
            holdings.remove_partition(&volume, number)?;
            Ok(Reply::Removed(format!("{volume}.p{number}")))
        }
        Request::PartitionLs { volume } => partitions(holdings, volume.as_deref(), |_| true),
        _ => Ok(Reply::Volumes(holdings.report().volumes)),
    }
}

fn device(holdings: &Holdings, id: uuid::Uuid) -> Reply {
    let devices = holdings.report().devices;
    Reply::Devices(devices.into_iter().filter(|device| device.id == id).collect())
}

fn one_volume(report: &Report, which: impl Fn(&VolumeReport) -> bool) -> Reply {
    Reply::Volumes(report.volumes.iter().filter(|volume| which(volume)).cloned().collect())
}

fn partitions(
    holdings: &Holdings,
    of: Option<&str>,
    which: impl Fn(&PartitionRow) -> bool,
) -> Result<Reply, MediaError> {
    let of = of.map(|name| holdings.volume(name)).transpose()?;
    let volumes = holdings.report().volumes;
    let volumes = volumes.iter().filter(|v| of.as_ref().is_none_or(|of| of.id == v.id));
    let rows = volumes.flat_map(|volume| {
        volume.partitions.iter().map(|partition| PartitionRow {
            volume: volume.name.clone(),
            block_size: volume.block_size,
            partition: *partition,
        })
    });
    Ok(Reply::Partitions(rows.filter(|row| which(row)).collect()))
}
