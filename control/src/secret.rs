//! Secrets: never shown by `Debug`, wiped when dropped, compared in constant time; and the keys that
//! are derived from them, so that no secret itself is ever on the wire.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, Mac};
use outband_protocol::announce;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroize;

/// Text that must not appear in a log: a CHAP secret, a join token.
#[derive(Clone, Serialize, Deserialize, zeroize::ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// `text` as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The pool's join token: it enrols a unit, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinToken(Secret);

impl JoinToken {
    /// A token as the operator copied it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Secret::new(text.trim()))
    }

    /// Seals the datagrams of a unit that is not enrolled.
    #[must_use]
    pub fn seal_key(&self) -> announce::Key {
        let key = derive(self.0.expose().as_bytes(), &[b"outband announce"]);
        announce::Key::new(announce::KeyId::JoinToken, key)
    }

    /// With this the station proves to `unit` that it knows the token. Good for no other unit.
    #[must_use]
    pub fn enrol_bearer(&self, unit: Uuid) -> Secret {
        let key = derive(self.0.expose().as_bytes(), &[b"outband enrol", unit.as_bytes()]);
        Secret::new(hex(&key))
    }
}

/// A unit's own 256-bit secret, given by the station when the unit is enrolled.
#[derive(Clone, zeroize::ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitSecret([u8; 32]);

impl UnitSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Seals the datagrams of the unit, and the station's answers to them.
    #[must_use]
    pub fn seal_key(&self) -> announce::Key {
        announce::Key::new(announce::KeyId::Unit, derive(&self.0, &[b"outband announce"]))
    }

    /// With this the station proves itself to the unit's API.
    #[must_use]
    pub fn bearer(&self) -> Secret {
        Secret::new(hex(&derive(&self.0, &[b"outband unit api"])))
    }
}

impl PartialEq for UnitSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for UnitSecret {}

impl fmt::Debug for UnitSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnitSecret(…)")
    }
}

impl TryFrom<String> for UnitSecret {
    type Error = &'static str;

    fn try_from(mut text: String) -> Result<Self, Self::Error> {
        let bytes = unhex(&text);
        text.zeroize();
        bytes.map(Self).ok_or("a unit's secret is 64 hexadecimal digits")
    }
}

impl From<UnitSecret> for String {
    fn from(secret: UnitSecret) -> Self {
        hex(&secret.0)
    }
}

fn derive(secret: &[u8], purpose: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length (RFC 2104)");
    purpose.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}
