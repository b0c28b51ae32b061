//! What a machine wants sent: a header, and the name of the bytes that follow it.

use bytes::Bytes;

use crate::digest;
use crate::ids::TaskId;
use crate::limits::BHS_LEN;
use crate::pdu::Bhs;

/// One PDU to be sent. The shell writes [`head`](Self::head), then the body's bytes, then
/// [`tail`](Self::tail) of those bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    bytes: [u8; BHS_LEN + digest::LEN],
    header_digest: bool,
    data_digest: bool,
    /// What follows the header.
    pub body: Body,
}

/// The data segment of a PDU to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// None.
    None,
    /// `len` bytes at `offset` of the data of `task`, which the shell holds.
    Task {
        /// Whose data.
        task: TaskId,
        /// First byte, from the start of the command's data.
        offset: u32,
        /// How many.
        len: u32,
    },
    /// Text, an echoed ping, sense data, a rejected header: small, and held here.
    Bytes(Bytes),
}

impl Body {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Task { len, .. } => *len,
            Self::Bytes(bytes) => {
                u32::try_from(bytes.len()).expect("held bodies are bounded far below 2^24")
            }
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Padding to a multiple of four bytes, then the data digest when one was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    bytes: [u8; 3 + digest::LEN],
    len: u8,
}

impl std::ops::Deref for Tail {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Transmit {
    /// A PDU with `bhs`, whose DataSegmentLength is set from `body`.
    #[must_use]
    pub fn new(mut bhs: Bhs, body: Body, digests: Digests) -> Self {
        bhs.set_data_segment_len(body.len());
        let mut bytes = [0; BHS_LEN + digest::LEN];
        bytes[..BHS_LEN].copy_from_slice(&bhs.0);
        if digests.header {
            let crc = digest::wire(&bhs.0);
            bytes[BHS_LEN..].copy_from_slice(&crc);
        }
        Self { bytes, header_digest: digests.header, data_digest: digests.data, body }
    }

    /// The header with its digest.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        if self.header_digest { &self.bytes } else { &self.bytes[..BHS_LEN] }
    }

    /// The header alone.
    #[must_use]
    pub fn bhs(&self) -> Bhs {
        let mut bhs = Bhs::default();
        bhs.0.copy_from_slice(&self.bytes[..BHS_LEN]);
        bhs
    }

    /// What follows the body, given the body's bytes.
    #[must_use]
    pub fn tail(&self, body: &[u8]) -> Tail {
        let padding = body.len().wrapping_neg() & 3;
        let mut tail = Tail { bytes: [0; 7], len: u8::try_from(padding).expect("below 4") };
        if self.data_digest && !body.is_empty() {
            let crc = if padding == 0 {
                digest::wire(body)
            } else {
                let mut crc = digest::Crc::default();
                crc.update(body);
                crc.update(&tail.bytes[..padding]);
                crc.wire()
            };
            tail.bytes[padding..padding + digest::LEN].copy_from_slice(&crc);
            tail.len += 4;
        }
        tail
    }

    /// The whole PDU, when its body is held here or is empty: for login, tests and the simulator.
    /// `named` gives the bytes of a task's data.
    #[must_use]
    pub fn to_bytes(&self, named: impl FnOnce(TaskId, u32, u32) -> Vec<u8>) -> Vec<u8> {
        let mut out = self.head().to_vec();
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Task { task, offset, len } => named(*task, *offset, *len),
        };
        out.extend_from_slice(&body);
        out.extend_from_slice(&self.tail(&body));
        out
    }
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "opcode {:#04x} {:?}", self.bytes[0] & 0x3f, self.body)
    }
}

/// Which digests a connection has agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Digests {
    /// HeaderDigest=CRC32C.
    pub header: bool,
    /// DataDigest=CRC32C.
    pub data: bool,
}
