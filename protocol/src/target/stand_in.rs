//! What the login hands over, until `login::target` says it itself.

use crate::Transmit;
use crate::ids::Cid;
use crate::keys::Params;
use crate::serial::Sn;

/// Who logged in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The connection.
    pub cid: Cid,
}

/// A login that was granted.
#[derive(Debug)]
pub struct Admitted {
    /// What was negotiated.
    pub params: Params,
    /// Who.
    pub identity: Identity,
    /// The last Login Response.
    pub last: Transmit,
    /// ExpCmdSN.
    pub exp_cmd_sn: Sn,
    /// MaxCmdSN as the last response says it.
    pub max_cmd_sn: Sn,
    /// StatSN of the next response.
    pub stat_sn: Sn,
}
