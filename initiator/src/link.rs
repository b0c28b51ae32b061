//! A connection: being made, or open.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;

use tokio::io::Interest;
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
    Ready,
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

    /// Waits for something to do. Nothing is lost when the wait is given up.
    pub(crate) async fn event(&mut self) -> LinkEvent {
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
                let interest = if outbox.is_empty() {
                    Interest::READABLE
                } else {
                    Interest::READABLE | Interest::WRITABLE
                };
                match stream.ready(interest).await {
                    Ok(_) => LinkEvent::Ready,
                    Err(error) => LinkEvent::Failed(error),
                }
            }
        }
    }
}
