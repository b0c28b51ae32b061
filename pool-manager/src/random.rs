//! Secrets from the operating system, printable, and the hash under which tokens are kept.

use outband_pool_api::Secret;
use sha2::{Digest, Sha256};

/// Letters and digits without those that people confuse: 5 bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 120 bits, above the 96 that RFC 7143 §9.2.1 asks for.
const CHAP_LETTERS: usize = 24;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}

pub(crate) fn chap_secret() -> Secret {
    let letters = bytes::<CHAP_LETTERS>().map(|byte| LETTERS[usize::from(byte % 32)]);
    Secret::new(letters.iter().copied().map(char::from).collect::<String>())
}

/// 256 bits, with a prefix that tells a person what kind of token it is.
pub(crate) fn token(prefix: &str) -> Secret {
    Secret::new(format!("{prefix}_{}", hex(&bytes::<32>())))
}

pub(crate) fn secret_256() -> [u8; 32] {
    bytes()
}

/// Eight letters for a name that nobody chose.
pub(crate) fn suffix() -> String {
    bytes::<8>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// A token has 256 bits of its own, so a plain hash is enough; and looking a hash up tells an
/// attacker who measures time nothing about a token.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_printable_long_enough_and_new_each_time() {
        let (one, two) = (chap_secret(), chap_secret());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 24);
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(token("obh").expose().len(), 68);
    }

    #[test]
    fn hexadecimal_reads_as_it_is_written() {
        let bytes = secret_256();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex("00"), None);
        assert_eq!(unhex(&"+0".repeat(32)), None);
    }
}
