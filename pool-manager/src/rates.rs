//! What a unit has counted at two looks, made into rates. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use outband_control::access::Subject;
use outband_control::api::{Counted, Counts, SessionCounts, VolumeCounts};
use outband_pool_api::{LatencyBucket, Rate, Rates, SessionRates, VolumeRates};

/// Two looks at a unit that are less apart than this (in microseconds) make no rate.
const APART_MIN: u64 = 100_000;

/// What happened on the unit `unit` between two looks at it. A volume or session that is new, or that
/// is counted from 0 again, is left out: nothing is known of how long it took. `None` if the unit has
/// started anew between them.
pub fn between(before: &Counts, now: &Counts, unit: &str) -> Option<Rates> {
    let micros = now.at_micros.checked_sub(before.at_micros).filter(|it| *it >= APART_MIN)?;
    let since = Since { micros, unit, bounds: &now.bounds_micros };
    let known: BTreeMap<&Subject, &VolumeCounts> =
        before.volumes.iter().map(|volume| (&volume.subject, volume)).collect();
    let volume = |now: &VolumeCounts| since.volume(known.get(&now.subject)?, now);
    let known: BTreeMap<(&Subject, SocketAddr, SocketAddr), &SessionCounts> =
        before.sessions.iter().map(|session| (key(session), session)).collect();
    let session = |now: &SessionCounts| since.session(known.get(&key(now))?, now);
    Some(Rates {
        volumes: now.volumes.iter().filter_map(volume).collect(),
        sessions: now.sessions.iter().filter_map(session).collect(),
        silent: Vec::new(),
    })
}

/// A session has one connection, and that has one pair of addresses.
fn key(session: &SessionCounts) -> (&Subject, SocketAddr, SocketAddr) {
    (&session.subject, session.source, session.portal)
}

/// How long the commands of a volume took since it is served, by bucket up to the last one in use.
pub fn latency(counts: &Counts, volume: &VolumeCounts) -> Vec<LatencyBucket> {
    let used = volume.read.times.len().max(volume.write.times.len());
    let events = |of: &Counted, bucket: usize| of.times.get(bucket).copied().unwrap_or(0);
    let bucket = |bucket| LatencyBucket {
        up_to_micros: counts.bounds_micros.get(bucket).copied(),
        reads: events(&volume.read, bucket),
        writes: events(&volume.write, bucket),
    };
    // A unit says how many buckets there are; it is not believed without end.
    (0..used.min(counts.bounds_micros.len() + 1)).map(bucket).collect()
}

struct Since<'a> {
    micros: u64,
    unit: &'a str,
    bounds: &'a [u64],
}

impl Since<'_> {
    fn volume(&self, before: &VolumeCounts, now: &VolumeCounts) -> Option<VolumeRates> {
        Some(VolumeRates {
            volume: now.subject.to_string(),
            unit: self.unit.to_owned(),
            over_millis: self.micros / 1000,
            read: self.rate(&before.read, &now.read)?,
            write: self.rate(&before.write, &now.write)?,
            // One that failed is seen, however long ago the look before was.
            failed_per_second: self.times_a_second(before.failed, now.failed, u128::div_ceil)?,
            queue_depth: now.queue_depth,
            sessions: now.sessions,
            latency: Vec::new(),
        })
    }

    fn session(&self, before: &SessionCounts, now: &SessionCounts) -> Option<SessionRates> {
        Some(SessionRates {
            volume: now.subject.to_string(),
            unit: self.unit.to_owned(),
            initiator: now.host.clone(),
            source: now.source.to_string(),
            portal: now.portal.to_string(),
            commands_per_second: self.per_second(before.commands, now.commands)?,
            read_bytes_per_second: self.per_second(before.read_bytes, now.read_bytes)?,
            written_bytes_per_second: self.per_second(before.written_bytes, now.written_bytes)?,
            queue_depth: now.queue_depth,
            window: now.window,
        })
    }

    fn rate(&self, before: &Counted, now: &Counted) -> Option<Rate> {
        let mut times = now.times.clone();
        for (bucket, known) in before.times.iter().enumerate() {
            let events = times.get_mut(bucket)?;
            *events = events.checked_sub(*known)?;
        }
        let commands = times.iter().fold(0_u64, |sum, events| sum.saturating_add(*events));
        Some(Rate {
            per_second: self.per_second(0, commands)?,
            bytes_per_second: self.per_second(before.bytes, now.bytes)?,
            p50_micros: percentile(self.bounds, &times, 50),
            p99_micros: percentile(self.bounds, &times, 99),
        })
    }

    fn per_second(&self, before: u64, now: u64) -> Option<u64> {
        self.times_a_second(before, now, |events, micros| (events + micros / 2) / micros)
    }

    fn times_a_second(
        &self,
        before: u64,
        now: u64,
        quotient: impl Fn(u128, u128) -> u128,
    ) -> Option<u64> {
        let events = u128::from(now.checked_sub(before)?) * 1_000_000;
        Some(u64::try_from(quotient(events, self.micros.into())).unwrap_or(u64::MAX))
    }
}

/// The time, in microseconds, that `percent` of a hundred events did not exceed: a straight line
/// through the bucket in which the event of that rank lies. What is in the bucket without a bound took
/// at least as long as the last bound.
fn percentile(bounds: &[u64], times: &[u64], percent: u64) -> Option<u64> {
    let wide = |events: u64| u128::from(events);
    let all: u128 = times.iter().copied().map(wide).sum();
    let rank = (all * wide(percent)).div_ceil(100);
    let mut below = 0_u128;
    for (bucket, events) in times.iter().copied().map(wide).enumerate() {
        if events > 0 && below + events >= rank {
            let from = bucket.checked_sub(1).and_then(|before| bounds.get(before));
            let from = from.copied().unwrap_or(0);
            let Some(to) = bounds.get(bucket) else {
                return bounds.last().copied();
            };
            let part = wide(to.saturating_sub(from)) * (rank - below) / events;
            return Some(from.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)));
        }
        below += events;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, times: &[u64], bytes: u64) -> VolumeCounts {
        VolumeCounts {
            subject: name.parse().unwrap(),
            read: Counted { bytes, times: times.to_vec() },
            write: Counted::default(),
            failed: 0,
            queue_depth: 3,
            sessions: 1,
        }
    }

    fn session(port: u16, commands: u64) -> SessionCounts {
        SessionCounts {
            subject: "v".parse().unwrap(),
            host: "iqn.2026-11.test:a".to_owned(),
            source: SocketAddr::from(([192, 0, 2, 9], port)),
            portal: SocketAddr::from(([192, 0, 2, 1], 3260)),
            commands,
            read_bytes: 4096 * commands,
            written_bytes: 0,
            queue_depth: 0,
            window: 128,
        }
    }

    fn counts(at_micros: u64, volumes: Vec<VolumeCounts>) -> Counts {
        Counts { at_micros, bounds_micros: vec![8, 16, 32], volumes, sessions: Vec::new() }
    }

    #[test]
    fn what_happened_between_two_looks_is_said_per_second() {
        let before = counts(1_000_000, vec![volume("v", &[10], 1 << 20)]);
        let now = counts(3_000_000, vec![volume("v", &[10, 0, 30], 9 << 20)]);
        let rates = between(&before, &now, "u").unwrap();
        let of = &rates.volumes[0];
        let told = (&*of.volume, &*of.unit, of.over_millis, of.queue_depth, of.failed_per_second);
        assert_eq!(told, ("v", "u", 2000, 3, 0));
        // Ranks 15 and 30 of 30 between 16 and 32 µs.
        let (p50, p99) = (Some(24), Some(32));
        let read =
            Rate { per_second: 15, bytes_per_second: 4 << 20, p50_micros: p50, p99_micros: p99 };
        assert_eq!((of.read, of.write), (read, Rate::default()));
    }

    #[test]
    fn a_failure_is_seen_however_long_the_look_before_is_ago() {
        let before = counts(0, vec![volume("v", &[1], 0)]);
        let mut now = counts(60_000_000, vec![volume("v", &[1], 0)]);
        now.volumes[0].failed = 1;
        assert_eq!(between(&before, &now, "u").unwrap().volumes[0].failed_per_second, 1);
    }

    #[test]
    fn of_what_is_new_or_counted_from_0_again_nothing_is_said() {
        let mut before = counts(0, vec![volume("v", &[5], 0), volume("w", &[5], 0)]);
        let mut now = counts(1_000_000, vec![volume("v", &[6], 0), volume("w", &[4], 0)]);
        now.volumes.push(volume("x", &[1], 0));
        before.sessions = vec![session(1, 7), session(2, 7)];
        now.sessions = vec![session(1, 9), session(2, 1), session(3, 1)];
        let rates = between(&before, &now, "u").unwrap();
        let volumes: Vec<_> = rates.volumes.iter().map(|volume| volume.volume.as_str()).collect();
        let sessions: Vec<_> = rates
            .sessions
            .iter()
            .map(|session| (session.source.as_str(), session.commands_per_second))
            .collect();
        assert_eq!((volumes, sessions), (vec!["v"], vec![("192.0.2.9:1", 2)]));
        assert_eq!(between(&now, &before, "u"), None, "it has started anew");
        assert_eq!(between(&now, &now, "u"), None, "no time has passed");
    }

    #[test]
    fn a_percentile_lies_in_the_bucket_of_its_rank() {
        let table: [(&[u64], u64, Option<u64>); 8] = [
            (&[], 50, None),
            (&[0, 0], 50, None),
            (&[4], 50, Some(4)),
            (&[0, 1], 99, Some(16)),
            (&[1, 1], 50, Some(8)),
            (&[99, 1], 99, Some(8)),
            (&[98, 2], 99, Some(12)),
            (&[0, 0, 0, 9], 50, Some(32)),
        ];
        for (times, percent, expected) in table {
            assert_eq!(percentile(&[8, 16, 32], times, percent), expected, "{times:?} {percent}");
        }
        let most = [u64::MAX, u64::MAX];
        assert_eq!(percentile(&[u64::MAX], &most, 99), Some(u64::MAX));
    }

    #[test]
    fn a_unit_that_says_nonsense_breaks_nothing() {
        let strange = |times: &[u64]| Counts {
            bounds_micros: Vec::new(),
            ..counts(1, vec![volume("v", times, 0)])
        };
        let now = Counts { at_micros: u64::MAX, ..strange(&[u64::MAX, u64::MAX]) };
        let rates = between(&strange(&[]), &now, "u").unwrap();
        assert_eq!(rates.volumes[0].read.p50_micros, None);
        assert_eq!(latency(&now, &now.volumes[0]).len(), 1);
    }
}
