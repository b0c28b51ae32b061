//! Datagrams between a unit and its station: fixed big-endian layouts, each sealed by an HMAC-SHA256
//! over everything before it. A unit counts its datagrams, within an incarnation that it counts up at
//! each start; an answer carries the numbers of what it answers. So a replay shows itself.
//!
//! ```text
//!  0  magic "OBAN"   4  version   5  kind   6  key   7  zero
//!  8  unit id (16)  24  incarnation (8)    32  sequence (8)   40  body length (2)   42  body … tag (32)
//! ```

mod body;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use nom::bytes::complete::{tag, take};
use nom::number::complete::{be_u8, be_u16, be_u64};
use nom::{IResult, Parser};
use sha2::Sha256;

/// No datagram is longer, so that none is ever cut into fragments.
pub const DATAGRAM_LEN_MAX: usize = 1200;
/// Longest name of a unit, in bytes.
pub const NAME_LEN_MAX: usize = 63;
/// Longest software version, in bytes.
pub const VERSION_LEN_MAX: usize = 32;
/// Longest name of a network interface (Linux's IFNAMSIZ without its zero).
pub const INTERFACE_LEN_MAX: usize = 15;
/// Portals, and network interfaces, that one STARTUP names at most.
pub const ADDRESSES_MAX: usize = 16;

const MAGIC: &[u8] = b"OBAN";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 42;
const TAG_LEN: usize = 32;

/// One datagram, opened or about to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The unit that sends it or that it is for: the 16 bytes of a UUID.
    pub unit: [u8; 16],
    /// Counted up at each start of the unit.
    pub incarnation: u64,
    /// Counted up with each datagram of the unit; an answer repeats that of the question.
    pub sequence: u64,
    /// What it says.
    pub message: Message,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Unit: I have started. Repeated until it is answered.
    Startup(Startup),
    /// Unit: I am well, every second.
    Alive(Load),
    /// Unit: I stop, in order.
    Shutdown,
    /// Station, to STARTUP: heard; I am going to ask for your inventory.
    NeedInfo,
    /// Station, to STARTUP: heard; an operator has to approve you.
    Pending,
    /// Station, to ALIVE: I know you but not this incarnation of you; say STARTUP again.
    AnnounceAgain,
    /// Station: your seal is not good. Not sealed itself, for want of a key that both know, so a
    /// unit may log it and announce itself again, and must not do more.
    Refused(Refusal),
}

/// Why a station does not take a unit's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool's join token is another one.
    WrongToken,
    /// The pool's join token has expired.
    ExpiredToken,
    /// The unit seals with a secret of its own, and this station has none of it.
    UnknownUnit,
    /// The unit's own secret is another one.
    WrongSecret,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongToken => "wrong join token",
            Self::ExpiredToken => "the join token has expired",
            Self::UnknownUnit => "this unit belongs to another pool, or was removed from this one",
            Self::WrongSecret => "wrong unit secret",
        })
    }
}

/// How a unit introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// SHA-256 of the DER of the certificate that the unit API shows.
    pub fingerprint: [u8; 32],
    /// Where the unit API listens. An unspecified address means the one this datagram came from.
    pub api: SocketAddr,
    /// What its operator calls it; at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Software version; at most [`VERSION_LEN_MAX`] bytes.
    pub version: String,
    /// Advertised iSCSI portals; at most [`ADDRESSES_MAX`].
    pub portals: Vec<SocketAddr>,
    /// Network interfaces; at most [`ADDRESSES_MAX`].
    pub interfaces: Vec<Interface>,
}

/// An address that a network interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name; at most [`INTERFACE_LEN_MAX`] bytes.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// How busy a unit is. Rates are over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sessions logged in.
    pub sessions: u32,
    /// Commands in flight.
    pub in_flight: u32,
    /// Reads completed.
    pub reads_per_second: u32,
    /// Writes completed.
    pub writes_per_second: u32,
    /// Bytes read.
    pub read_bytes_per_second: u64,
    /// Bytes written.
    pub written_bytes_per_second: u64,
    /// Bytes that no extent uses.
    pub free_bytes: u64,
    /// Volumes.
    pub volumes: u16,
    /// Volumes among them that are faulted or incomplete.
    pub faulted: u16,
}

/// Which key seals a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyId {
    /// None: only [`Message::Refused`] may come so.
    None,
    /// The pool's join token.
    JoinToken,
    /// The unit's own secret.
    Unit,
}

/// A key that seals datagrams.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    bytes: [u8; 32],
}

impl Key {
    /// `bytes` as the key that `id` names.
    #[must_use]
    pub fn new(id: KeyId, bytes: [u8; 32]) -> Self {
        Self { id, bytes }
    }

    /// Which key it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes)
            .expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(bytes);
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, …)", self.id)
    }
}

/// Why a datagram is not taken. Nothing of it may be believed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// Not one of ours, cut, or longer than it says.
    #[error("not an announcement datagram")]
    Malformed,
    /// Of a version that we do not speak.
    #[error("announcement datagram of version {0}; this side speaks {VERSION}")]
    Version(u8),
    /// Sealed by another key.
    #[error("the seal is not good")]
    Seal,
    /// A field that is longer or has more entries than a datagram may carry.
    #[error("{0} does not fit into an announcement datagram")]
    TooLong(&'static str),
}

impl Datagram {
    /// The bytes to send, sealed by `key`; without a key only for [`Message::Refused`].
    ///
    /// # Errors
    /// [`BadDatagram::TooLong`] names the field of a STARTUP that is over its bound.
    ///
    /// # Panics
    /// When anything but a refusal is to go out without a seal.
    pub fn build(&self, key: Option<&Key>) -> Result<Vec<u8>, BadDatagram> {
        let id = key.map_or(KeyId::None, Key::id);
        let bare = matches!(self.message, Message::Refused(_));
        assert!(bare || id != KeyId::None, "only a refusal goes out without a seal");
        let body = body::build(&self.message)?;
        let len = u16::try_from(body.len()).map_err(|_| BadDatagram::TooLong("the message"))?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + TAG_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, body::kind(&self.message), key_code(id), 0]);
        bytes.extend_from_slice(&self.unit);
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&body);
        let tag = key.map(|key| key.mac(&bytes).finalize().into_bytes().into());
        bytes.extend_from_slice(&tag.unwrap_or([0; TAG_LEN]));
        Ok(bytes)
    }

    /// An answer to this datagram.
    #[must_use]
    pub fn answer(&self, message: Message) -> Self {
        Self { message, ..*self }
    }
}

/// A datagram of which only the envelope was looked at: enough to choose the key.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    unit: [u8; 16],
    incarnation: u64,
    sequence: u64,
    kind: u8,
    key: KeyId,
    body: &'a [u8],
    signed: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads the envelope. What it says is not to be believed before [`Self::open`].
    ///
    /// # Errors
    /// When this is not a whole datagram of ours, and nothing but it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadDatagram> {
        match bytes {
            _ if bytes.len() > DATAGRAM_LEN_MAX => return Err(BadDatagram::Malformed),
            [b'O', b'B', b'A', b'N', version, ..] if *version != VERSION => {
                return Err(BadDatagram::Version(*version));
            }
            _ => {}
        }
        match envelope(bytes) {
            Ok(([], envelope)) => Ok(envelope),
            _ => Err(BadDatagram::Malformed),
        }
    }

    /// The unit that it claims to be from or for.
    #[must_use]
    pub fn unit(&self) -> [u8; 16] {
        self.unit
    }

    /// The key that it claims to be sealed by.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Proves the seal and reads the message.
    ///
    /// # Errors
    /// [`BadDatagram::Seal`] when another key sealed it.
    pub fn open(&self, key: &Key) -> Result<Datagram, BadDatagram> {
        if self.key != key.id || self.key == KeyId::None {
            return Err(BadDatagram::Seal);
        }
        key.mac(self.signed).verify_slice(self.tag).map_err(|_| BadDatagram::Seal)?;
        self.read()
    }

    /// Why the station refuses, if that is what this says. Nobody has proved it: a hint.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if self.key != KeyId::None {
            return None;
        }
        match self.read().ok()?.message {
            Message::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// A refusal of this datagram, to be sent as it is. It is shorter than any question, so that
    /// nobody gains by asking in another's name.
    #[must_use]
    pub fn refuse(&self, refusal: Refusal) -> Vec<u8> {
        let (unit, incarnation, sequence) = (self.unit, self.incarnation, self.sequence);
        Datagram { unit, incarnation, sequence, message: Message::Refused(refusal) }
            .build(None)
            .expect("a refusal has no field that could be too long")
    }

    /// The numbers that tell which datagram this is or answers.
    #[must_use]
    pub fn number(&self) -> (u64, u64) {
        (self.incarnation, self.sequence)
    }

    fn read(&self) -> Result<Datagram, BadDatagram> {
        let message = body::parse(self.kind, self.body).ok_or(BadDatagram::Malformed)?;
        let (unit, incarnation, sequence) = (self.unit, self.incarnation, self.sequence);
        Ok(Datagram { unit, incarnation, sequence, message })
    }
}

fn envelope(bytes: &[u8]) -> IResult<&[u8], Envelope<'_>> {
    let (rest, (_, _, kind, key)) =
        (tag(MAGIC), tag(&[VERSION][..]), be_u8, be_u8.map_opt(key_id)).parse(bytes)?;
    let (rest, (_, unit)) = (tag(&[0][..]), take(16_usize)).parse(rest)?;
    let (rest, (incarnation, sequence, len)) = (be_u64, be_u64, be_u16).parse(rest)?;
    let (rest, (body, tag)) = (take(len), take(TAG_LEN)).parse(rest)?;
    let unit = unit.try_into().expect("sixteen bytes were taken");
    let signed = &bytes[..HEADER_LEN + usize::from(len)];
    Ok((rest, Envelope { unit, incarnation, sequence, kind, key, body, signed, tag }))
}

fn key_code(id: KeyId) -> u8 {
    match id {
        KeyId::None => 0,
        KeyId::JoinToken => 1,
        KeyId::Unit => 2,
    }
}

fn key_id(code: u8) -> Option<KeyId> {
    [KeyId::None, KeyId::JoinToken, KeyId::Unit].into_iter().find(|id| key_code(*id) == code)
}

/// The newest datagram seen of one unit. Only newer ones are taken, so that a replay is not, nor a
/// datagram that a newer one has overtaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    incarnation: u64,
    sequence: u64,
}

impl Seen {
    /// What is left of it after a restart of the station: the incarnation that it stored.
    #[must_use]
    pub fn of_incarnation(incarnation: u64) -> Self {
        Self { incarnation, sequence: 0 }
    }

    /// Whether an opened `datagram` is newer than all before; it is the newest then.
    pub fn take(&mut self, datagram: &Datagram) -> bool {
        let this = Self { incarnation: datagram.incarnation, sequence: datagram.sequence };
        let newer = this > *self;
        if newer {
            *self = this;
        }
        newer
    }

    /// The incarnation to store.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }
}
