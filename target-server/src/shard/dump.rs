//! A look inside for support: what every task of a shard is doing at this moment.

use outband_ring::Ring;

use super::Shard;
use super::peer::Phase;
use super::task::{Stage, Task};
use crate::metrics::Operation;
use crate::metrics::sample::{ShardDump, TaskSample};

/// Tasks told of one shard; a dump is read by people, and sent in one line.
const TASKS_MAX: usize = 4096;

impl<R: Ring> Shard<R> {
    /// Figures, and the tasks under way, oldest first.
    pub(super) fn dump(&self) -> ShardDump {
        let tick = self.desk.meter.tick();
        let inside = self.peers.values().filter_map(|peer| match &peer.phase {
            Phase::Inside(conn) => Some((peer.wire.peer, conn)),
            _ => None,
        });
        let tasks = inside.flat_map(|(source, conn)| {
            let target = conn.target.and_then(|key| self.desk.targets.get(key));
            let target = target.map(|target| target.name.to_string()).unwrap_or_default();
            conn.tasks.iter().flatten().filter(|task| is_under_way(task)).map(move |task| {
                TaskSample { source, target: target.clone(), ..sample(task, tick) }
            })
        });
        let mut tasks: Vec<_> = tasks.collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.age_micros));
        let untold_tasks = tasks.len().saturating_sub(TASKS_MAX);
        tasks.truncate(TASKS_MAX);
        ShardDump { figures: self.measure(), tasks, untold_tasks }
    }
}

/// One that was answered is over for its host; its place is kept until the next has it.
fn is_under_way(task: &Task) -> bool {
    task.stage != Stage::Ended
}

fn sample(task: &Task, tick: u64) -> TaskSample {
    TaskSample {
        target: String::new(),
        source: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        itt: task.command.itt.0,
        operation: Operation::of(task.command.cdb[0]).label(),
        stage: word(task.stage),
        at: task.at,
        bytes: task.len,
        age_micros: task.clock.until(tick) / 1000,
        in_store_micros: task.clock.in_store() / 1000,
    }
}

/// As [`Stage`] has it, in a word.
fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Dormant => "dormant",
        Stage::Hungry => "waits-for-buffer",
        Stage::Collecting => "collects-data",
        Stage::Claiming => "waits-for-range",
        Stage::Waiting => "waits",
        Stage::Storing => "in-store",
        Stage::Reserving => "reserves",
        Stage::Sending => "sends",
        Stage::Ended => "answered",
        Stage::Draining => "aborted-in-store",
    }
}
