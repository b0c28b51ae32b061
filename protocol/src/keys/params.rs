//! What one side proposes, and what both have agreed on.

use crate::Digests;
use crate::limits::{
    BURST_LEN_MAX, FIRST_BURST_LEN, LOGIN_SEGMENT_LEN_MAX, OUTSTANDING_R2T_MAX,
    RECV_SEGMENT_LEN_MAX,
};
use crate::login::Algorithm;

/// What a session is for (§13.21).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SessionType {
    /// SCSI.
    #[default]
    Normal,
    /// SendTargets only.
    Discovery,
}

impl SessionType {
    /// As the key SessionType has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Discovery => "Discovery",
        }
    }
}

/// What both sides agreed on. The default is what holds where nothing was said (§13).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// SessionType.
    pub session: SessionType,
    /// HeaderDigest and DataDigest.
    pub digests: Digests,
    /// InitialR2T: all write data beyond the immediate waits for an R2T.
    pub initial_r2t: bool,
    /// ImmediateData: a command may carry write data.
    pub immediate_data: bool,
    /// The longest data segment that this side takes.
    pub max_recv_ours: u32,
    /// The longest data segment that the other side takes.
    pub max_recv_theirs: u32,
    /// MaxBurstLength: bytes of one R2T or one Data-In sequence.
    pub max_burst_len: u32,
    /// FirstBurstLength: unsolicited bytes of one write, immediate ones included. Never above
    /// `max_burst_len`.
    pub first_burst_len: u32,
    /// DefaultTime2Wait, in seconds.
    pub time_to_wait: u32,
    /// DefaultTime2Retain, in seconds.
    pub time_to_retain: u32,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: u32,
    /// MaxConnections.
    pub max_connections: u32,
    /// ErrorRecoveryLevel.
    pub error_recovery_level: u32,
    /// DataPDUInOrder.
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder.
    pub data_sequence_in_order: bool,
    /// iSCSIProtocolLevel (RFC 7144).
    pub protocol_level: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            session: SessionType::Normal,
            digests: Digests::default(),
            initial_r2t: true,
            immediate_data: true,
            max_recv_ours: LOGIN_SEGMENT_LEN_MAX,
            max_recv_theirs: LOGIN_SEGMENT_LEN_MAX,
            max_burst_len: 262_144,
            first_burst_len: 65_536,
            time_to_wait: 2,
            time_to_retain: 20,
            max_outstanding_r2t: 1,
            max_connections: 1,
            error_recovery_level: 0,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            protocol_level: 1,
        }
    }
}

/// How much one side wants a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigestWish {
    /// None is taken.
    Never,
    /// None is preferred; CRC32C is taken where the other side prefers it.
    #[default]
    Allow,
    /// CRC32C is preferred.
    Prefer,
    /// No session without CRC32C.
    Require,
}

impl DigestWish {
    /// The list to offer, or to choose from.
    #[must_use]
    pub const fn list(self) -> &'static [&'static str] {
        match self {
            Self::Never => &["None"],
            Self::Allow => &["None", "CRC32C"],
            Self::Prefer => &["CRC32C", "None"],
            Self::Require => &["CRC32C"],
        }
    }
}

/// What one side proposes, or is ready to agree on. Values out of a key's range are pulled into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// HeaderDigest.
    pub header_digest: DigestWish,
    /// DataDigest.
    pub data_digest: DigestWish,
    /// InitialR2T; the session has it if either side says so.
    pub initial_r2t: bool,
    /// ImmediateData; the session has it if both sides say so.
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength that this side declares.
    pub max_recv: u32,
    /// MaxBurstLength.
    pub max_burst_len: u32,
    /// FirstBurstLength.
    pub first_burst_len: u32,
    /// DefaultTime2Wait; the greater of both holds.
    pub time_to_wait: u32,
    /// DefaultTime2Retain; the lesser of both holds.
    pub time_to_retain: u32,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: u32,
    /// CHAP_A of an initiator, the most wanted first. A target takes all that it knows.
    pub chap_algorithms: Vec<Algorithm>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            header_digest: DigestWish::default(),
            data_digest: DigestWish::default(),
            initial_r2t: false,
            immediate_data: true,
            max_recv: RECV_SEGMENT_LEN_MAX,
            max_burst_len: BURST_LEN_MAX,
            first_burst_len: FIRST_BURST_LEN,
            // At error recovery level 0 nothing of a lost connection is kept, so there is nothing
            // to wait for.
            time_to_wait: 0,
            time_to_retain: 0,
            max_outstanding_r2t: u32::from(OUTSTANDING_R2T_MAX),
            chap_algorithms: Algorithm::ALL.to_vec(),
        }
    }
}
