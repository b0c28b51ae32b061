//! NBD as its client: fixed newstyle handshake, NBD_OPT_GO, simple replies. So that peers that speak
//! NBD are measured by the same loop as those that speak iSCSI.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::StartError;
use super::lane::{Broken, Desk, Dialect};
use super::url::NbdUrl;
use super::work::Ask;

const MAGIC: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REPLY_MAGIC: [u8; 8] = 0x0003_e889_0455_65a9_u64.to_be_bytes();
/// NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES, of the server's and of ours alike.
const HANDSHAKE_FLAGS: u16 = 3;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
/// Set in every reply that says no.
const REP_ERROR: u32 = 1 << 31;
const INFO_EXPORT: u16 = 0;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const REPLY_LEN: usize = 16;
const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;

/// A connection in transmission phase.
#[derive(Debug)]
pub(super) struct Nbd;

/// Connects; the volume's length in bytes.
pub(super) fn connect(url: &NbdUrl) -> Result<(TcpStream, Nbd, u64), StartError> {
    let mut socket = TcpStream::connect(url.server)?;
    socket.set_nodelay(true)?;
    let mut greeting = [0; 18];
    socket.read_exact(&mut greeting)?;
    let flags = u16::from_be_bytes([greeting[16], greeting[17]]);
    if greeting[..16] != *MAGIC || flags & HANDSHAKE_FLAGS != HANDSHAKE_FLAGS {
        return Err(StartError::Refused("this is no NBD server of today".to_owned()));
    }
    let name = url.export.as_bytes();
    let name_len = u32::try_from(name.len()).expect("a name in a URL is short");
    let mut go = Vec::new();
    go.extend_from_slice(&u32::from(HANDSHAKE_FLAGS).to_be_bytes());
    go.extend_from_slice(OPTION_MAGIC);
    go.extend_from_slice(&OPT_GO.to_be_bytes());
    go.extend_from_slice(&(name_len + 6).to_be_bytes());
    go.extend_from_slice(&name_len.to_be_bytes());
    go.extend_from_slice(name);
    go.extend_from_slice(&[0, 0]);
    socket.write_all(&go)?;
    let mut size = None;
    loop {
        let (kind, data) = option_reply(&mut socket)?;
        match kind {
            REP_ACK => break,
            REP_INFO if data.len() >= 12 && data[..2] == INFO_EXPORT.to_be_bytes() => {
                size = Some(at64(&data, 2));
            }
            kind if kind & REP_ERROR != 0 => {
                let said = String::from_utf8_lossy(&data).into_owned();
                return Err(StartError::Refused(format!("NBD_OPT_GO: {kind:#x} {said}")));
            }
            _ => {}
        }
    }
    let size = size.ok_or_else(|| StartError::Refused("the export has no size".to_owned()))?;
    Ok((socket, Nbd, size))
}

fn option_reply(socket: &mut TcpStream) -> Result<(u32, Vec<u8>), StartError> {
    let mut header = [0; 20];
    socket.read_exact(&mut header)?;
    let len = at32(&header, 16);
    if header[..8] != REPLY_MAGIC || len > 4096 {
        return Err(StartError::Refused("an option's reply that is none".to_owned()));
    }
    let mut data = vec![0; len as usize];
    socket.read_exact(&mut data)?;
    Ok((at32(&header, 12), data))
}

impl Dialect for Nbd {
    /// The server reads no further than it likes; there is no window.
    fn is_open(&self) -> bool {
        true
    }

    fn request(&mut self, slot: u32, ask: Ask, desk: &mut Desk<'_>) {
        let mut request = [0; 28];
        request[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        let command = if ask.write { CMD_WRITE } else { CMD_READ };
        request[6..8].copy_from_slice(&command.to_be_bytes());
        request[8..16].copy_from_slice(&u64::from(slot).to_be_bytes());
        request[16..24].copy_from_slice(&ask.offset.to_be_bytes());
        request[24..28].copy_from_slice(&ask.len.to_be_bytes());
        desk.out.head(&request);
        if ask.write {
            desk.out.payload(slot, 0, ask.len as usize);
        }
    }

    fn answer(&mut self, input: &[u8], desk: &mut Desk<'_>) -> Result<Option<usize>, Broken> {
        if input.len() < REPLY_LEN {
            return Ok(None);
        }
        if at32(input, 0) != SIMPLE_REPLY_MAGIC {
            return Err(Broken::Unexpected("what is no simple reply".to_owned()));
        }
        let good = at32(input, 4) == 0;
        let (slot, ask) = desk.slots.ask(at64(input, 8))?;
        let data_len = if good && !ask.write { ask.len as usize } else { 0 };
        let total = REPLY_LEN + data_len;
        if desk.verifies() && data_len > 0 {
            let Some(data) = input.get(REPLY_LEN..total) else {
                return Ok(None);
            };
            desk.slots.data(slot, 0, data)?;
        }
        desk.done(slot, good);
        Ok(Some(total))
    }
}

fn at32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were asked for"))
}

fn at64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes were asked for"))
}
