//! The processor time of a process' threads, by their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Seconds that each thread of this process has run, by thread name; those of one name together.
/// Empty where the kernel does not tell.
pub fn cpu_seconds() -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return seconds;
    };
    for thread in threads.flatten() {
        if let Some((name, ran)) = of_thread(&thread.path()) {
            *seconds.entry(name).or_default() += ran;
        }
    }
    seconds
}

/// A thread that has ended meanwhile has nothing to tell.
fn of_thread(thread: &Path) -> Option<(String, f64)> {
    let name = fs::read_to_string(thread.join("comm")).ok()?;
    let times = fs::read_to_string(thread.join("schedstat")).ok()?;
    let nanoseconds: u64 = times.split_whitespace().next()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a time is not exact to begin with")]
    let seconds = nanoseconds as f64 / 1e9;
    Some((name.trim_end().to_owned(), seconds))
}
