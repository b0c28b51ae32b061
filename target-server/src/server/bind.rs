//! Taking a portal's address, also from a target that was killed a moment ago; and what connections
//! by it have from it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_tcp_user_timeout;

/// How long an address may be in use before that is an error. The kernel gives up a killed process's
/// ring, and with it the listening socket that an accept in it holds, some time after the process has
/// ended: 0.1 s was seen.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

const AGAIN: Duration = Duration::from_millis(20);

/// Ends connections that `listener` takes from now on when bytes were not acknowledged for so long, or
/// when the peer has had no room for them (TCP_USER_TIMEOUT, which they inherit). A host that has lost
/// its power or its network is found out by the next ping; one that merely sleeps has a kernel that
/// acknowledges for it.
pub(super) fn end_unacknowledged(listener: &TcpListener, after: Duration) -> io::Result<()> {
    let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    Ok(set_tcp_user_timeout(listener, millis)?)
}

/// Listens on `address`, and waits up to `patience` for whoever has it.
pub(super) fn bind(address: SocketAddr, patience: Duration) -> io::Result<TcpListener> {
    let deadline = Instant::now() + patience;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(AGAIN);
            }
            taken => return taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn an_address_that_comes_free_is_taken() {
        let (holder, address) = taken();
        let waiting = thread::spawn(move || bind(address, Duration::from_secs(60)));
        drop(holder);
        assert_eq!(waiting.join().unwrap().unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn connections_have_the_time_of_their_portal() {
        let (listener, address) = taken();
        end_unacknowledged(&listener, Duration::from_secs(15)).unwrap();
        let _outside = std::net::TcpStream::connect(address).unwrap();
        let (taken, _) = listener.accept().unwrap();
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(taken).unwrap(), 15_000);
    }

    #[test]
    fn an_address_that_stays_taken_is_an_error() {
        let (_holder, address) = taken();
        let error = bind(address, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
