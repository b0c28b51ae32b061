//! Where a file holds data and where it has holes. `lseek` is no operation of io_uring and may wait
//! for the file system's own records, so that a thread beside the ring asks.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::fs::SeekFrom;

use crate::slot::Tenant;
use crate::{Errno, UringWaker, Wake};

/// A run of bytes of a file that are all data, or all in a hole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stretch {
    /// In bytes.
    pub len: u64,
    /// There is room behind it. A hole reads as zeros.
    pub mapped: bool,
}

/// What is asked of the thread.
pub(crate) struct Question {
    pub(crate) tenant: Tenant,
    pub(crate) file: OwnedFd,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) at_most: usize,
}

/// What it has found.
pub(crate) struct Answer {
    pub(crate) tenant: Tenant,
    pub(crate) found: Result<Vec<Stretch>, Errno>,
}

/// The ring's end. The thread begins with the first question and ends with the ring.
pub(crate) struct Surveyor {
    questions: Option<Sender<Question>>,
    answers: (Sender<Answer>, Receiver<Answer>),
    open: usize,
}

impl Surveyor {
    pub(crate) fn new() -> Self {
        Self { questions: None, answers: mpsc::channel(), open: 0 }
    }

    /// Has the thread look. `waker` is rung when it has.
    pub(crate) fn ask(&mut self, question: Question, waker: UringWaker) -> io::Result<()> {
        if self.questions.is_none() {
            let (questions, asked) = mpsc::channel();
            let answers = self.answers.0.clone();
            thread::Builder::new()
                .name("survey".to_owned())
                .spawn(move || answer_all(&asked, &answers, &waker))?;
            self.questions = Some(questions);
        }
        let sent = self.questions.as_ref().is_some_and(|asked| asked.send(question).is_ok());
        self.open += usize::from(sent);
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Questions without an answer.
    pub(crate) const fn is_busy(&self) -> bool {
        self.open > 0
    }

    /// An answer, if there is one.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.1.try_recv().ok()?;
        self.open -= 1;
        Some(answer)
    }

    /// The next answer, once there is one.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<Answer> {
        let answer = self.answers.1.recv_timeout(patience).ok()?;
        self.open -= 1;
        Some(answer)
    }
}

fn answer_all(asked: &Receiver<Question>, answers: &Sender<Answer>, waker: &UringWaker) {
    while let Ok(question) = asked.recv() {
        let found = look(&question);
        if answers.send(Answer { tenant: question.tenant, found }).is_err() {
            return;
        }
        waker.wake();
    }
}

/// Goes from one boundary to the next.
fn look(question: &Question) -> Result<Vec<Stretch>, Errno> {
    let end = question.offset + question.len;
    let (mut at, mut found) = (question.offset, Vec::new());
    while at < end && found.len() < question.at_most {
        let data = seek(question, SeekFrom::Data(at))?.unwrap_or(end).min(end);
        if data > at {
            found.push(Stretch { len: data - at, mapped: false });
            at = data;
            continue;
        }
        let hole = seek(question, SeekFrom::Hole(at))?.unwrap_or(end).clamp(at + 1, end);
        found.push(Stretch { len: hole - at, mapped: true });
        at = hole;
    }
    Ok(found)
}

/// `None`: there is none from there to the end of the file.
fn seek(question: &Question, to: SeekFrom) -> Result<Option<u64>, Errno> {
    match rustix::fs::seek(&question.file, to) {
        Ok(at) => Ok(Some(at)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(Errno::from_raw(error.raw_os_error())),
    }
}
