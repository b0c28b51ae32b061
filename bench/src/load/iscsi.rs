//! iSCSI (RFC 7143) as a load generator needs it: READ and WRITE, nothing else, in place.

pub(super) mod login;

use outband_protocol::digest;
use outband_protocol::keys::Params;
use outband_protocol::limits::BHS_LEN;
use outband_protocol::pdu::opcode;

use super::lane::{Broken, Desk, Dialect};
use super::work::Ask;

/// No target transfer tag: unsolicited data (§11.7.4), or a NOP that wants no answer (§11.18).
const NO_TAG: [u8; 4] = [0xff; 4];
const FINAL: u8 = 0x80;
const READ: u8 = 0x40;
const WRITE: u8 = 0x20;
/// Task attribute SIMPLE (§11.3.1).
const SIMPLE: u8 = 1;
/// A Data-In with the status of its command (§11.7.3).
const HAS_STATUS: u8 = 1;

/// A session in full feature phase.
#[derive(Debug)]
pub(super) struct Iscsi {
    params: Params,
    /// In every PDU for the logical unit.
    lun: [u8; 8],
    block_len: u32,
    cmd_sn: u32,
    max_cmd_sn: u32,
    exp_stat_sn: u32,
    /// The digest of the last payload: it is the same for each request unless data is verified.
    last_digest: Option<(usize, usize, [u8; 4])>,
}

impl Iscsi {
    fn header_len(&self) -> usize {
        if self.params.digests.header { BHS_LEN + digest::LEN } else { BHS_LEN }
    }

    /// Sends a header and, if `start..end` is not empty, that part of what the slot writes.
    fn send(
        &mut self,
        bhs: &mut [u8; BHS_LEN],
        slot: u32,
        part: (usize, usize),
        desk: &mut Desk<'_>,
    ) {
        let (start, end) = part;
        let len = u32::try_from(end - start).expect("a segment is below 2^24");
        bhs[5..8].copy_from_slice(&len.to_be_bytes()[1..]);
        desk.out.head(bhs);
        if self.params.digests.header {
            desk.out.head(&digest::wire(bhs));
        }
        if len == 0 {
            return;
        }
        // Blocks are whole multiples of four bytes: there is no padding.
        desk.out.payload(slot, start, end);
        if self.params.digests.data {
            let crc = self.payload_digest(slot, start, end, desk);
            desk.out.head(&crc);
        }
    }

    fn payload_digest(&mut self, slot: u32, start: usize, end: usize, desk: &Desk<'_>) -> [u8; 4] {
        if let Some((last_start, last_end, crc)) = self.last_digest
            && (last_start, last_end) == (start, end)
            && !desk.verifies()
        {
            return crc;
        }
        let crc = digest::wire(&desk.payload_of(slot)[start..end]);
        self.last_digest = Some((start, end, crc));
        crc
    }

    /// Sends `start..end` of a write's data, solicited by `tag` or not.
    fn data_out(&mut self, slot: u32, tag: [u8; 4], range: (usize, usize), desk: &mut Desk<'_>) {
        let (mut start, end) = range;
        let segment = self.params.max_recv_theirs as usize;
        let mut data_sn = 0u32;
        while start < end {
            let until = end.min(start + segment);
            let mut bhs = [0; BHS_LEN];
            bhs[0] = opcode::DATA_OUT;
            bhs[1] = if until == end { FINAL } else { 0 };
            bhs[8..16].copy_from_slice(&self.lun);
            bhs[16..20].copy_from_slice(&slot.to_be_bytes());
            bhs[20..24].copy_from_slice(&tag);
            bhs[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
            bhs[36..40].copy_from_slice(&data_sn.to_be_bytes());
            bhs[40..44].copy_from_slice(&word(start));
            self.send(&mut bhs, slot, (start, until), desk);
            data_sn += 1;
            start = until;
        }
    }

    fn read_command(&mut self, bhs: &mut [u8; BHS_LEN], slot: u32, desk: &mut Desk<'_>) {
        bhs[1] = FINAL | READ | SIMPLE;
        self.send(bhs, slot, (0, 0), desk);
    }

    /// With what data may come along: immediate in the command, the rest of the first burst behind it.
    fn write_command(
        &mut self,
        bhs: &mut [u8; BHS_LEN],
        slot: u32,
        len: usize,
        desk: &mut Desk<'_>,
    ) {
        let first = len.min(self.params.first_burst_len as usize);
        let segment = self.params.max_recv_theirs as usize;
        let immediate = if self.params.immediate_data { first.min(segment) } else { 0 };
        let unsolicited = if self.params.initial_r2t { immediate } else { first };
        let last = if unsolicited > immediate { 0 } else { FINAL };
        bhs[1] = last | WRITE | SIMPLE;
        self.send(bhs, slot, (0, immediate), desk);
        self.data_out(slot, NO_TAG, (immediate, unsolicited), desk);
    }

    /// Echoes a ping of the target's.
    fn on_ping(&mut self, bhs: &[u8], desk: &mut Desk<'_>) {
        if bhs[20..24] == NO_TAG {
            return;
        }
        let mut echo = [0; BHS_LEN];
        echo[0] = opcode::NOP_OUT | 0x40;
        echo[1] = FINAL;
        echo[8..16].copy_from_slice(&bhs[8..16]);
        echo[16..20].copy_from_slice(&NO_TAG);
        echo[20..24].copy_from_slice(&bhs[20..24]);
        echo[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        echo[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        self.send(&mut echo, 0, (0, 0), desk);
    }

    /// StatSN, of PDUs that use one up, and MaxCmdSN (§4.2.2).
    fn count(&mut self, bhs: &[u8], has_status: bool) {
        if has_status {
            self.exp_stat_sn = at32(bhs, 24).wrapping_add(1);
        }
        let max = at32(bhs, 32);
        if max.wrapping_sub(self.max_cmd_sn) < 1 << 31 {
            self.max_cmd_sn = max;
        }
    }

    fn on_pdu(&mut self, pdu: &[u8], data: &[u8], desk: &mut Desk<'_>) -> Result<(), Broken> {
        let tag = u64::from(at32(pdu, 16));
        let operation = pdu[0] & 0x3f;
        let has_status = match operation {
            opcode::DATA_IN => pdu[1] & HAS_STATUS != 0,
            opcode::R2T => false,
            // A ping carries the next StatSN and does not use it up (§11.19.2).
            opcode::NOP_IN => pdu[16..20] != NO_TAG,
            _ => true,
        };
        self.count(pdu, has_status);
        match operation {
            opcode::DATA_IN => {
                let (slot, _) = desk.slots.ask(tag)?;
                if desk.verifies() {
                    desk.slots.data(slot, at32(pdu, 40) as usize, data)?;
                }
                if has_status {
                    desk.done(slot, pdu[3] == 0);
                }
            }
            opcode::SCSI_RESPONSE => {
                let (slot, _) = desk.slots.ask(tag)?;
                desk.done(slot, pdu[2] == 0 && pdu[3] == 0);
            }
            opcode::R2T => {
                let (slot, ask) = desk.slots.ask(tag)?;
                let (start, len) = (at32(pdu, 40) as usize, at32(pdu, 44) as usize);
                if !ask.write || start + len > ask.len as usize {
                    return Err(Broken::Unexpected("an R2T for more than is written".to_owned()));
                }
                let tag = [pdu[20], pdu[21], pdu[22], pdu[23]];
                self.data_out(slot, tag, (start, start + len), desk);
            }
            opcode::NOP_IN => self.on_ping(pdu, desk),
            opcode::REJECT => {
                return Err(Broken::Unexpected(format!("a Reject, reason {:#04x}", pdu[2])));
            }
            other => return Err(Broken::Unexpected(format!("a PDU with opcode {other:#04x}"))),
        }
        Ok(())
    }
}

impl Dialect for Iscsi {
    fn is_open(&self) -> bool {
        self.max_cmd_sn.wrapping_sub(self.cmd_sn) < 1 << 31
    }

    fn request(&mut self, slot: u32, ask: Ask, desk: &mut Desk<'_>) {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = opcode::SCSI_COMMAND;
        bhs[8..16].copy_from_slice(&self.lun);
        bhs[16..20].copy_from_slice(&slot.to_be_bytes());
        bhs[20..24].copy_from_slice(&ask.len.to_be_bytes());
        bhs[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        bhs[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        write_cdb(&mut bhs, ask, self.block_len);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        if ask.write {
            self.write_command(&mut bhs, slot, ask.len as usize, desk);
        } else {
            self.read_command(&mut bhs, slot, desk);
        }
    }

    fn answer(&mut self, input: &[u8], desk: &mut Desk<'_>) -> Result<Option<usize>, Broken> {
        let header_len = self.header_len();
        if input.len() < header_len {
            return Ok(None);
        }
        let data_len = (at32(input, 4) & 0x00ff_ffff) as usize;
        let start = header_len + usize::from(input[4]) * 4;
        let padded = start + data_len.next_multiple_of(4);
        let has_data_digest = self.params.digests.data && data_len > 0;
        let total = padded + if has_data_digest { digest::LEN } else { 0 };
        // Only what is looked at has to be here.
        let looks = has_data_digest || (desk.verifies() && input[0] & 0x3f == opcode::DATA_IN);
        if looks && input.len() < total {
            return Ok(None);
        }
        let bhs = &input[..BHS_LEN];
        if self.params.digests.header && digest::wire(bhs) != input[BHS_LEN..header_len] {
            desk.tally.wrong += 1;
        }
        if has_data_digest && digest::wire(&input[start..padded]) != input[padded..total] {
            desk.tally.wrong += 1;
        }
        let data = if looks { &input[start..start + data_len] } else { &[] };
        self.on_pdu(bhs, data, desk)?;
        Ok(Some(total))
    }
}

/// READ(10) or WRITE(10), and their 16-byte kin where the place needs it (SBC-3 §5.16, §5.32).
fn write_cdb(bhs: &mut [u8; BHS_LEN], ask: Ask, block_len: u32) {
    let lba = ask.offset / u64::from(block_len);
    let blocks = ask.len / block_len;
    let cdb = &mut bhs[32..];
    match (u32::try_from(lba), u16::try_from(blocks)) {
        (Ok(lba), Ok(blocks)) => {
            cdb[0] = if ask.write { 0x2a } else { 0x28 };
            cdb[2..6].copy_from_slice(&lba.to_be_bytes());
            cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
        }
        _ => {
            cdb[0] = if ask.write { 0x8a } else { 0x88 };
            cdb[2..10].copy_from_slice(&lba.to_be_bytes());
            cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
        }
    }
}

fn at32(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..at + 4].try_into().expect("four bytes were asked for");
    u32::from_be_bytes(word)
}

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("within one request").to_be_bytes()
}
