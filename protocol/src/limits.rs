//! Every bound of the protocol machines. A peer is told of those that concern it.

/// Bytes of a Basic Header Segment (§11.2.1).
pub const BHS_LEN: usize = 48;

/// Longest Additional Header Segments taken: 255 words is what the field can say (§11.2.1.5).
pub const AHS_LEN_MAX: usize = 255 * 4;

/// MaxRecvDataSegmentLength before anything was negotiated, so the bound of a login PDU (§13.12).
pub const LOGIN_SEGMENT_LEN_MAX: u32 = 8192;

/// MaxRecvDataSegmentLength that we declare.
pub const RECV_SEGMENT_LEN_MAX: u32 = 256 * 1024;

/// MaxBurstLength that we offer; also the largest buffer a transfer takes at a time.
pub const BURST_LEN_MAX: u32 = 1024 * 1024;

/// FirstBurstLength that we offer.
pub const FIRST_BURST_LEN: u32 = 256 * 1024;

/// R2Ts that one write may have outstanding.
pub const OUTSTANDING_R2T_MAX: u16 = 8;

/// Tasks a session starts with before it has shown that it uses them.
pub const TASKS_INITIAL: u32 = 8;

/// Tasks a session may have in flight at most; the widest command window.
pub const TASKS_MAX: u32 = 128;

/// Immediate commands (task management, NOP) taken beyond the window (§4.2.2.1).
pub const IMMEDIATE_MAX: usize = 16;

/// Text of one negotiation, over all the PDUs that carry it.
pub const TEXT_LEN_MAX: usize = 64 * 1024;

/// PDUs that one text negotiation or one login step may take.
pub const TEXT_PDUS_MAX: u32 = 16;

/// Login requests in one login, from the first to the full feature phase.
pub const LOGIN_ROUNDS_MAX: u32 = 32;

/// Pairs that one negotiation text may have. Each may force an answer, so this bounds those too.
pub const PAIRS_MAX: usize = 1024;

/// Longest key name (§6.1).
pub const KEY_LEN_MAX: usize = 63;

/// Longest value of a key unless its definition says otherwise (§6.1).
pub const VALUE_LEN_MAX: usize = 255;

/// Longest binary value: a CHAP challenge or response (§12.1.3).
pub const BINARY_LEN_MAX: usize = 1024;

/// Longest iSCSI name (§4.2.7.1).
pub const NAME_LEN_MAX: usize = 223;

/// Shortest CHAP secret taken: 96 bits (§9.2.1).
pub const CHAP_SECRET_LEN_MIN: usize = 12;

/// Shortest CHAP challenge sent: a shorter one could come twice, or be guessed (§9.2.1).
pub const CHALLENGE_LEN_MIN: usize = 16;

/// Ping data echoed at most; a longer ping is answered with this much of it (§11.18).
pub const PING_LEN_MAX: u32 = 32 * 1024;

/// Answers to pings and rejects that may wait to be sent on one connection.
pub const REPLIES_QUEUED_MAX: usize = 64;

/// Sense data taken or sent at most, with its length field.
pub const SENSE_LEN_MAX: usize = 254;

const _: () = {
    assert!(FIRST_BURST_LEN <= BURST_LEN_MAX);
    assert!(RECV_SEGMENT_LEN_MAX <= BURST_LEN_MAX);
    assert!(RECV_SEGMENT_LEN_MAX >= 512 && BURST_LEN_MAX < 1 << 24);
    assert!(TASKS_INITIAL <= TASKS_MAX);
};
