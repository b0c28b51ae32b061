//! A connection: being made, or open.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::outbox::Outbox;

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

pub(crate) enum Link {
    None,
    Connecting(Attempt),
    Open { stream: TcpStream, outbox: Outbox },
}

/// What a link has to tell.
pub(crate) enum LinkEvent {
    Connected,
    /// So many bytes are in the room that was given.
    Received(usize),
    Writable,
    Failed(io::Error),
}

impl Link {
    pub(crate) fn connect(address: String) -> Self {
        Self::Connecting(Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }))
    }

    /// Drops it. By reset, the kernel forgets what it has not sent: nothing of it reaches the
    /// target after the next login.
    pub(crate) fn close(&mut self, abort: bool) {
        if let Self::Open { stream, .. } = self
            && abort
        {
            // Closing in order is worse, not wrong: the login after it ends the old nexus.
            let _ = stream.set_zero_linger();
        }
        *self = Self::None;
    }

    /// Waits for something to do, and receives into `room`. Nothing is lost when the wait is given
    /// up.
    pub(crate) async fn event(&mut self, room: &mut [u8]) -> LinkEvent {
        match self {
            Self::None => pending().await,
            Self::Connecting(attempt) => match attempt.await {
                Ok(stream) => {
                    *self = Self::Open { stream, outbox: Outbox::default() };
                    LinkEvent::Connected
                }
                Err(error) => {
                    *self = Self::None;
                    LinkEvent::Failed(error)
                }
            },
            Self::Open { stream, outbox } => {
                let waits = !outbox.is_empty();
                poll_fn(|context| poll(stream, waits, room, context)).await
            }
        }
    }
}

/// Reads by `poll_read`, which knows that a short read has emptied the socket: a ready check
/// would cost one more system call for each.
fn poll(
    stream: &mut TcpStream,
    waits_to_write: bool,
    room: &mut [u8],
    context: &mut Context<'_>,
) -> Poll<LinkEvent> {
    if waits_to_write && let Poll::Ready(ready) = stream.poll_write_ready(context) {
        return Poll::Ready(ready.map_or_else(LinkEvent::Failed, |()| LinkEvent::Writable));
    }
    let mut buffer = ReadBuf::new(room);
    let read = Pin::new(stream).poll_read(context, &mut buffer);
    read.map(|read| match (read, buffer.filled().len()) {
        (Err(error), _) => LinkEvent::Failed(error),
        (Ok(()), 0) => LinkEvent::Failed(io::ErrorKind::UnexpectedEof.into()),
        (Ok(()), count) => LinkEvent::Received(count),
    })
}
