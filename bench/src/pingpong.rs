//! Requests and replies of given lengths over loopback with no protocol in them: what the machine
//! allows at most. *Batched*, a side takes all that has come and answers it with one send;
//! *blocking*, it takes one whole message after the other.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cpu::Reading;
use crate::load::Histogram;

/// Received at once.
const INBOX_LEN: usize = 256 * 1024;

/// Lengths of the messages, and whether each is waited for by itself.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a request.
    pub request_len: usize,
    /// Bytes of a reply.
    pub reply_len: usize,
    /// One message after the other.
    pub blocking: bool,
}

/// Counts whole messages in a stream that is cut anywhere.
#[derive(Debug)]
struct Messages {
    len: usize,
    have: usize,
    inbox: Vec<u8>,
    blocking: bool,
}

impl Messages {
    fn new(len: usize, blocking: bool) -> Self {
        let inbox = vec![0; if blocking { len } else { INBOX_LEN }];
        Self { len, have: 0, inbox, blocking }
    }

    /// Waits for bytes; how many messages are whole now. None is the end.
    fn receive(&mut self, socket: &mut TcpStream) -> io::Result<Option<usize>> {
        if self.blocking {
            return match socket.read_exact(&mut self.inbox) {
                Ok(()) => Ok(Some(1)),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            };
        }
        let got = socket.read(&mut self.inbox)?;
        if got == 0 {
            return Ok(None);
        }
        self.have += got;
        let count = self.have / self.len;
        self.have %= self.len;
        Ok(Some(count))
    }
}

/// Answers one client after the other on `listener`.
pub fn serve(listener: &TcpListener, shape: Shape) -> io::Result<()> {
    let mut replies = Vec::new();
    loop {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut requests = Messages::new(shape.request_len, shape.blocking);
        // A client that is gone ends its connection, not the server.
        while let Ok(Some(count)) = requests.receive(&mut socket) {
            let len = count * shape.reply_len;
            if replies.len() < len {
                replies.resize(len, 0x5A);
            }
            if socket.write_all(&replies[..len]).is_err() {
                break;
            }
        }
    }
}

/// What the loop without a protocol does.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// Round trips a second.
    pub iops: f64,
    /// Half of them took no longer, in microseconds; of depth 1 only.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// CPU of the client for each, in microseconds.
    pub own_us: f64,
    /// CPU of the server for each.
    pub server_us: f64,
    /// CPU that anybody else used or the hypervisor took, in processors.
    pub other_cpus: f64,
}

/// Keeps `depth` requests in flight to `server` for `time`.
pub fn run(
    server: SocketAddr,
    shape: Shape,
    depth: usize,
    time: Duration,
    servers: &[u32],
) -> io::Result<Limit> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    let requests = vec![0xA5; shape.request_len * depth];
    let mut replies = Messages::new(shape.reply_len, shape.blocking);
    let mut latency = Histogram::default();
    let (mut count, mut sent) = (0u64, Instant::now());
    let (before, end) = (Reading::now(servers), sent + time);
    socket.write_all(&requests)?;
    while sent < end {
        let Some(answered) = replies.receive(&mut socket)? else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let now = Instant::now();
        if depth == 1 && answered > 0 {
            latency.record(u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX));
            sent = now;
        } else if depth > 1 {
            sent = now;
        }
        count += answered as u64;
        socket.write_all(&requests[..answered * shape.request_len])?;
    }
    let used = before.until(&Reading::now(servers));
    let (seconds, all) = (used.wall.as_secs_f64(), as_f64(count.max(1)));
    Ok(Limit {
        iops: all / seconds,
        p50_us: latency.quantile_us(0.5),
        p99_us: latency.quantile_us(0.99),
        own_us: used.own.as_secs_f64() * 1e6 / all,
        server_us: used.servers.as_secs_f64() * 1e6 / all,
        other_cpus: used.others.as_secs_f64() / seconds,
    })
}

#[allow(clippy::cast_precision_loss, reason = "round trips of one run are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn both_ways_go_round_whatever_the_lengths() {
        for (blocking, depth) in [(true, 1), (false, 1), (false, 8)] {
            for (request_len, reply_len) in [(48, 4144), (4144, 48), (300_000, 48)] {
                let shape = Shape { request_len, reply_len, blocking };
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                // It ends with the process: a server has no end of its own.
                thread::spawn(move || serve(&listener, shape));
                let limit = run(address, shape, depth, Duration::from_millis(30), &[]).unwrap();
                assert!(limit.iops > 0.0, "{shape:?}");
                assert_eq!(limit.p50_us > 0.0, depth == 1);
            }
        }
    }
}
