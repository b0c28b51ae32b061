//! Answers as tables for people.

use outband_pool_api::Size;

use super::wire::{PartitionRow, Reply};
use crate::media::{DeviceReport, VolumeReport, WritePolicy};

pub(super) fn of(reply: &Reply) -> String {
    match reply {
        Reply::Devices(devices) => table(
            &["DEVICE", "KIND", "SIZE", "FREE", "LARGEST", "STATE", "ID"],
            devices.iter().map(device),
        ),
        Reply::Volumes(volumes) => table(
            &["VOLUME", "SIZE", "START LBA", "END LBA", "BLOCKS", "BLOCK", "POLICY", "STATE", "ID"],
            volumes.iter().map(volume),
        ),
        Reply::Partitions(partitions) => table(
            &["PARTITION", "SIZE", "START LBA", "END LBA", "BLOCKS", "ID"],
            partitions.iter().map(partition),
        ),
        Reply::Redirects(redirects) => table(
            &["TARGET", "ADDRESS", "FOR"],
            redirects.iter().map(|row| {
                let lasts = if row.redirect.permanent { "good" } else { "this login" };
                let redirect = &row.redirect;
                vec![row.subject.to_string(), redirect.address.to_string(), lasts.to_owned()]
            }),
        ),
        // For who helps; a table of all that would be none.
        Reply::Dump(dump) => format!("{dump:#}\n"),
        Reply::Log(filter) => format!("the log says {filter} now\n"),
        Reply::Removed(name) => format!("removed {name}\n"),
    }
}

fn device(device: &DeviceReport) -> Vec<String> {
    let state = match (&device.missing, device.read_only, device.volatile) {
        (Some(why), _, _) => format!("missing: {why}"),
        (None, true, _) => "read-only".to_owned(),
        (None, false, true) => "volatile".to_owned(),
        (None, false, false) => "online".to_owned(),
    };
    vec![
        device.path.display().to_string(),
        device.kind.map_or_else(|| "-".to_owned(), |kind| kind.to_string()),
        Size(device.size).to_string(),
        Size(device.free).to_string(),
        Size(device.largest_free).to_string(),
        state,
        device.id.to_string(),
    ]
}

fn volume(volume: &VolumeReport) -> Vec<String> {
    let policy = match volume.write_policy {
        WritePolicy::Normal => "normal",
        WritePolicy::High => "high",
    };
    let state = match &volume.reason {
        Some(reason) => format!("{}: {reason}", volume.state),
        None => volume.state.to_string(),
    };
    vec![
        volume.name.to_string(),
        Size(volume.size).to_string(),
        volume.start_lba.to_string(),
        volume.end_lba.to_string(),
        volume.blocks.to_string(),
        volume.block_size.to_string(),
        policy.to_owned(),
        state,
        volume.id.to_string(),
    ]
}

fn partition(row: &PartitionRow) -> Vec<String> {
    let partition = &row.partition;
    vec![
        format!("{}.p{}", row.volume, partition.number),
        Size(partition.blocks * u64::from(row.block_size)).to_string(),
        partition.start.to_string(),
        (partition.end() - 1).to_string(),
        partition.blocks.to_string(),
        partition.id.to_string(),
    ]
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![head.iter().map(ToString::to_string).collect()];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().map(|line: &Vec<String>| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
