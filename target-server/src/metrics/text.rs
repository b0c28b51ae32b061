//! A unit's figures as Prometheus has them: base units, `_total` for what grows, histograms.

use std::collections::BTreeMap;

use outband_control::api::TargetNames;
use outband_control::metrics::Exposition;
use uuid::Uuid;

use super::sample::{SessionSample, ShardSample, TargetSample, UnitSample};
use super::{DeviceTally, Failure, MediumOperation, Operation, SessionCounts, cpu_seconds};

/// A page of everything in `unit`; volumes are named as `names` has it.
pub fn page(unit: &UnitSample, names: &TargetNames) -> Exposition {
    let mut page = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("outband_unit_info", "The software that runs here.").sample(&version, 1);
    shards(&mut page, &unit.shards);
    let named = |target: &str| {
        names.subject(target).map_or_else(|| target.to_owned(), |subject| subject.to_string())
    };
    let targets = unit.shards.iter().flat_map(|shard| &shard.targets);
    let targets: Vec<_> = targets.map(|target| (named(&target.target), target)).collect();
    commands(&mut page, &targets);
    volumes(&mut page, &targets);
    let all = unit.shards.iter().flat_map(|shard| &shard.sessions);
    sessions(&mut page, all, &named);
    devices(&mut page, unit);
    grants(&mut page, unit);
    page
}

fn shards(page: &mut Exposition, shards: &[ShardSample]) {
    let cpu = cpu_seconds();
    let mut family = page.counter(
        "outband_shard_cpu_seconds_total",
        "Processor time of a shard's thread; its rate is how busy the shard is.",
    );
    for shard in shards {
        if let Some(seconds) = cpu.get(&format!("shard-{}", shard.index)) {
            family.sample(&[("shard", &shard.index.to_string())], seconds);
        }
    }
    type Figure = fn(&ShardSample) -> u64;
    let counters: [(_, _, Figure); 2] = [
        ("outband_shard_turns_total", "Turns of a shard's loop.", |shard| shard.turns),
        (
            "outband_header_digest_errors_total",
            "Connections that ended for a wrong header digest.",
            |shard| shard.header_digest_errors,
        ),
    ];
    for (name, help, figure) in counters {
        let mut family = page.counter(name, help);
        for shard in shards {
            family.sample(&[("shard", &shard.index.to_string())], figure(shard));
        }
    }
    let gauges: [(_, _, Figure); 4] = [
        ("outband_shard_ring_operations", "Operations with the kernel.", |shard| {
            shard.ring_operations as u64
        }),
        ("outband_shard_ring_backlog", "Operations that the ring had no room for.", |shard| {
            shard.backlog as u64
        }),
        ("outband_shard_hungry_tasks", "Commands that wait for a free buffer.", |shard| {
            shard.hungry as u64
        }),
        ("outband_shard_connections", "TCP connections, logged in or not.", |shard| {
            shard.connections as u64
        }),
    ];
    for (name, help, figure) in gauges {
        let mut family = page.gauge(name, help);
        for shard in shards {
            family.sample(&[("shard", &shard.index.to_string())], figure(shard));
        }
    }
    buffers(page, shards);
}

fn buffers(page: &mut Exposition, shards: &[ShardSample]) {
    let pools = |shard: &ShardSample| {
        [
            ("tasks", shard.task_bytes, shard.task_bytes_max),
            ("receive", shard.receive_bytes, shard.receive_bytes_max),
        ]
    };
    let mut used = page.gauge("outband_shard_buffer_used_bytes", "Buffers given out.");
    for shard in shards {
        for (pool, bytes, _) in pools(shard) {
            used.sample(&[("shard", &shard.index.to_string()), ("pool", pool)], bytes);
        }
    }
    let mut limit = page.gauge("outband_shard_buffer_limit_bytes", "Buffers there may be.");
    for shard in shards {
        for (pool, _, bytes) in pools(shard) {
            limit.sample(&[("shard", &shard.index.to_string()), ("pool", pool)], bytes);
        }
    }
}

type Named<'s> = (String, &'s TargetSample);

/// Reads and writes are always there, so that a rate has a beginning; others once they came.
fn is_told(target: &TargetSample, operation: Operation) -> bool {
    matches!(operation, Operation::Read | Operation::Write)
        || target.tally.operations[operation as usize].duration.count() > 0
}

fn commands(page: &mut Exposition, targets: &[Named<'_>]) {
    let told = |target: &TargetSample| {
        Operation::ALL.into_iter().filter(|one| is_told(target, *one)).collect::<Vec<_>>()
    };
    let mut duration = page.histogram(
        "outband_volume_command_duration_seconds",
        "From a command's arrival until its response goes out.",
    );
    for (volume, target) in targets {
        for operation in told(target) {
            let times = &target.tally.operations[operation as usize].duration;
            let labels = [("volume", volume.as_str()), ("operation", operation.label())];
            duration.observed(&labels, times.seconds(), times.buckets());
        }
    }
    let mut store = page.histogram(
        "outband_volume_store_duration_seconds",
        "The part of a command's time in which the store had it.",
    );
    for (volume, target) in targets {
        for operation in told(target) {
            let times = &target.tally.operations[operation as usize].in_store;
            let labels = [("volume", volume.as_str()), ("operation", operation.label())];
            store.observed(&labels, times.seconds(), times.buckets());
        }
    }
    let mut bytes =
        page.counter("outband_volume_bytes_total", "Bytes between hosts and the volume.");
    for (volume, target) in targets {
        for operation in told(target) {
            let labels = [("volume", volume.as_str()), ("operation", operation.label())];
            bytes.sample(&labels, target.tally.operations[operation as usize].bytes);
        }
    }
    let mut failed = page.counter(
        "outband_volume_failed_commands_total",
        "Commands that did not end well, by status and sense key.",
    );
    for (volume, target) in targets {
        for (index, count) in target.tally.failures.iter().enumerate() {
            let (status, sense_key) = Failure::labels(index);
            if *count > 0 || Failure::is_grave(index) {
                let labels =
                    [("volume", volume.as_str()), ("status", status), ("sense_key", sense_key)];
                failed.sample(&labels, count);
            }
        }
    }
}

fn volumes(page: &mut Exposition, targets: &[Named<'_>]) {
    type Figure = fn(&TargetSample) -> u64;
    let gauges: [(_, _, Figure); 5] = [
        ("outband_volume_size_bytes", "Length of the volume or partition.", |at| at.size),
        ("outband_volume_queue_depth", "Commands under way.", |at| at.queue_depth as u64),
        ("outband_volume_sessions", "Sessions logged in.", |at| at.sessions as u64),
        (
            "outband_volume_unsynced_writes",
            "Acknowledged writes that a power failure could take.",
            |at| at.unsynced,
        ),
        ("outband_volume_faulted", "1 after a sync failed, until `volume recover`.", |at| {
            u64::from(at.faulted)
        }),
    ];
    for (name, help, figure) in gauges {
        let mut family = page.gauge(name, help);
        for (volume, target) in targets {
            family.sample(&[("volume", volume)], figure(target));
        }
    }
    for (name, help, figure) in CONCERNS {
        let mut family = page.counter(name.0, help);
        for (volume, target) in targets {
            family.sample(&[("volume", volume)], figure(&target.tally.past));
        }
    }
}

type OfSession = fn(&SessionCounts) -> u64;

/// What troubles sessions: the name by volume, ended sessions included, and by session.
const CONCERNS: [((&str, &str), &str, OfSession); 3] = [
    (
        ("outband_volume_data_digest_errors_total", "outband_session_data_digest_errors_total"),
        "Data segments whose digest was wrong.",
        |counts| counts.data_digest_errors,
    ),
    (
        ("outband_volume_r2t_waits_total", "outband_session_r2t_waits_total"),
        "Writes whose R2T had to wait for a free buffer.",
        |counts| counts.r2t_waits,
    ),
    (
        ("outband_volume_window_stalls_total", "outband_session_window_stalls_total"),
        "Commands that left the command window closed.",
        |counts| counts.window_stalls,
    ),
];

/// Sessions of one host from one address to one portal are told of together.
fn sessions<'s>(
    page: &mut Exposition,
    sessions: impl Iterator<Item = &'s SessionSample>,
    named: &dyn Fn(&str) -> String,
) {
    let mut all = BTreeMap::<[String; 4], SessionCounts>::new();
    for session in sessions {
        let SessionSample { target, host, source, portal, counts, .. } = session;
        let of = [named(target), host.clone(), source.ip().to_string(), portal.to_string()];
        all.entry(of).or_default().add(counts);
    }
    let own: [((&str, &str), &str, OfSession); 3] = [
        (("", "outband_session_commands_total"), "Commands answered.", |counts| counts.commands),
        (("", "outband_session_read_bytes_total"), "Bytes to the host.", |counts| {
            counts.read_bytes
        }),
        (("", "outband_session_written_bytes_total"), "Bytes from the host.", |counts| {
            counts.written_bytes
        }),
    ];
    for ((_, name), help, figure) in own.into_iter().chain(CONCERNS) {
        let mut family = page.counter(name, help);
        for ([volume, host, source, portal], counts) in &all {
            let labels =
                [("volume", &**volume), ("host", host), ("source", source), ("portal", portal)];
            family.sample(&labels, figure(counts));
        }
    }
}

fn devices(page: &mut Exposition, unit: &UnitSample) {
    let mut tallies = BTreeMap::<Uuid, DeviceTally>::new();
    for (device, tally) in unit.shards.iter().flat_map(|shard| &shard.devices) {
        tallies.entry(*device).or_default().add(tally);
    }
    type Figure = fn(&super::sample::DeviceSample) -> u64;
    let gauges: [(_, _, Figure); 3] = [
        ("outband_device_size_bytes", "Space for volumes.", |device| device.size),
        ("outband_device_free_bytes", "Space that no volume has.", |device| device.free),
        ("outband_device_healthy", "1 while the device is there and works.", |device| {
            u64::from(device.healthy)
        }),
    ];
    let ids: Vec<_> = unit.devices.iter().map(|device| device.id.to_string()).collect();
    for (name, help, figure) in gauges {
        let mut family = page.gauge(name, help);
        for (device, id) in unit.devices.iter().zip(&ids) {
            family.sample(&[("device", id), ("path", &device.path)], figure(device));
        }
    }
    let mut times = page.histogram(
        "outband_device_operation_duration_seconds",
        "From asking the device until its answer was seen.",
    );
    for (device, id) in unit.devices.iter().zip(&ids) {
        let Some(tally) = tallies.get(&device.id) else { continue };
        for operation in MediumOperation::ALL {
            let took = &tally.operations[operation as usize];
            let labels =
                [("device", &**id), ("path", &device.path), ("operation", operation.label())];
            times.observed(&labels, took.seconds(), took.buckets());
        }
    }
    let mut errors =
        page.counter("outband_device_errors_total", "Operations that the device failed.");
    for (device, id) in unit.devices.iter().zip(&ids) {
        let count = tallies.get(&device.id).map_or(0, |tally| tally.errors);
        errors.sample(&[("device", id), ("path", &device.path)], count);
    }
}

fn grants(page: &mut Exposition, unit: &UnitSample) {
    let mut epochs =
        page.gauge("outband_grant_epoch", "Epoch of the grant by which a host uses a volume.");
    for (volume, host, epoch) in &unit.grants {
        epochs.sample(&[("volume", volume), ("host", host)], epoch);
    }
    if let Some(fences) = unit.fences {
        let help = "Grants ended by a fence since the start.";
        page.counter("outband_fences_total", help).sample(&[], fences);
    }
}
