//! Who used the processors: a server's process, this one, and everybody.

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Readings of one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    own: Duration,
    servers: Duration,
    busy: Duration,
    steal: Duration,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// How long it was.
    pub wall: Duration,
    /// By this process.
    pub own: Duration,
    /// By the servers, their kernel threads included.
    pub servers: Duration,
    /// By anybody else, or taken by the hypervisor.
    pub others: Duration,
}

impl Reading {
    /// Now. Processes that are not there have used nothing.
    #[must_use]
    pub fn now(servers: &[u32]) -> Self {
        let (busy, steal) = machine();
        Self {
            at: Instant::now(),
            own: own(),
            servers: servers.iter().filter_map(|pid| process(*pid)).sum(),
            busy,
            steal,
        }
    }

    /// From then until `later`.
    #[must_use]
    pub fn until(&self, later: &Self) -> Used {
        let own = later.own.saturating_sub(self.own);
        let servers = later.servers.saturating_sub(self.servers);
        let busy = later.busy.saturating_sub(self.busy);
        let steal = later.steal.saturating_sub(self.steal);
        Used {
            wall: later.at.saturating_duration_since(self.at),
            own,
            servers,
            others: busy.saturating_sub(own).saturating_sub(servers) + steal,
        }
    }
}

fn own() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// User and system time of a process, of all its threads and of children it has waited for.
fn process(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    process_ticks(&text).map(ticks)
}

/// Fields 14 to 17 of proc_pid_stat(5); the second may have blanks and brackets of its own.
fn process_ticks(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields = fields.split_ascii_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

/// All processors: busy (user, nice, system, irq, softirq), and steal.
fn machine() -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let (busy, steal) = machine_ticks(&text).unwrap_or_default();
    (ticks(busy), ticks(steal))
}

/// The first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn machine_ticks(text: &str) -> Option<(u64, u64)> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let fields: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|field| fields.get(*field)).sum();
    Some((busy, *fields.get(7)?))
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let text = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1";
        assert_eq!(process_ticks(text), Some(127));
        assert_eq!(process_ticks("17 (x) S 1 2"), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(machine_ticks("cpu  1 2 3 1000 2000 4 5 6 0 0\n"), Some((15, 6)));
    }

    #[test]
    fn what_this_process_uses_is_counted_for_it() {
        let before = Reading::now(&[std::process::id()]);
        let mut sum = 0u64;
        while own() < before.own + Duration::from_millis(50) {
            sum = (0..10_000).fold(sum, |sum, number| sum ^ std::hint::black_box(number));
        }
        let used = before.until(&Reading::now(&[std::process::id()]));
        assert!(used.own >= Duration::from_millis(50));
        assert!(used.servers >= Duration::from_millis(20), "{used:?}");
    }
}
