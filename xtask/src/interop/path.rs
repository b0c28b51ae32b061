//! A path to the target that can be cut: a port here that is forwarded to one of its portals.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::failure::Failure;

/// How often the listener looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Path {
    port: u16,
    to: SocketAddr,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    end: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    listener: JoinHandle<()>,
}

impl Path {
    /// To `to`, from a free port.
    pub(super) fn new(to: SocketAddr) -> Result<Self, Failure> {
        let mut path = Self { port: 0, to, open: None };
        path.open()?;
        Ok(path)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Listens, on the same port as before.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let failed = |source| Failure::Io { what: "opening a path to the target".into(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).map_err(failed)?;
        self.port = listener.local_addr().map_err(failed)?.port();
        listener.set_nonblocking(true).map_err(failed)?;
        let (end, streams) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ended, kept, to) = (Arc::clone(&end), Arc::clone(&streams), self.to);
        let listener = thread::spawn(move || listen(&listener, to, &ended, &kept));
        self.open = Some(Open { end, streams, listener });
        Ok(())
    }

    /// Ends its connections, and refuses others.
    pub(super) fn cut(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        open.end.store(true, Ordering::Relaxed);
        open.listener.join().expect("the listener does not panic");
        for stream in open.streams.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.cut();
    }
}

fn listen(
    listener: &TcpListener,
    to: SocketAddr,
    end: &AtomicBool,
    streams: &Mutex<Vec<TcpStream>>,
) {
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            // A connection that cannot be forwarded is dropped, as by a network that fails.
            Ok((from, _)) => {
                let _ = forward(from, to, streams);
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn forward(from: TcpStream, to: SocketAddr, streams: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    from.set_nonblocking(false)?;
    let to = TcpStream::connect(to)?;
    let both = [(from.try_clone()?, to.try_clone()?), (to.try_clone()?, from.try_clone()?)];
    streams.lock().unwrap_or_else(PoisonError::into_inner).extend([from, to]);
    for (mut source, mut sink) in both {
        // Ends with its connection.
        thread::spawn(move || {
            let _ = io::copy(&mut source, &mut sink);
            let _ = sink.shutdown(Shutdown::Both);
            let _ = source.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_path_carries_bytes_both_ways_and_none_when_it_is_cut() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut path = Path::new(target.local_addr().unwrap()).unwrap();
        let port = path.port();
        let mut host = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (mut peer, _) = target.accept().unwrap();
        let mut bytes = [0; 4];
        host.write_all(b"ping").unwrap();
        peer.read_exact(&mut bytes).unwrap();
        peer.write_all(b"pong").unwrap();
        host.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"pong");

        path.cut();
        assert_eq!(host.read(&mut bytes).unwrap_or(0), 0);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());

        path.open().unwrap();
        assert_eq!(path.port(), port);
        let _again = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        target.accept().unwrap();
    }
}
