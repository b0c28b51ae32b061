//! What the control plane runs on: tasks of processes, timers, and the moments between them. One
//! poll of a task is one *step*. A process may be killed after any step, and a disk or a store is
//! waited for before and after it does its work, so that a process dies there, too.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use outband_control::machine::{Machine, SharedMachine, Task};

use crate::Moment;
use crate::rng::Rng;

/// A task that was woken is polled at most this much later, so that tasks overtake each other.
const LATENCY_MAX: Duration = Duration::from_micros(40);
/// A disk or a store takes at most this long, before and after.
const STORE_TIME_MAX: Duration = Duration::from_micros(400);
/// The time of day when a simulation begins: some day in 2026.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// A process in one of its lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Process(pub u32);

/// What is on its way is nobody's, and goes on when its sender has died.
pub const NETWORK: Process = Process(0);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct TaskId(u64);

#[derive(Debug)]
enum Due {
    Poll(TaskId),
    Wake(Waker),
}

struct Slot {
    process: Process,
    /// Absent while it is polled.
    task: Option<Task>,
    /// A poll of it is in the queue.
    due: bool,
}

struct State {
    base: Instant,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Due>,
    numbers: u64,
    processes: u32,
    tasks: BTreeMap<TaskId, Slot>,
    rng: Rng,
}

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Kernel {
    state: Arc<Mutex<State>>,
    /// Apart from the rest: tasks are woken while that is locked.
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

struct TaskWaker {
    id: TaskId,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

impl Kernel {
    /// Without processes. `base` is the instant of moment zero.
    #[must_use]
    pub fn new(base: Instant, rng: Rng) -> Self {
        let state = State {
            base,
            now: Moment::ZERO,
            queue: BTreeMap::new(),
            numbers: 0,
            processes: 0,
            tasks: BTreeMap::new(),
            rng,
        };
        Self { state: Arc::new(Mutex::new(state)), woken: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process, and what it has of its machine.
    pub fn process(&self) -> (Process, SharedMachine) {
        let mut state = self.state();
        state.processes += 1;
        let process = Process(state.processes);
        let rng = Mutex::new(state.rng.fork());
        drop(state);
        (process, Arc::new(SimMachine { kernel: self.clone(), process, rng }))
    }

    /// Starts a task.
    pub fn spawn(&self, process: Process, task: impl Future<Output = ()> + Send + 'static) {
        self.add(process, Box::pin(task));
    }

    fn add(&self, process: Process, task: Task) {
        let mut state = self.state();
        state.numbers += 1;
        let id = TaskId(state.numbers);
        state.tasks.insert(id, Slot { process, task: Some(task), due: false });
        state.call(id);
    }

    /// Ends a process wherever its tasks are.
    pub fn kill(&self, process: Process) {
        let mut state = self.state();
        let (killed, left) =
            std::mem::take(&mut state.tasks).into_iter().partition(|(_, s)| s.process == process);
        state.tasks = left;
        drop(state);
        // What dies with them may wake others.
        let killed: BTreeMap<TaskId, Slot> = killed;
        drop(killed);
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next_time(&self) -> Option<Moment> {
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        let mut state = self.state();
        woken.into_iter().for_each(|id| state.call(id));
        state.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// It is `now`.
    pub fn set_now(&self, now: Moment) {
        let mut state = self.state();
        state.now = state.now.max(now);
    }

    /// Does what is next. Answers whose step it was, if it was one.
    pub fn step(&self) -> Option<Process> {
        let (_, due) = self.state().queue.pop_first()?;
        let id = match due {
            Due::Wake(waker) => {
                waker.wake();
                return None;
            }
            Due::Poll(id) => id,
        };
        let mut state = self.state();
        let slot = state.tasks.get_mut(&id)?;
        slot.due = false;
        let (process, mut task) = (slot.process, slot.task.take()?);
        drop(state);
        let waker = Waker::from(Arc::new(TaskWaker { id, woken: Arc::clone(&self.woken) }));
        let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.state();
        if done {
            state.tasks.remove(&id);
        } else if let Some(slot) = state.tasks.get_mut(&id) {
            slot.task = Some(task);
            return Some(process);
        }
        drop(state);
        Some(process)
    }

    fn sleep_until(&self, at: Moment) -> Sleep {
        Sleep { kernel: self.clone(), at, asked: None }
    }

    /// Done after `delay`.
    #[must_use]
    pub fn after(&self, delay: Duration) -> Task {
        let at = self.state().now + delay;
        Box::pin(self.sleep_until(at))
    }

    /// A pause that a store or a disk makes.
    fn pause(&self) -> Sleep {
        let mut state = self.state();
        let at = state.now + state.rng.time(Duration::ZERO..STORE_TIME_MAX);
        drop(state);
        self.sleep_until(at)
    }
}

impl State {
    /// Has a task polled soon.
    fn call(&mut self, id: TaskId) {
        let at = self.now + self.rng.time(Duration::ZERO..LATENCY_MAX);
        if let Some(slot) = self.tasks.get_mut(&id)
            && !std::mem::replace(&mut slot.due, true)
        {
            self.put(at, Due::Poll(id));
        }
    }

    fn put(&mut self, at: Moment, due: Due) {
        self.numbers += 1;
        self.queue.insert((at, self.numbers), due);
    }
}

struct Sleep {
    kernel: Kernel,
    at: Moment,
    asked: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let kernel = self.kernel.clone();
        let mut state = kernel.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        if self.asked.as_ref().is_none_or(|asked| !asked.will_wake(context.waker())) {
            state.put(self.at, Due::Wake(context.waker().clone()));
            self.asked = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

/// What a process has of its machine.
struct SimMachine {
    kernel: Kernel,
    process: Process,
    rng: Mutex<Rng>,
}

impl fmt::Debug for SimMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}

impl Machine for SimMachine {
    fn now(&self) -> Instant {
        let state = self.kernel.state();
        state.base + state.now
    }

    fn since_1970(&self) -> Duration {
        EPOCH + self.kernel.state().now
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }

    fn sleep_until(&self, at: Instant) -> Task {
        let base = self.kernel.state().base;
        Box::pin(self.kernel.sleep_until(at.saturating_duration_since(base)))
    }

    fn spawn(&self, task: Task) {
        self.kernel.add(self.process, task);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Task {
        let kernel = self.kernel.clone();
        Box::pin(async move {
            kernel.pause().await;
            work();
            kernel.pause().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn run(kernel: &Kernel, steps: u32) {
        for _ in 0..steps {
            let Some(at) = kernel.next_time() else {
                return;
            };
            kernel.set_now(at);
            kernel.step();
        }
    }

    #[test]
    fn a_killed_process_does_not_go_on_and_others_do() {
        let kernel = Kernel::new(Instant::now(), Rng::new(1));
        let count = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let processes: Vec<_> = count
            .iter()
            .map(|count| {
                let ((process, machine), count) = (kernel.process(), Arc::clone(count));
                kernel.spawn(process, async move {
                    loop {
                        count.fetch_add(1, Ordering::Relaxed);
                        machine.sleep_until(machine.now() + Duration::from_secs(1)).await;
                    }
                });
                process
            })
            .collect();
        run(&kernel, 20);
        let before = count[0].load(Ordering::Relaxed);
        assert!(before > 2);
        kernel.kill(processes[0]);
        run(&kernel, 20);
        assert_eq!(count[0].load(Ordering::Relaxed), before);
        assert!(count[1].load(Ordering::Relaxed) > before);
    }

    #[test]
    fn work_of_a_disk_takes_time_before_and_after() {
        let kernel = Kernel::new(Instant::now(), Rng::new(2));
        let (process, machine) = kernel.process();
        let done = Arc::new(AtomicU32::new(0));
        let (work, after) = (Arc::clone(&done), Arc::clone(&done));
        kernel.spawn(process, async move {
            machine.blocking(move || work.store(1, Ordering::Relaxed)).await;
            after.store(2, Ordering::Relaxed);
        });
        let mut seen = Vec::new();
        for _ in 0..20 {
            run(&kernel, 1);
            seen.push(done.load(Ordering::Relaxed));
        }
        seen.dedup();
        assert_eq!(seen, [0, 1, 2]);
    }
}
