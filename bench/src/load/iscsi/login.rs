//! Getting in: the login itself is `outband-protocol`'s; then the unit attentions and the capacity.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process;

use outband_protocol::digest;
use outband_protocol::ids::{Cid, IscsiName, Isid, Tsih};
use outband_protocol::keys::{DigestWish, Offer};
use outband_protocol::limits::BHS_LEN;
use outband_protocol::login::initiator::{Config, Event, LoggedIn, Login};
use outband_protocol::pdu::opcode;
use outband_protocol::serial::Sn;

use super::{FINAL, HAS_STATUS, Iscsi, READ, SIMPLE, at32};
use crate::load::StartError;
use crate::load::url::IscsiUrl;

/// Unit attentions that may wait for a new session.
const ATTENTIONS_MAX: usize = 8;
const TEST_UNIT_READY: u8 = 0x00;
/// SERVICE ACTION IN(16), READ CAPACITY(16) (SBC-3 §5.15).
const READ_CAPACITY: [u8; 2] = [0x9e, 0x10];
const CAPACITY_LEN: u8 = 32;
/// A tag that no slot has.
const TAG: [u8; 4] = [0x7f, 0, 0, 0];

/// What a session asks for in its login.
#[derive(Clone, Debug)]
pub struct Terms {
    /// CRC32C over headers.
    pub header_digest: bool,
    /// CRC32C over data.
    pub data_digest: bool,
    /// Take no immediate data along.
    pub no_immediate: bool,
    /// Wait for an R2T before any other data.
    pub initial_r2t: bool,
    /// MaxRecvDataSegmentLength.
    pub segment_len: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            header_digest: false,
            data_digest: false,
            no_immediate: false,
            initial_r2t: false,
            segment_len: 262_144,
        }
    }
}

impl Terms {
    fn offer(&self) -> Offer {
        let wish = |digest| if digest { DigestWish::Prefer } else { DigestWish::Never };
        Offer {
            header_digest: wish(self.header_digest),
            data_digest: wish(self.data_digest),
            initial_r2t: self.initial_r2t,
            immediate_data: !self.no_immediate,
            max_recv: self.segment_len,
            first_burst_len: 262_144,
            ..Offer::default()
        }
    }
}

/// Logs in as host number `number`; the session, and the volume's length in bytes.
pub(in crate::load) fn connect(
    url: &IscsiUrl,
    terms: &Terms,
    number: u32,
) -> Result<(TcpStream, Iscsi, u64), StartError> {
    let mut socket = TcpStream::connect(url.portal)?;
    socket.set_nodelay(true)?;
    let logged_in = log_in(&mut socket, url, terms, number)?;
    let mut session = Iscsi {
        lun: lun_field(url.lun),
        block_len: 0,
        cmd_sn: logged_in.cmd_sn.0,
        max_cmd_sn: logged_in.max_cmd_sn.0,
        exp_stat_sn: logged_in.exp_stat_sn.0,
        last_digest: None,
        params: logged_in.params,
    };
    let mut ready = [0; 16];
    ready[0] = TEST_UNIT_READY;
    for _ in 0..ATTENTIONS_MAX {
        if session.command(&mut socket, &ready, 0)?.0 == 0 {
            break;
        }
    }
    let mut capacity = [0; 16];
    capacity[..2].copy_from_slice(&READ_CAPACITY);
    capacity[13] = CAPACITY_LEN;
    let (status, data) = session.command(&mut socket, &capacity, u32::from(CAPACITY_LEN))?;
    if status != 0 || data.len() < 12 {
        return Err(StartError::Refused(format!("READ CAPACITY(16), status {status:#04x}")));
    }
    session.block_len = at32(&data, 8);
    let last = u64::from(at32(&data, 0)) << 32 | u64::from(at32(&data, 4));
    Ok((socket, session, (last + 1) * u64::from(at32(&data, 8))))
}

/// LUNs below 256 in peripheral addressing (SAM-5 §4.7.7.2).
fn lun_field(lun: u8) -> [u8; 8] {
    [0, lun, 0, 0, 0, 0, 0, 0]
}

fn log_in(
    socket: &mut TcpStream,
    url: &IscsiUrl,
    terms: &Terms,
    number: u32,
) -> Result<LoggedIn, StartError> {
    // A host of its own each time: the last run's session may still be ending.
    let name = format!("iqn.2026-11.local.outband.load:{}:{number}", process::id());
    let [_, high, middle, low] = number.to_be_bytes();
    let mut login = Login::new(Config {
        name: IscsiName::new(&name).map_err(|error| StartError::Refused(error.to_string()))?,
        alias: None,
        target: Some(url.target.clone()),
        // Format 10b, random (§11.12.5): told apart by the session's number.
        isid: Isid([0x80, 0, 0, high, middle, low]),
        tsih: Tsih(0),
        cid: Cid(0),
        offer: terms.offer(),
        chap: None,
        challenge: (0, Vec::new()),
        cmd_sn: Sn(1),
    });
    let mut received = [0; 16_384];
    loop {
        while let Some(transmit) = login.poll_transmit() {
            socket.write_all(&transmit.to_bytes(|_, _, _| Vec::new()))?;
        }
        let got = socket.read(&mut received)?;
        if got == 0 {
            return Err(StartError::Refused("the server closed the connection".to_owned()));
        }
        match login.next_event(&mut &received[..got])? {
            Some(Event::Done(logged_in)) => return Ok(logged_in),
            Some(Event::Refused(status)) => {
                return Err(StartError::Refused(format!("login status {status:?}")));
            }
            Some(Event::Redirect { address, .. }) => {
                return Err(StartError::Refused(format!("the target is at {address:?}")));
            }
            None => {}
        }
    }
}

impl Iscsi {
    /// One command, waited for, before the load begins: its status and data.
    fn command(
        &mut self,
        socket: &mut TcpStream,
        cdb: &[u8; 16],
        read_len: u32,
    ) -> Result<(u8, Vec<u8>), StartError> {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = opcode::SCSI_COMMAND;
        bhs[1] = FINAL | SIMPLE | if read_len > 0 { READ } else { 0 };
        bhs[8..16].copy_from_slice(&self.lun);
        bhs[16..20].copy_from_slice(&TAG);
        bhs[20..24].copy_from_slice(&read_len.to_be_bytes());
        bhs[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        bhs[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        bhs[32..].copy_from_slice(cdb);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        let mut sent = bhs.to_vec();
        if self.params.digests.header {
            sent.extend_from_slice(&digest::wire(&bhs));
        }
        socket.write_all(&sent)?;
        let mut data = Vec::new();
        loop {
            let (bhs, segment) = self.read_pdu(socket)?;
            let operation = bhs[0] & 0x3f;
            let has_status = match operation {
                opcode::DATA_IN => bhs[1] & HAS_STATUS != 0,
                opcode::SCSI_RESPONSE => true,
                // A target may ping a new session at once; it has time for the answer.
                opcode::NOP_IN => continue,
                other => {
                    let said = format!("opcode {other:#04x} in answer to a command");
                    return Err(StartError::Refused(said));
                }
            };
            self.count(&bhs, has_status);
            if operation == opcode::DATA_IN {
                data.extend_from_slice(&segment);
            }
            if has_status {
                return Ok((bhs[3], data));
            }
        }
    }

    /// The next PDU, whole, its digests unchecked: the load will check them.
    fn read_pdu(&self, socket: &mut TcpStream) -> Result<([u8; BHS_LEN], Vec<u8>), StartError> {
        let mut bhs = [0; BHS_LEN];
        socket.read_exact(&mut bhs)?;
        let len = (at32(&bhs, 4) & 0x00ff_ffff) as usize;
        let before = self.header_len() - BHS_LEN + usize::from(bhs[4]) * 4;
        let digest_len = if self.params.digests.data && len > 0 { digest::LEN } else { 0 };
        let mut rest = vec![0; before + len.next_multiple_of(4) + digest_len];
        socket.read_exact(&mut rest)?;
        Ok((bhs, rest[before..before + len].to_vec()))
    }
}
