//! A TCP path to a peer that tells what went over it, and that ends in the middle where a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const COMMAND: u8 = 0x01;
pub(crate) const DATA_OUT: u8 = 0x05;
pub(crate) const LOGOUT: u8 = 0x06;
pub(crate) const DATA_IN: u8 = 0x25;
pub(crate) const LOGOUT_RESPONSE: u8 = 0x26;
pub(crate) const R2T: u8 = 0x31;

/// No target transfer tag: nobody asked for this data.
const UNSOLICITED: u32 = u32::MAX;

/// What a test asks of a PDU's header (§11.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pdu {
    pub(crate) opcode: u8,
    /// The third byte: a response code, where the PDU is a response.
    pub(crate) response: u8,
    /// DataSegmentLength.
    pub(crate) data: usize,
    ttt: u32,
    /// Desired Data Transfer Length of an R2T.
    pub(crate) desired: usize,
}

impl Pdu {
    pub(crate) fn is_unsolicited(&self) -> bool {
        self.ttt == UNSOLICITED
    }
}

pub(crate) struct Path {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

struct Shared {
    to: SocketAddr,
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Bytes that a connection carries to the host before it is cut.
    lifetime: AtomicUsize,
    /// Of the last connection, by direction.
    to_peer: Mutex<Vec<u8>>,
    to_host: Mutex<Vec<u8>>,
}

impl Path {
    pub(crate) async fn to(peer: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to: peer,
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            lifetime: AtomicUsize::new(usize::MAX),
            to_peer: Mutex::default(),
            to_host: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((host, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).carry(host));
            }
        });
        Self { address, shared, listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, every new connection ends once it has carried so many bytes to the host,
    /// wherever in a PDU that is.
    pub(crate) fn cut_each_after(&self, bytes: usize) {
        self.shared.lifetime.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn cut_no_more(&self) {
        self.cut_each_after(usize::MAX);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed) == 0
    }

    /// What the last connection carried to the peer. It must have no digests.
    pub(crate) fn sent(&self) -> Vec<Pdu> {
        pdus(&self.shared.to_peer.lock().unwrap())
    }

    /// What the last connection carried to the host. It must have no digests.
    pub(crate) fn received(&self) -> Vec<Pdu> {
        pdus(&self.shared.to_host.lock().unwrap())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Shared {
    async fn carry(self: Arc<Self>, host: TcpStream) {
        let Ok(peer) = TcpStream::connect(self.to).await else {
            return;
        };
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.to_peer.lock().unwrap().clear();
        self.to_host.lock().unwrap().clear();
        let lifetime = self.lifetime.load(Ordering::Relaxed);
        let (from_host, to_host) = host.into_split();
        let (from_peer, to_peer) = peer.into_split();
        tokio::select! {
            () = copy(from_host, to_peer, usize::MAX, &self.to_peer) => {}
            () = copy(from_peer, to_host, lifetime, &self.to_host) => {}
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Until either side ends, or `left` bytes were carried.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut left: usize,
    kept: &Mutex<Vec<u8>>,
) {
    let mut room = vec![0; 64 * 1024];
    while left > 0 {
        let count = match from.read(&mut room).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count.min(left),
        };
        kept.lock().unwrap().extend_from_slice(&room[..count]);
        if to.write_all(&room[..count]).await.is_err() {
            return;
        }
        left -= count;
    }
}

/// The whole PDUs of a stream without digests.
fn pdus(mut bytes: &[u8]) -> Vec<Pdu> {
    let mut pdus = Vec::new();
    while let Some(header) = bytes.first_chunk::<48>() {
        let word = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().unwrap());
        let data = (word(4) & 0x00FF_FFFF) as usize;
        pdus.push(Pdu {
            opcode: header[0] & 0x3F,
            response: header[2],
            data,
            ttt: word(20),
            desired: word(44) as usize,
        });
        let len = 48 + usize::from(header[4]) * 4 + data.next_multiple_of(4);
        bytes = bytes.get(len..).unwrap_or_default();
    }
    pdus
}
