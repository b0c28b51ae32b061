//! One listener for all units: at which of this machine's addresses a connection arrives says which
//! unit is meant. All show one certificate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answers::{Request, answer};
use super::{Crowd, Failure};

/// A whole pool comes at once.
const BACKLOG: u32 = 4096;
/// Of a request, head and body.
const REQUEST_LEN_MAX: usize = 64 * 1024;

pub(super) struct Door {
    listener: TcpListener,
    port: u16,
    acceptor: TlsAcceptor,
    fingerprint: [u8; 32],
}

impl Door {
    pub(super) async fn open() -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(["unit".to_owned()])?;
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let fingerprint = Sha256::digest(&certificate).into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(super) async fn serve(self, crowd: Arc<Crowd>) {
        loop {
            let Ok((socket, _)) = self.listener.accept().await else {
                // For want of descriptors; some are about to be closed.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            let (crowd, acceptor) = (Arc::clone(&crowd), self.acceptor.clone());
            tokio::spawn(async move {
                // A connection that breaks is the station's to make anew.
                let _ = attend(&crowd, socket, &acceptor).await;
            });
        }
    }
}

async fn attend(crowd: &Crowd, socket: TcpStream, acceptor: &TlsAcceptor) -> Result<(), Failure> {
    let IpAddr::V4(address) = socket.local_addr()?.ip() else {
        return Err("not an address of this crowd".into());
    };
    let unit = *crowd.by_address.get(&address).ok_or("nobody is there")?;
    socket.set_nodelay(true)?;
    let mut stream = acceptor.accept(socket).await?;
    while let Some(request) = receive(&mut stream).await? {
        let (status, body) = answer(crowd, unit, &request);
        let mut response = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        response.extend(body);
        stream.write_all(&response).await?;
    }
    Ok(())
}

/// One request of a client that sends no second one before it has its answer, and no chunks.
async fn receive(stream: &mut TlsStream<TcpStream>) -> Result<Option<Request>, Failure> {
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > REQUEST_LEN_MAX {
            return Err("a head without an end".into());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = std::str::from_utf8(&bytes[..head])?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, path) = (method.to_owned(), path.to_owned());
    let field = |name: &str| {
        let named =
            |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        let line = text.split("\r\n").skip(1).find(named)?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let bearer = field("authorization").unwrap_or_default();
    let bearer = bearer.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let length = field("content-length").unwrap_or_else(|| "0".to_owned()).parse::<usize>()?;
    if length > REQUEST_LEN_MAX {
        return Err("a body without an end".into());
    }
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err("half a body".into());
        }
    }
    Ok(Some(Request { method, path, bearer, body }))
}
