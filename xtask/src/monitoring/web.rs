//! As much HTTP as it takes to ask a program on this machine something.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::failure::Failure;

const ANSWER: Duration = Duration::from_secs(30);

/// An address on loopback that nobody listens on, for a program that must be told one.
pub(super) fn free_address() -> Result<String, Failure> {
    let failed = |source| Failure::Io { what: "a free port".to_owned(), source };
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.to_string())
}

/// The body of what is at `path`; an error if the status is not 200.
pub(super) fn get(address: &str, path: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Io { what: format!("http://{address}{path}"), source };
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
    // In version 1.0 a body ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(Failure::wrong(format!("http://{address}{path} answers {head}\n{body}")))
}
