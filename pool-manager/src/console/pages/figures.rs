//! How fast a volume is right now, as its page shows it.

use outband_pool_api::{LatencyBucket, Rate, Rates, SessionRates, Size, VolumeRates};

use crate::console::words::{grouped, took};

/// What is known of it; nothing yet when nobody has looked before.
pub(super) struct Figures {
    pub(super) volumes: Vec<VolumeFigures>,
    pub(super) sessions: Vec<SessionRow>,
}

pub(super) struct VolumeFigures {
    pub(super) name: String,
    pub(super) rows: [RateRow; 2],
    pub(super) queue_depth: u32,
    /// Absent when no command fails.
    pub(super) failed: Option<String>,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct RateRow {
    pub(super) name: &'static str,
    pub(super) commands: String,
    pub(super) data: String,
    pub(super) p50: String,
    pub(super) p99: String,
}

/// One bucket: reads and writes in thousandths of the fullest one.
pub(super) struct Bar {
    pub(super) bound: String,
    pub(super) count: String,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

pub(super) struct SessionRow {
    pub(super) volume: String,
    pub(super) initiator: String,
    pub(super) source: String,
    pub(super) portal: String,
    pub(super) commands: String,
    pub(super) read: String,
    pub(super) written: String,
    pub(super) queue: String,
}

impl Figures {
    pub(super) fn of(rates: &Rates) -> Self {
        Self {
            volumes: rates.volumes.iter().map(volume).collect(),
            sessions: rates.sessions.iter().map(session).collect(),
        }
    }
}

fn per_second(bytes: u64) -> String {
    format!("{}/s", Size(bytes))
}

fn volume(of: &VolumeRates) -> VolumeFigures {
    let failed = of.failed_per_second;
    VolumeFigures {
        name: of.volume.clone(),
        rows: [row("Reads", of.read), row("Writes", of.write)],
        queue_depth: of.queue_depth,
        failed: (failed > 0).then(|| grouped(failed)),
        bars: bars(&of.latency),
    }
}

fn row(name: &'static str, rate: Rate) -> RateRow {
    let time = |micros: Option<u64>| micros.map(took).unwrap_or_default();
    RateRow {
        name,
        commands: grouped(rate.per_second),
        data: per_second(rate.bytes_per_second),
        p50: time(rate.p50_micros),
        p99: time(rate.p99_micros),
    }
}

/// From the first bucket that has anything to the last.
fn bars(latency: &[LatencyBucket]) -> Vec<Bar> {
    let all = |bucket: &LatencyBucket| bucket.reads.saturating_add(bucket.writes);
    let most = u128::from(latency.iter().map(all).max().unwrap_or(0).max(1));
    // Whatever there is, is seen.
    let part =
        |events: u64| u64::try_from((u128::from(events) * 1000).div_ceil(most)).unwrap_or(1000);
    let used = latency.iter().skip_while(|bucket| all(bucket) == 0);
    let bar = |bucket: &LatencyBucket| Bar {
        bound: bucket
            .up_to_micros
            .map_or_else(|| "longer".to_owned(), |to| format!("up to {}", took(to))),
        count: grouped(all(bucket)),
        reads: part(bucket.reads),
        writes: part(bucket.writes),
    };
    used.map(bar).collect()
}

fn session(of: &SessionRates) -> SessionRow {
    SessionRow {
        volume: of.volume.clone(),
        initiator: of.initiator.clone(),
        source: of.source.clone(),
        portal: of.portal.clone(),
        commands: grouped(of.commands_per_second),
        read: per_second(of.read_bytes_per_second),
        written: per_second(of.written_bytes_per_second),
        queue: format!("{} of {}", of.queue_depth, of.window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_bucket_is_whole_and_what_there_is_of_others_is_seen() {
        let bucket = |up_to_micros, reads, writes| LatencyBucket { up_to_micros, reads, writes };
        let latency = [
            bucket(Some(8), 0, 0),
            bucket(Some(16), 900_000, 100_000),
            bucket(Some(2_048), 0, 0),
            bucket(None, 0, 1),
        ];
        let bars = bars(&latency);
        let shown: Vec<_> =
            bars.iter().map(|bar| (bar.bound.as_str(), bar.reads, bar.writes)).collect();
        assert_eq!(shown, [("up to 16 µs", 900, 100), ("up to 2.0 ms", 0, 0), ("longer", 0, 1)]);
        assert!(super::bars(&latency[..1]).is_empty());
    }
}
