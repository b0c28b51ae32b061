//! Secrets from the machine's randomness, printable, and the hash under which tokens are kept.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use outband_control::machine::Machine;
use outband_pool_api::Secret;
use sha2::{Digest, Sha256};

/// Letters and digits without those that people confuse: 5 bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// What a CHAP secret is made of: 6 bits each, and nothing that a URL or a shell would take amiss.
const CHAP_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 96 bits, which RFC 7143 §9.2.1 asks for, in the 16 characters that Windows takes at most.
const CHAP_LETTERS: usize = 16;

pub(crate) fn chap_secret(machine: &dyn Machine) -> Secret {
    let letters =
        machine.random::<CHAP_LETTERS>().map(|byte| CHAP_ALPHABET[usize::from(byte % 64)]);
    Secret::new(letters.iter().copied().map(char::from).collect::<String>())
}

/// 256 bits, with a prefix that tells a person what kind of token it is.
pub(crate) fn token(machine: &dyn Machine, prefix: &str) -> Secret {
    Secret::new(format!("{prefix}_{}", hex(&machine.random::<32>())))
}

/// Eight letters for a name that nobody chose.
pub(crate) fn suffix(machine: &dyn Machine) -> String {
    machine.random::<8>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// A token has 256 bits of its own, so a plain hash is enough; and looking a hash up tells an
/// attacker who measures time nothing about a token.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use outband_control::machine::Os;

    use super::*;

    #[test]
    fn secrets_are_printable_long_enough_and_new_each_time() {
        let (one, two) = (chap_secret(&Os), chap_secret(&Os));
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 16, "Windows takes 12 to 16 characters");
        assert!(one.expose().bytes().all(|byte| CHAP_ALPHABET.contains(&byte)));
        assert_eq!(token(&Os, "obh").expose().len(), 68);
    }

    #[test]
    fn hexadecimal_reads_as_it_is_written() {
        let bytes = [0x5a; 32];
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex("00"), None);
        assert_eq!(unhex(&"+0".repeat(32)), None);
    }
}
