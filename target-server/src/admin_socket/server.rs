//! The unit's end: a thread that accepts, and one for each client.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use outband_control::log;
use rustix::net::Shutdown;
use rustix::net::sockopt::socket_peercred;
use tracing::{info, warn};

use super::inside::Inside;
use super::redirects::Redirects;
use super::wire::{Answer, Reply, Request, receive, send};
use super::{SOCKET, local};
use crate::media::Holdings;

/// A client that says nothing is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The listening socket. Gone, its file too, when dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: Arc<UnixListener>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl AdminSocket {
    /// Listens in `state_dir`, whose lock `holdings` has, so that a socket found there is a dead one's.
    pub fn listen(
        state_dir: &Path,
        holdings: Arc<Holdings>,
        redirects: Arc<dyn Redirects>,
        inside: Arc<dyn Inside>,
    ) -> io::Result<Self> {
        let owners = Owners { holdings, redirects, inside };
        let path = state_dir.join(SOCKET);
        let beside = path.with_extension("new");
        remove(&beside)?;
        let listener = Arc::new(UnixListener::bind(&beside)?);
        // Only under its name once nobody else may connect to it.
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&beside, &path)?;
        let accepting = Arc::clone(&listener);
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || accept(&accepting, &owners))?;
        Ok(Self { listener, path, thread: Some(thread) })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Wakes the accept, which then fails.
        let _ = rustix::net::shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = remove(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whom requests are for.
#[derive(Clone, Debug)]
struct Owners {
    holdings: Arc<Holdings>,
    redirects: Arc<dyn Redirects>,
    inside: Arc<dyn Inside>,
}

impl Owners {
    fn carry_out(&self, request: Request, fd: Option<OwnedFd>) -> Answer {
        match request {
            Request::DebugDump => Ok(Reply::Dump(self.inside.dump())),
            Request::Log { filter } => match log::set(&filter) {
                Ok(()) => Ok(Reply::Log(filter)),
                Err(error) => Err(error.to_string()),
            },
            other => local::carry_out(&self.holdings, &*self.redirects, other, fd),
        }
    }
}

fn accept(listener: &UnixListener, owners: &Owners) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Shut down: the unit stops.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                warn!(%error, "admin socket: no connection");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let owners = owners.clone();
        let spawned = thread::Builder::new().name("admin client".to_owned()).spawn(move || {
            if let Err(error) = serve(&stream, &owners) {
                warn!(%error, "admin socket: a request was not answered");
            }
        });
        if let Err(error) = spawned {
            warn!(%error, "admin socket: no thread for a client");
        }
    }
}

fn serve(stream: &UnixStream, owners: &Owners) -> io::Result<()> {
    let peer = socket_peercred(stream)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if !may_ask(peer.uid.as_raw(), rustix::process::geteuid().as_raw()) {
        let answer: Answer = Err("only root and the unit's own user may administer it".to_owned());
        return send(stream, &answer, None);
    }
    let (request, fd) = receive::<Request>(stream)?;
    info!(?request, pid = peer.pid.as_raw_nonzero(), uid = peer.uid.as_raw(), "admin request");
    send(stream, &owners.carry_out(request, fd), None)
}

/// Peer credentials count, not only the mode of the socket's file: that one can be opened up by hand.
pub(super) fn may_ask(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}
