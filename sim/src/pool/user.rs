//! Users: each asks for volumes of its own, one thing after the other, and asks again until it is
//! answered. What was acknowledged is written down: it must come true.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outband_control::machine::SharedMachine;
use outband_pool_api::{Job, JobState, Problem, Size, Volume, VolumeRequest, WritePolicy};
use uuid::Uuid;

use super::post::{ASKED_AGAIN, Post};
use super::station::{Ask, Reply, Said};
use super::watch::{News, Watch};
use crate::rng::Rng;

const MIB: u64 = 1 << 20;

/// What a user expects of one of its volumes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Expected {
    /// It does not exist.
    #[default]
    Absent,
    /// Its host may use it.
    Granted { host: String, size: u64 },
    /// It exists, and nobody may use it.
    Free { size: u64 },
}

/// What a user has written down.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// It has done all it wanted, and every job of its has ended.
    pub finished: bool,
    /// By the name of the volume.
    pub expected: BTreeMap<String, Expected>,
    /// Jobs that the station has acknowledged.
    pub jobs: Vec<Uuid>,
}

/// Shared with the world, which reads it in the end.
pub type SharedDiary = Arc<Mutex<Diary>>;

/// One user.
#[derive(Debug)]
pub struct User {
    /// Which of them.
    pub index: usize,
    /// Where it is.
    pub at: IpAddr,
    /// Where the station is.
    pub station: IpAddr,
    /// What carries its requests.
    pub post: Post,
    /// What it has of its machine.
    pub machine: SharedMachine,
    /// Who looks on.
    pub watch: Watch,
    /// Its choices.
    pub rng: Rng,
    /// Hosts that it may give volumes to.
    pub hosts: Vec<String>,
    /// Volumes that it has names for.
    pub names: usize,
    /// Things that it still wants.
    pub quota: u32,
    /// It is to begin nothing new.
    pub enough: Arc<AtomicBool>,
    /// Pause between two of them, at most.
    pub pause: Duration,
    /// What it has written down.
    pub diary: SharedDiary,
    /// Jobs that have not ended, by volume, and what was expected before them.
    pub open: BTreeMap<String, Open>,
    /// Requests made.
    pub asked: u64,
}

/// A job under way.
#[derive(Clone, Debug)]
pub struct Open {
    job: Uuid,
    before: Expected,
    after: Expected,
    /// The user wants it no more.
    cancelled: bool,
}

impl User {
    /// Lives until it has no more wishes.
    pub async fn run(mut self) {
        while self.quota > 0 && !self.enough.load(Ordering::Relaxed) {
            self.quota -= 1;
            let name = format!("v{}-{}", self.index, self.rng.index(self.names));
            self.wish(&name).await;
            let pause = self.rng.time(Duration::ZERO..self.pause);
            self.sleep(pause).await;
        }
        for name in self.open.keys().cloned().collect::<Vec<_>>() {
            self.wait_for(&name, None).await;
        }
        self.write(|diary| diary.finished = true);
    }

    fn write<T>(&self, change: impl FnOnce(&mut Diary) -> T) -> T {
        change(&mut self.diary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn expected(&self, name: &str) -> Expected {
        self.write(|diary| diary.expected.get(name).cloned().unwrap_or_default())
    }

    fn expect(&self, name: &str, expected: Expected) {
        self.write(|diary| diary.expected.insert(name.to_owned(), expected));
    }

    async fn sleep(&self, span: Duration) {
        self.machine.sleep_until(self.machine.now() + span).await;
    }

    fn note(&self, what: &str) {
        self.watch.note(format!("user {} {what}", self.index));
    }

    /// One thing that it wants of one volume.
    async fn wish(&mut self, name: &str) {
        let hasty = self.open.contains_key(name);
        if hasty && self.rng.coin() {
            self.wait_for(name, Some(Duration::from_secs(100))).await;
        }
        let (ask, after) = match self.open.contains_key(name) {
            // Only what takes over from a running job.
            true => self.end_it(name),
            false => self.choose(name),
        };
        self.note(&format!("wants {ask:?}"));
        match self.ask(ask.clone()).await {
            Ok(Said::Begun(job)) => {
                let before = self.expected(name);
                self.note(&format!("is promised job {job} for {name}"));
                self.write(|diary| diary.jobs.push(job));
                let cancelled = !hasty && self.rng.chance(120) && self.cancel(&ask, job).await;
                self.open.insert(name.to_owned(), Open { job, before, after, cancelled });
                if self.rng.chance(800) {
                    self.wait_for(name, Some(Duration::from_secs(100))).await;
                }
            }
            Ok(said) => self.wrong(&format!("{ask:?} is answered with {said:?}")),
            Err(problem) => {
                self.note(&format!("is refused {ask:?}: {}", problem.detail));
                self.check_problem(&ask, &problem);
                if matches!(ask, Ask::Delete(_)) && problem.kind() == "not-found" {
                    // It is gone: the answer that said so was lost, or its job was turned back.
                    self.open.remove(name);
                    return self.expect(name, Expected::Absent);
                }
                // Now it wants to know.
                self.wait_for(name, Some(Duration::from_secs(100))).await;
            }
        }
    }

    /// Takes a job back, if that can be, after a moment. Whether it may have been: of two answers the
    /// first may be lost, and then the second says that the job has ended.
    async fn cancel(&mut self, ask: &Ask, job: Uuid) -> bool {
        if matches!(ask, Ask::Grow(..)) {
            // Of one that is cancelled nobody knows how far it came.
            return false;
        }
        let pause = self.rng.time(Duration::ZERO..Duration::from_millis(400));
        self.sleep(pause).await;
        self.note(&format!("cancels job {job}"));
        match self.ask(Ask::Cancel(job)).await {
            Ok(Said::Begun(_)) => {}
            Err(problem) if matches!(problem.kind(), "job-ended" | "not-cancellable") => {}
            other => self.wrong(&format!("cancelling the job {job} is answered with {other:?}")),
        }
        true
    }

    fn wrong(&self, what: &str) {
        self.watch.tell(News::Wrong(format!("user {}: {what}", self.index)));
    }

    /// What the station may say no to.
    fn check_problem(&self, ask: &Ask, problem: &Problem) {
        let fine = match problem.kind() {
            "busy" | "no-unit" | "too-large" | "overloaded" => true,
            // Its unit's last report is from before the volume was deleted.
            "name-taken" => matches!(ask, Ask::Request(..)),
            // The job that made it was turned back.
            "not-found" | "conflict" => !matches!(ask, Ask::Request(..)),
            _ => false,
        };
        if !fine {
            self.wrong(&format!("{ask:?} ends in {problem:?}"));
        }
    }

    fn choose(&mut self, name: &str) -> (Ask, Expected) {
        match self.expected(name) {
            Expected::Absent => self.request(name),
            Expected::Granted { host, size } => match self.rng.index(10) {
                0..2 => self.grow(name, size, |size| Expected::Granted { host, size }),
                2..4 => {
                    let host = self.host();
                    let ask = Ask::Move(name.to_owned(), host.clone());
                    (ask, Expected::Granted { host, size })
                }
                _ => self.end_it(name),
            },
            Expected::Free { size } => match self.rng.index(8) {
                0..5 => {
                    let host = self.host();
                    let ask = Ask::Assign(name.to_owned(), host.clone());
                    (ask, Expected::Granted { host, size })
                }
                5 => self.grow(name, size, |size| Expected::Free { size }),
                _ => self.delete(name),
            },
        }
    }

    fn host(&mut self) -> String {
        let index = self.rng.index(self.hosts.len());
        self.hosts[index].clone()
    }

    fn request(&mut self, name: &str) -> (Ask, Expected) {
        let (host, size) = (self.host(), MIB * (1 + self.rng.index(2) as u64));
        self.asked += 1;
        let key = format!("key-{}-{}", self.index, self.asked);
        let policy = self.rng.pick(&[WritePolicy::Normal, WritePolicy::High]);
        let request = VolumeRequest {
            size: Size(size),
            host: Some(host.clone()),
            name: Some(name.to_owned()),
            write_policy: policy,
            ..VolumeRequest::default()
        };
        (Ask::Request(request, key), Expected::Granted { host, size })
    }

    fn grow(
        &mut self,
        name: &str,
        size: u64,
        after: impl FnOnce(u64) -> Expected,
    ) -> (Ask, Expected) {
        let size = size + MIB;
        (Ask::Grow(name.to_owned(), size), after(size))
    }

    fn delete(&self, name: &str) -> (Ask, Expected) {
        (Ask::Delete(name.to_owned()), Expected::Absent)
    }

    fn end_it(&mut self, name: &str) -> (Ask, Expected) {
        let after = self.open.get(name).map_or_else(|| self.expected(name), |o| o.after.clone());
        // Of a grow that is taken over nobody knows how far it came.
        let size_of = |expected: &Expected| match expected {
            Expected::Granted { size, .. } | Expected::Free { size } => *size,
            Expected::Absent => 0,
        };
        let before = self.open.get(name).map_or(0, |open| size_of(&open.before));
        let size = if before > 0 { before } else { size_of(&after) };
        if self.rng.chance(650) && size > 0 {
            return (Ask::Release(name.to_owned()), Expected::Free { size });
        }
        self.delete(name)
    }

    /// Asks until there is an answer.
    async fn ask(&self, ask: Ask) -> Reply {
        loop {
            let asked = self.post.ask(self.at, self.station, ask.clone());
            match self.machine.timeout(ASKED_AGAIN, asked).await.flatten() {
                Some(Err(problem)) if problem.kind() == "overloaded" => {}
                Some(reply) => return reply,
                None => {}
            }
            self.sleep(Duration::from_millis(300)).await;
        }
    }

    /// Until the job of a volume has ended, if there is one, or for so long.
    async fn wait_for(&mut self, name: &str, most: Option<Duration>) {
        let begun = self.machine.now();
        while let Some(open) = self.open.get(name).cloned() {
            match self.ask(Ask::Job(open.job)).await {
                Ok(Said::Job(job)) if job.state != JobState::Running => {
                    self.open.remove(name);
                    return self.on_end(name, &open, &job).await;
                }
                Ok(Said::Job(_)) => {}
                other => return self.wrong(&format!("its job {} is lost: {other:?}", open.job)),
            }
            if most.is_some_and(|most| self.machine.now() - begun > most) {
                return;
            }
            self.sleep(Duration::from_millis(150)).await;
        }
    }

    async fn on_end(&mut self, name: &str, open: &Open, job: &Job) {
        let failed = job.state != JobState::Done;
        self.note(&format!("learns that job {} for {name} is {}", job.id, job.state));
        if failed {
            self.check_failure(job, open.cancelled);
        }
        let expected = if failed { open.before.clone() } else { open.after.clone() };
        self.expect(name, expected.clone());
        if matches!(expected, Expected::Granted { .. }) {
            self.tell_host(name).await;
        }
    }

    /// Nobody but the user itself changes its volumes, and there is a way round everything that
    /// happens to the station and the units.
    fn check_failure(&self, job: &Job, cancelled: bool) {
        let kind = job.error.as_ref().map_or("", Problem::kind);
        if kind != "too-large" && !(cancelled && job.state == JobState::Cancelled) {
            self.wrong(&format!("the job {job:?} failed"));
        }
    }

    /// The host learns how to reach its volume.
    async fn tell_host(&self, name: &str) {
        match self.ask(Ask::Volume(name.to_owned())).await {
            Ok(Said::Volume(volume)) => {
                let Volume { connection, .. } = &*volume;
                if connection.is_none() {
                    self.wrong(&format!("{name} is granted and has no connection: {volume:?}"));
                }
                self.watch.tell(News::Granted(volume));
            }
            other => self.wrong(&format!("{name} is granted, and shown as {other:?}")),
        }
    }
}
