//! The handle that disks hold: requests go to the session's owner through a bounded channel, and
//! each one's end comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use outband_protocol::initiator::{Data, Outcome, Replay, Request};
use tokio::sync::{mpsc, oneshot, watch};

use crate::owner::{Health, Message, Owner};
use crate::slots::{Finished, Payload};
use crate::{Config, Error};

/// Requests on their way to the owner; those who send more wait.
const QUEUE_LEN: usize = 128;

/// A session that lasts until the last handle is dropped or somebody closes it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    messages: mpsc::Sender<Message>,
    health: watch::Receiver<Health>,
    capacity_changed: Arc<AtomicBool>,
    config: Arc<Config>,
}

/// A request on its way.
pub(crate) struct Pending {
    reply: oneshot::Receiver<Finished>,
    handle: Handle,
}

impl Handle {
    /// Starts a session and waits until it stands.
    pub(crate) async fn connect(config: Config) -> Result<Self, Error> {
        let (messages, inbox) = mpsc::channel(QUEUE_LEN);
        let (tell, mut health) = watch::channel(Health::Starting);
        let capacity_changed = Arc::new(AtomicBool::new(false));
        let owner = Owner::new(config.session()?, inbox, tell, capacity_changed.clone());
        tokio::spawn(owner.run());
        let settled = health.wait_for(|health| !matches!(health, Health::Starting)).await;
        if let Health::Over(error) = &*settled.map_err(|_| Error::Closed)? {
            return Err(error.clone());
        }
        Ok(Self { messages, health, capacity_changed, config: Arc::new(config) })
    }

    /// Hands a request to the session. It runs to its end whether or not anybody waits for it.
    pub(crate) async fn start(
        &self,
        cdb: [u8; 16],
        payload: Payload,
        replay: Replay,
    ) -> Result<Pending, Error> {
        let len = |len: usize| u32::try_from(len).expect("requests are split far below 4 GiB");
        let data = match &payload {
            Payload::None => Data::None,
            Payload::In(room) => Data::In(len(room.len())),
            Payload::Out(bytes) => Data::Out(len(bytes.len())),
        };
        let deadline = Instant::now() + self.config.command_timeout;
        let request = Request { lun: self.config.lun, cdb, data, replay, deadline };
        let (reply, done) = oneshot::channel();
        let message = Message::Do { request, payload, reply };
        self.messages.send(message).await.map_err(|_| self.end())?;
        Ok(Pending { reply: done, handle: self.clone() })
    }

    /// Logs out when all that was started is over.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        // A session that is over takes no message; that is what is wanted.
        let _ = self.messages.send(Message::Close).await;
        let over = self.health.wait_for(|health| matches!(health, Health::Over(_))).await;
        match over.as_deref() {
            Ok(Health::Over(Error::Closed)) | Err(_) => Ok(()),
            Ok(Health::Over(error)) => Err(error.clone()),
            Ok(_) => unreachable!("only the end was waited for"),
        }
    }

    /// That the unit may have another size for the volume than it was last asked for.
    pub(crate) fn news_of_capacity(&self) -> Option<CapacityNews> {
        // A load first: this is asked with every request.
        let news = self.capacity_changed.load(Ordering::Relaxed)
            && self.capacity_changed.swap(false, Ordering::Relaxed);
        news.then(|| CapacityNews(Some(self.capacity_changed.clone())))
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.health.borrow(), Health::Up)
    }

    /// Why there is no session any more.
    fn end(&self) -> Error {
        match &*self.health.borrow() {
            Health::Over(error) => error.clone(),
            _ => Error::Closed,
        }
    }
}

/// Is there again if it is dropped before the new size is known.
#[derive(Debug)]
pub(crate) struct CapacityNews(Option<Arc<AtomicBool>>);

impl CapacityNews {
    pub(crate) fn known(mut self) {
        self.0 = None;
    }
}

impl Drop for CapacityNews {
    fn drop(&mut self) {
        if let Some(changed) = &self.0 {
            changed.store(true, Ordering::Relaxed);
        }
    }
}

impl Pending {
    /// Waits for the request's end.
    pub(crate) async fn finish(self, capacity: u64) -> Result<(Payload, u32), Error> {
        let finished = self.reply.await.map_err(|_| self.handle.end())?;
        match (finished.outcome, Error::of_outcome(&finished.outcome, capacity)) {
            (Outcome::NotSent, _) => Err(self.handle.end()),
            (_, Some(error)) => Err(error),
            (Outcome::Good { received, .. }, None) => Ok((finished.payload, received)),
            (_, None) => unreachable!("what is not good has an error"),
        }
    }

    /// Waits for a request without data, or one that wrote.
    pub(crate) async fn done(self, capacity: u64) -> Result<(), Error> {
        self.finish(capacity).await.map(drop)
    }

    /// Waits for a read; `len` bytes must have come.
    pub(crate) async fn filled(self, len: usize, capacity: u64) -> Result<BytesMut, Error> {
        let (payload, received) = self.finish(capacity).await?;
        match payload {
            Payload::In(bytes) if received as usize == len => Ok(bytes),
            _ => Err(Error::Nonsense("it reads well, but not all that was asked for")),
        }
    }

    /// Waits for parameter data, of which less may come than there was room for.
    pub(crate) async fn parameters(self) -> Result<Bytes, Error> {
        let (payload, received) = self.finish(0).await?;
        let Payload::In(mut bytes) = payload else {
            return Ok(Bytes::new());
        };
        bytes.truncate(received as usize);
        Ok(bytes.freeze())
    }
}
