//! Login Request and Response (§11.12, §11.13).

use super::{Bhs, CONTINUE, FINAL, FieldError, Order, Sequence, opcode};
use crate::ids::{Cid, Isid, Itt, Tsih};

/// Where a login stands (§11.12.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Stage {
    /// SecurityNegotiation, 0.
    #[default]
    Security,
    /// LoginOperationalNegotiation, 1.
    Operational,
    /// FullFeaturePhase, 3.
    FullFeature,
}

impl Stage {
    fn parse(bits: u8) -> Result<Self, FieldError> {
        match bits & 3 {
            0 => Ok(Self::Security),
            1 => Ok(Self::Operational),
            3 => Ok(Self::FullFeature),
            _ => Err(FieldError("CSG or NSG")),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Security => 0,
            Self::Operational => 1,
            Self::FullFeature => 3,
        }
    }
}

/// A step of the initiator's login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginRequest {
    /// Ready for stage `next` (T and NSG).
    pub transit: Option<Stage>,
    /// The text goes on in the next request (C).
    pub more: bool,
    /// The stage this belongs to (CSG).
    pub current: Stage,
    /// Highest version spoken; 0 is the only one.
    pub version_max: u8,
    /// Lowest version spoken.
    pub version_min: u8,
    /// The initiator's part of the session's name.
    pub isid: Isid,
    /// 0 for a new session.
    pub tsih: Tsih,
    /// The same in the whole login.
    pub itt: Itt,
    /// The connection's name in its session.
    pub cid: Cid,
    /// A login is always immediate; CmdSN of the first one starts the session's count.
    pub order: Order,
}

impl LoginRequest {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        let transit = if bhs.flag(FINAL) { Some(Stage::parse(bhs.0[1])?) } else { None };
        let mut isid = [0; 6];
        isid.copy_from_slice(&bhs.0[8..14]);
        Ok(Self {
            transit,
            more: bhs.flag(CONTINUE),
            current: Stage::parse(bhs.0[1] >> 2)?,
            version_max: bhs.0[2],
            version_min: bhs.0[3],
            isid: Isid(isid),
            tsih: Tsih(bhs.u16(14)),
            itt: bhs.itt(),
            cid: Cid(bhs.u16(20)),
            order: Order { immediate: true, ..bhs.order() },
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::LOGIN_REQUEST);
        put_stages(&mut bhs, self.transit, self.more, self.current);
        bhs.0[2] = self.version_max;
        bhs.0[3] = self.version_min;
        bhs.0[8..14].copy_from_slice(&self.isid.0);
        bhs.put_u16(14, self.tsih.0);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u16(20, self.cid.0);
        bhs.put_order(Order { immediate: true, ..self.order });
        bhs
    }
}

fn put_stages(bhs: &mut Bhs, transit: Option<Stage>, more: bool, current: Stage) {
    bhs.put_flag(CONTINUE, more);
    bhs.0[1] |= current.bits() << 2;
    if let Some(next) = transit {
        bhs.put_flag(FINAL, true);
        bhs.0[1] |= next.bits();
    }
}

/// Status-Class and Status-Detail of a Login Response (§11.13.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginStatus {
    /// 0 success, 1 redirection, 2 initiator error, 3 target error.
    pub class: u8,
    /// What exactly.
    pub detail: u8,
}

impl LoginStatus {
    /// The login goes on.
    pub const SUCCESS: Self = Self::new(0, 0);
    /// Target moved temporarily: see TargetAddress.
    pub const MOVED_TEMPORARILY: Self = Self::new(1, 1);
    /// Target moved permanently.
    pub const MOVED_PERMANENTLY: Self = Self::new(1, 2);
    /// Any other initiator error.
    pub const INITIATOR_ERROR: Self = Self::new(2, 0);
    /// The initiator could not be authenticated.
    pub const AUTHENTICATION_FAILURE: Self = Self::new(2, 1);
    /// The initiator may not use this target.
    pub const AUTHORIZATION_FAILURE: Self = Self::new(2, 2);
    /// No such target.
    pub const NOT_FOUND: Self = Self::new(2, 3);
    /// The target is gone for good.
    pub const TARGET_REMOVED: Self = Self::new(2, 4);
    /// No common version.
    pub const UNSUPPORTED_VERSION: Self = Self::new(2, 5);
    /// Too many connections, or too many evictions.
    pub const TOO_MANY_CONNECTIONS: Self = Self::new(2, 6);
    /// A key that must be there is not.
    pub const MISSING_PARAMETER: Self = Self::new(2, 7);
    /// The connection cannot join that session.
    pub const CANNOT_INCLUDE_IN_SESSION: Self = Self::new(2, 8);
    /// This type of session is not offered.
    pub const SESSION_TYPE_UNSUPPORTED: Self = Self::new(2, 9);
    /// TSIH of a session that is not.
    pub const SESSION_DOES_NOT_EXIST: Self = Self::new(2, 0x0a);
    /// A PDU that has no place in a login.
    pub const INVALID_DURING_LOGIN: Self = Self::new(2, 0x0b);
    /// The target has a fault.
    pub const TARGET_ERROR: Self = Self::new(3, 0);
    /// The service is not available now.
    pub const SERVICE_UNAVAILABLE: Self = Self::new(3, 1);
    /// The target has run out of something.
    pub const OUT_OF_RESOURCES: Self = Self::new(3, 2);

    /// A status by its two bytes.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self { class, detail }
    }
}

impl std::fmt::Display for LoginStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = match *self {
            Self::SUCCESS => "success",
            Self::MOVED_TEMPORARILY => "target moved temporarily",
            Self::MOVED_PERMANENTLY => "target moved permanently",
            Self::AUTHENTICATION_FAILURE => "authentication failed",
            Self::AUTHORIZATION_FAILURE => "not authorised for this target",
            Self::NOT_FOUND => "no such target",
            Self::TARGET_REMOVED => "target removed",
            Self::UNSUPPORTED_VERSION => "no common version",
            Self::TOO_MANY_CONNECTIONS => "too many connections",
            Self::MISSING_PARAMETER => "a required key is missing",
            Self::CANNOT_INCLUDE_IN_SESSION => "the connection cannot join the session",
            Self::SESSION_TYPE_UNSUPPORTED => "session type not supported",
            Self::SESSION_DOES_NOT_EXIST => "no such session",
            Self::INVALID_DURING_LOGIN => "a request that has no place in a login",
            Self::TARGET_ERROR => "target error",
            Self::SERVICE_UNAVAILABLE => "service unavailable",
            Self::OUT_OF_RESOURCES => "target out of resources",
            Self { class: 2, .. } => "initiator error",
            _ => "unknown status",
        };
        write!(f, "{:02x}{:02x} ({words})", self.class, self.detail)
    }
}

/// A step of the target's login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginResponse {
    /// The login moves to this stage (T and NSG).
    pub transit: Option<Stage>,
    /// The text goes on in the next response (C).
    pub more: bool,
    /// The stage this belongs to (CSG).
    pub current: Stage,
    /// Highest version spoken.
    pub version_max: u8,
    /// The version in use.
    pub version_active: u8,
    /// As in the request.
    pub isid: Isid,
    /// The new session's handle, in the last response.
    pub tsih: Tsih,
    /// As in the request.
    pub itt: Itt,
    /// Progress.
    pub sequence: Sequence,
    /// Anything but class 0 ends the connection.
    pub status: LoginStatus,
}

impl LoginResponse {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        let status = LoginStatus::new(bhs.0[36], bhs.0[37]);
        // A failing response need not carry sensible stages; they are not looked at (§11.13.5).
        let failed = status.class != 0;
        let stage = |bits| match Stage::parse(bits) {
            Err(_) if failed => Ok(Stage::Security),
            other => other,
        };
        let mut isid = [0; 6];
        isid.copy_from_slice(&bhs.0[8..14]);
        Ok(Self {
            transit: if bhs.flag(FINAL) { Some(stage(bhs.0[1])?) } else { None },
            more: bhs.flag(CONTINUE),
            current: stage(bhs.0[1] >> 2)?,
            version_max: bhs.0[2],
            version_active: bhs.0[3],
            isid: Isid(isid),
            tsih: Tsih(bhs.u16(14)),
            itt: bhs.itt(),
            sequence: bhs.sequence(),
            status,
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::LOGIN_RESPONSE);
        put_stages(&mut bhs, self.transit, self.more, self.current);
        bhs.0[2] = self.version_max;
        bhs.0[3] = self.version_active;
        bhs.0[8..14].copy_from_slice(&self.isid.0);
        bhs.put_u16(14, self.tsih.0);
        bhs.put_u32(16, self.itt.0);
        bhs.put_sequence(self.sequence);
        bhs.0[36] = self.status.class;
        bhs.0[37] = self.status.detail;
        bhs
    }
}
