//! Asks a portal which targets this host may see (SendTargets, §appendix C).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use outband_protocol::Transmit;
use outband_protocol::initiator::{Conn, ConnEvent};
use outband_protocol::keys::{DigestWish, Offer, PortalAddress, TargetRecord, parse_targets};
use outband_protocol::login::initiator::{Event, LoggedIn, Login};
use outband_protocol::login::{Algorithm, Credentials, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;
use crate::config::{self, fill_random, random_names, with_port};

/// From the first to the last byte.
const TIMEOUT: Duration = Duration::from_secs(15);
const REDIRECTS_MAX: usize = 4;
const INPUT_LEN: usize = 16 * 1024;

/// Whom to ask, as whom.
#[derive(Clone, Debug)]
pub struct Discovery {
    portal: String,
    initiator: String,
    chap: Option<Credentials>,
    algorithms: Vec<Algorithm>,
}

/// The targets that a portal shows to an initiator of this name, without authentication.
pub async fn discover(portal: &str, initiator: &str) -> Result<Vec<TargetRecord>, Error> {
    Discovery::new(portal, initiator).run().await
}

impl Discovery {
    /// Asks the portal `host[:port]` in the name of `initiator`.
    #[must_use]
    pub fn new(portal: impl Into<String>, initiator: impl Into<String>) -> Self {
        Self {
            portal: with_port(portal.into()),
            initiator: initiator.into(),
            chap: None,
            algorithms: Algorithm::ALL.to_vec(),
        }
    }

    /// How this host proves its name.
    #[must_use]
    pub fn chap(mut self, user: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        let ours = config::credentials(&mut self.chap);
        (ours.user, ours.secret) = (user.into(), Secret::new(secret.into()));
        self
    }

    /// As [`Config::mutual_chap`](crate::Config::mutual_chap).
    #[must_use]
    pub fn mutual_chap(mut self, user: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        config::credentials(&mut self.chap).mutual =
            Some((user.into(), Secret::new(secret.into())));
        self
    }

    /// As [`Config::chap_algorithms`](crate::Config::chap_algorithms).
    #[must_use]
    pub fn chap_algorithms(self, algorithms: &[Algorithm]) -> Self {
        Self { algorithms: algorithms.to_vec(), ..self }
    }

    /// Asks. A target without an address is at the portal that was asked.
    pub async fn run(self) -> Result<Vec<TargetRecord>, Error> {
        let late = |_| Error::Discovery(format!("{} does not answer in time", self.portal));
        tokio::time::timeout(TIMEOUT, self.ask()).await.map_err(late)?
    }

    async fn ask(&self) -> Result<Vec<TargetRecord>, Error> {
        let mut portal = self.portal.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut wire = Wire::connect(&portal).await?;
            match self.log_in(&mut wire).await? {
                Event::Done(logged_in) => {
                    let mut targets = wire.send_targets(&logged_in).await?;
                    let here: Option<PortalAddress> = portal.parse().ok();
                    for target in &mut targets {
                        if target.portals.is_empty() {
                            target.portals.extend(here.clone());
                        }
                    }
                    return Ok(targets);
                }
                Event::Redirect { address, .. } => {
                    portal = PortalAddress { tag: None, ..address }.to_string();
                }
                Event::Refused(status) => return Err(Error::of_status(status)),
            }
        }
        Err(Error::Discovery("too many redirections".to_owned()))
    }

    /// Digests only where the target wants them.
    fn offer(&self) -> Offer {
        let (header_digest, data_digest) = (DigestWish::Allow, DigestWish::Allow);
        let chap_algorithms = self.algorithms.clone();
        Offer { header_digest, data_digest, chap_algorithms, ..Offer::default() }
    }

    async fn log_in(&self, wire: &mut Wire) -> Result<Event, Error> {
        let (isid, _) = random_names()?;
        let initiator = Some(self.initiator.as_str());
        let chap = self.chap.as_ref();
        let mut config = config::login(initiator, None, chap, self.offer(), isid)?;
        let mut challenge = vec![0; 16];
        fill_random(&mut challenge)?;
        config.challenge = (challenge[0], challenge);
        let mut login = Login::new(config);
        loop {
            let event = wire.take(|input| {
                login.next_event(input).map_err(|error| Error::Discovery(error.to_string()))
            })?;
            if let Some(event) = event {
                return Ok(event);
            }
            while let Some(transmit) = login.poll_transmit() {
                wire.send(&transmit).await?;
            }
            wire.receive().await?;
        }
    }
}

/// A connection whose bytes are waited for one answer at a time.
struct Wire {
    portal: String,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    async fn connect(portal: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(portal).await;
        let portal = portal.to_owned();
        match stream {
            Ok(stream) => Ok(Self { portal, stream, input: Vec::new() }),
            Err(source) => Err(Error::Unreachable { portal, source: source.into() }),
        }
    }

    async fn send_targets(&mut self, logged_in: &LoggedIn) -> Result<Vec<TargetRecord>, Error> {
        let mut conn = Conn::new(logged_in.into(), 0);
        conn.ask(Bytes::from_static(b"SendTargets=All\0")).expect("nothing was asked before");
        let text = loop {
            let event = self.take(|input| {
                let event = conn.next_event(input);
                let event = event.map_err(|error| Error::Discovery(error.to_string()))?;
                Ok(event.map(|event| match event {
                    ConnEvent::Text(text) => Some(text),
                    _ => None,
                }))
            })?;
            match event {
                Some(Some(text)) => break text,
                Some(None) => continue,
                None => {}
            }
            while let Some(transmit) = conn.poll_transmit() {
                self.send(&transmit).await?;
            }
            self.receive().await?;
        };
        conn.log_out();
        while let Some(transmit) = conn.poll_transmit() {
            // The answer is here; a portal that does not wait for the logout does no harm.
            let _ = self.send(&transmit).await;
        }
        parse_targets(&text).map_err(|error| Error::Discovery(error.to_string()))
    }

    async fn send(&mut self, transmit: &Transmit) -> Result<(), Error> {
        let bytes = transmit.to_bytes(|_, _, _| Vec::new());
        let sent = self.stream.write_all(&bytes).await;
        sent.map_err(|error| self.lost(error))
    }

    async fn receive(&mut self) -> Result<(), Error> {
        let mut room = [0; INPUT_LEN];
        match self.stream.read(&mut room).await {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.input.extend_from_slice(&room[..count]);
                Ok(())
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Lets `read` take bytes off the front of what has come.
    fn take<T>(&mut self, read: impl FnOnce(&mut &[u8]) -> Result<T, Error>) -> Result<T, Error> {
        let mut input = &self.input[..];
        let result = read(&mut input);
        let taken = self.input.len() - input.len();
        self.input.drain(..taken);
        result
    }

    fn lost(&self, source: io::Error) -> Error {
        Error::Unreachable { portal: self.portal.clone(), source: source.into() }
    }
}
