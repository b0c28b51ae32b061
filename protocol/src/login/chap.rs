//! CHAP (§12.1.3, RFC 1994): secrets, algorithms and the comparison of responses. Challenges are
//! handed in: there is no randomness here.

use std::fmt;

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use sha3::Sha3_256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::keys;
use crate::limits::CHAP_SECRET_LEN_MIN;

/// A secret shared with a peer. It is wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Keeps `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether it has the 96 bits that the standard asks for.
    #[must_use]
    pub fn is_long_enough(&self) -> bool {
        self.0.len() >= CHAP_SECRET_LEN_MIN
    }

    /// Whether both are the same, in a time that tells nothing of where they differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A name and the secret that proves it, for each direction in use.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// CHAP_N of the initiator.
    pub user: String,
    /// Proves the initiator to the target.
    pub secret: Secret,
    /// CHAP_N and secret that prove the target to the initiator.
    pub mutual: Option<(String, Secret)>,
}

/// Credentials that no login should be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Shorter than 96 bits: open to guessing from one recorded login.
    #[error("a CHAP secret has at least {CHAP_SECRET_LEN_MIN} bytes")]
    TooShort,
    /// One secret in both directions can be had from the peer by asking it (§9.2.1).
    #[error("the CHAP secrets of the two directions are the same")]
    Same,
    /// A name that cannot go into a login.
    #[error("a CHAP name has 1 to 255 bytes")]
    Name,
}

impl Credentials {
    /// Says what is wrong with them, for whoever configures them.
    pub fn check(&self) -> Result<(), CredentialsError> {
        let names = [Some(&self.user), self.mutual.as_ref().map(|(user, _)| user)];
        if names.into_iter().flatten().any(|name| !(1..=255).contains(&name.len())) {
            return Err(CredentialsError::Name);
        }
        let mutual = self.mutual.as_ref().map(|(_, secret)| secret);
        if !self.secret.is_long_enough() || mutual.is_some_and(|secret| !secret.is_long_enough()) {
            return Err(CredentialsError::TooShort);
        }
        if self.has_same_secrets() { Err(CredentialsError::Same) } else { Ok(()) }
    }

    /// For an initiator that nobody knows: the login goes the same way and takes the same time as
    /// that of a known one, and fails. `random` is drawn for this login alone.
    #[must_use]
    pub fn decoy(random: [u8; 32]) -> Self {
        Self { user: String::new(), secret: Secret::new(random.to_vec()), mutual: None }
    }

    pub(super) fn has_same_secrets(&self) -> bool {
        self.mutual.as_ref().is_some_and(|(_, mutual)| mutual.is_same(&self.secret))
    }
}

/// How the response is computed (IANA's "iSCSI CHAP algorithms").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// 5; every implementation has it.
    Md5,
    /// 6.
    Sha1,
    /// 7.
    Sha256,
    /// 8.
    Sha3_256,
}

impl Algorithm {
    /// All, the strongest first.
    pub const ALL: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// Its number in CHAP_A.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3_256 => 8,
        }
    }

    /// The algorithm that `text` is the whole number of.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = keys::number(text)?;
        Self::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// The first of an offered list that is known: the list is in the initiator's order of
    /// preference (§6.2.1, §12.1.3).
    #[must_use]
    pub fn choose(offered: &str) -> Option<Self> {
        keys::list(offered).find_map(Self::parse)
    }

    /// CHAP_A with these.
    pub(super) fn offer(list: &[Self]) -> String {
        list.iter().map(|algorithm| algorithm.number().to_string()).collect::<Vec<_>>().join(",")
    }

    /// The response that `secret` makes of a challenge.
    #[must_use]
    pub fn response(self, id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
        fn hash<D: Digest>(id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
            D::new().chain_update([id]).chain_update(&secret.0).chain_update(challenge).finalize()[..]
                .to_vec()
        }
        match self {
            Self::Md5 => hash::<Md5>(id, secret, challenge),
            Self::Sha1 => hash::<Sha1>(id, secret, challenge),
            Self::Sha256 => hash::<Sha256>(id, secret, challenge),
            Self::Sha3_256 => hash::<Sha3_256>(id, secret, challenge),
        }
    }

    /// Whether `user` and `response`, as CHAP_N and CHAP_R brought them, are what is expected.
    /// Both are always compared, and in full.
    pub(super) fn proves(
        self,
        expected: (&str, &Secret),
        got: (&str, &[u8]),
        id: u8,
        challenge: &[u8],
    ) -> bool {
        let right = self.response(id, expected.1, challenge);
        let same_name = got.0.as_bytes().ct_eq(expected.0.as_bytes());
        let same_response = got.1.ct_eq(&right);
        (same_name & same_response).into()
    }

    /// Bytes of a response.
    #[must_use]
    pub const fn response_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// Reads CHAP_R: exactly one response long.
    pub(super) fn read_response(self, text: &str) -> Option<Vec<u8>> {
        let len = self.response_len();
        keys::binary(text, len).filter(|bytes| bytes.len() == len)
    }
}

/// Reads CHAP_I.
pub(super) fn read_id(text: &str) -> Option<u8> {
    keys::number(text).and_then(|id| u8::try_from(id).ok())
}
