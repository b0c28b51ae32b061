//! What the demo's hosts do to their volumes: write random data, read it back, and compare every
//! byte with what was written there last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outband_initiator::{Disk, Error};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::latency::Latencies;
use crate::pattern::{Pattern, Random};

const CHUNK_LEN: usize = 1 << 20;
const CHUNK: u64 = CHUNK_LEN as u64;
const SEQUENTIAL_DEPTH: u64 = 8;
const BLOCK_LEN: usize = 4096;
/// Each worker of a churn has its own blocks: nobody else may change what it reads.
const BLOCKS_EACH: usize = 1024;
/// A turn's number stands above that of the write to a block within it.
const TURN_SHIFT: u32 = 24;

/// How much was moved in one large run, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Straight {
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

/// Writes from the volume's start until `limit` bytes or `time` is reached, and flushes.
pub(super) async fn write_straight(
    disk: &Disk,
    pattern: Pattern,
    limit: u64,
    time: Duration,
) -> Result<Straight, Failure> {
    let started = Instant::now();
    let limit = limit.min(disk.capacity()) / CHUNK;
    let writer = disk.clone();
    let write = move |offset| {
        let (disk, data) = (writer.clone(), pattern.data(offset, 1, CHUNK_LEN));
        async move { disk.write_at(offset, data).await.map(|()| true) }
    };
    let chunks = in_chunks(limit, move || started.elapsed() < time, write).await?;
    disk.flush().await.map_err(Failure::disk("flushing"))?;
    Ok(Straight { bytes: chunks * CHUNK, seconds: started.elapsed().as_secs_f64() })
}

/// Reads the first `bytes`, and compares them with what `write_straight` wrote there.
pub(super) async fn read_straight(
    disk: &Disk,
    pattern: Pattern,
    bytes: u64,
) -> Result<Straight, Failure> {
    let started = Instant::now();
    let reader = disk.clone();
    let read = move |offset| {
        let disk = reader.clone();
        async move {
            let data = disk.read_at(offset, CHUNK_LEN).await?;
            Ok(pattern.is(offset, 1, &data))
        }
    };
    let chunks = in_chunks(bytes / CHUNK, || true, read).await?;
    Ok(Straight { bytes: chunks * CHUNK, seconds: started.elapsed().as_secs_f64() })
}

/// Does the chunks one after the other, some at a time, as long as `go_on` says so. How many were
/// done; `work` says whether its data was as expected.
async fn in_chunks<F>(
    limit: u64,
    go_on: impl Fn() -> bool + Copy + Send + 'static,
    work: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Result<u64, Failure>
where
    F: Future<Output = Result<bool, Error>> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..SEQUENTIAL_DEPTH {
        let (next, work) = (Arc::clone(&next), work.clone());
        workers.spawn(async move {
            let mut done = 0;
            while go_on() {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= limit {
                    break;
                }
                if !work(chunk * CHUNK).await.map_err(Failure::disk("input or output"))? {
                    return Err(differs(chunk * CHUNK));
                }
                done += 1;
            }
            Ok(done)
        });
    }
    let mut chunks = 0;
    while let Some(done) = workers.join_next().await {
        chunks += done.map_err(|error| Failure::Failed(error.to_string()))??;
    }
    Ok(chunks)
}

fn differs(offset: u64) -> Failure {
    Failure::Failed(format!("what was read at byte {offset} is not what was written there"))
}

/// Random reads and writes that go on until they are ended. Dropped, they stop.
pub(super) struct Churn {
    workers: JoinSet<Result<Latencies, Failure>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    started: Instant,
}

/// What came of a churn; every read was compared.
#[derive(Clone, Debug)]
pub(super) struct Churned {
    pub(super) latencies: Latencies,
    pub(super) seconds: f64,
}

impl Churned {
    pub(super) fn iops(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let count = self.latencies.count() as f64;
        count / self.seconds
    }
}

impl Churn {
    /// `turn` must be higher than any before on this volume with this pattern.
    pub(super) fn start(disk: &Disk, pattern: Pattern, depth: u32, turn: u32) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut workers = JoinSet::new();
        for number in 0..depth {
            let worker = Worker {
                disk: disk.clone(),
                pattern,
                first: u64::from(number) * BLOCKS_EACH as u64,
                turn,
                written: vec![0; BLOCKS_EACH],
                random: Random::new(u64::from(turn) << 32 | u64::from(number)),
            };
            workers.spawn(worker.run(Arc::clone(&stop), Arc::clone(&done)));
        }
        Self { workers, stop, done, started: Instant::now() }
    }

    /// Requests that have ended so far.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) async fn end(mut self) -> Result<Churned, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut latencies = Latencies::default();
        while let Some(worker) = self.workers.join_next().await {
            latencies.merge(&worker.map_err(|error| Failure::Failed(error.to_string()))??);
        }
        Ok(Churned { latencies, seconds: self.started.elapsed().as_secs_f64() })
    }
}

struct Worker {
    disk: Disk,
    pattern: Pattern,
    first: u64,
    turn: u32,
    /// How often each block was written.
    written: Vec<u32>,
    random: Random,
}

impl Worker {
    async fn run(
        mut self,
        stop: Arc<AtomicBool>,
        done: Arc<AtomicU64>,
    ) -> Result<Latencies, Failure> {
        let mut latencies = Latencies::default();
        while !stop.load(Ordering::Relaxed) {
            latencies.add(self.step().await?);
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(latencies)
    }

    /// One read or one write. How long it took, without the time to make or compare the data.
    async fn step(&mut self) -> Result<Duration, Failure> {
        let failed = || Failure::disk("input or output");
        let block = self.random.below(BLOCKS_EACH as u64);
        let offset = (self.first + block) * BLOCK_LEN as u64;
        let written = &mut self.written[usize::try_from(block).expect("a small number")];
        let turn = self.turn << TURN_SHIFT;
        if *written > 0 && self.random.next() & 1 == 0 {
            let began = Instant::now();
            let data = self.disk.read_at(offset, BLOCK_LEN).await.map_err(failed())?;
            let took = began.elapsed();
            return match self.pattern.is(offset, turn + *written, &data) {
                true => Ok(took),
                false => Err(differs(offset)),
            };
        }
        *written += 1;
        let data = self.pattern.data(offset, turn + *written, BLOCK_LEN);
        let began = Instant::now();
        self.disk.write_at(offset, data).await.map_err(failed())?;
        Ok(began.elapsed())
    }
}
