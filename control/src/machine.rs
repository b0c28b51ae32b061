//! What a process has of its machine: time, randomness and tasks. Everything that waits or draws
//! goes through a [`Machine`], so that the simulator can run the same code in virtual time and kill
//! it between any two of its steps.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use uuid::Uuid;

/// Something under way.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The machine of a process.
pub type SharedMachine = Arc<dyn Machine>;

/// See the module.
pub trait Machine: fmt::Debug + Send + Sync + 'static {
    /// Time that only grows.
    fn now(&self) -> Instant;

    /// Time of day, since the beginning of 1970 (UTC).
    fn since_1970(&self) -> Duration;

    /// Fills with random bytes, good enough for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// Done at `at`; at once if that is over.
    fn sleep_until(&self, at: Instant) -> Task;

    /// Runs `task` to its end, whether or not anybody waits for it.
    fn spawn(&self, task: Task);

    /// Runs `work`, which may wait for a disk; done when that is.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Task;
}

impl dyn Machine {
    /// What comes of `work`, or `None` when it takes longer than `most`.
    pub async fn timeout<T>(&self, most: Duration, work: impl Future<Output = T>) -> Option<T> {
        let late = self.sleep_until(self.now() + most);
        tokio::select! {
            biased;
            done = work => Some(done),
            () = late => None,
        }
    }

    /// What comes of `work`, which goes on even if nobody waits for this any more. `None` when it
    /// ended without a result: it panicked.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        self.spawn(Box::pin(async move {
            // Whoever asked may be gone.
            let _ = tell.send(work.await);
        }));
        told.await.ok()
    }

    /// What comes of `work`, which may wait for a disk. `None` as for `detached`.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        self.block(Box::new(move || {
            let _ = tell.send(work());
        }))
        .await;
        told.await.ok()
    }

    /// Random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A random UUID (version 4).
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random()).into_uuid()
    }
}

/// The machine that this process runs on. Needs a tokio runtime around whoever waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Os {
    /// To be handed around.
    #[must_use]
    pub fn shared() -> SharedMachine {
        Arc::new(Self)
    }
}

impl Machine for Os {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn since_1970(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel has random bytes once it is up");
    }

    fn sleep_until(&self, at: Instant) -> Task {
        Box::pin(tokio::time::sleep_until(at.into()))
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> Task {
        Box::pin(async {
            // A panic in `work` has been printed; who waits for its result misses that.
            let _ = tokio::task::spawn_blocking(work).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_and_a_panic_has_no_result() {
        let machine = Os::shared();
        let (tell, told) = oneshot::channel();
        let never = std::future::pending::<()>();
        assert_eq!(machine.timeout(Duration::ZERO, never).await, None);
        drop(machine.detached(async { 1 }));
        let work = async move {
            let _ = tell.send(2);
        };
        let both = async { tokio::join!(machine.detached(work), told).1 };
        assert_eq!(both.await, Ok(2));
        assert_eq!(machine.blocking(|| 3).await, Some(3));
        assert_eq!(machine.blocking(|| panic!("on purpose")).await, None::<()>);
        assert_ne!(machine.uuid(), machine.uuid());
    }
}
