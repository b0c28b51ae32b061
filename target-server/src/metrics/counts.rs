//! A unit's figures as the unit API has them: what the station makes rates of.

use outband_control::api::{self, Counted, Counts, TargetNames, VolumeCounts};

use super::sample::{SessionSample, ShardSample, TargetSample};
use super::{Histogram, Operation, OperationTally};

/// What `shards` have counted, `at_micros` after the unit's start.
pub fn counts(shards: &[ShardSample], names: &TargetNames, at_micros: u64) -> Counts {
    let targets = shards.iter().flat_map(|shard| &shard.targets);
    let sessions = shards.iter().flat_map(|shard| &shard.sessions);
    Counts {
        at_micros,
        bounds_micros: Histogram::bounds_micros(),
        volumes: targets.filter_map(|target| of_volume(target, names)).collect(),
        sessions: sessions.filter_map(|session| of_session(session, names)).collect(),
    }
}

/// `None` of what the pool has no name for.
fn of_volume(target: &TargetSample, names: &TargetNames) -> Option<VolumeCounts> {
    let of = |operation: Operation| counted(&target.tally.operations[operation as usize]);
    Some(VolumeCounts {
        subject: names.subject(&target.target)?,
        read: of(Operation::Read),
        write: of(Operation::Write),
        failed: target.tally.failures.iter().sum(),
        queue_depth: few(target.queue_depth),
        sessions: few(target.sessions),
    })
}

fn counted(tally: &OperationTally) -> Counted {
    Counted { bytes: tally.bytes, times: tally.duration.events() }
}

fn of_session(session: &SessionSample, names: &TargetNames) -> Option<api::SessionCounts> {
    Some(api::SessionCounts {
        subject: names.subject(&session.target)?,
        host: session.host.clone(),
        source: session.source,
        portal: session.portal,
        commands: session.counts.commands,
        read_bytes: session.counts.read_bytes,
        written_bytes: session.counts.written_bytes,
        queue_depth: few(session.queue_depth),
        window: session.window,
    })
}

fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
