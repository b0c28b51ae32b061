//! The same as `login`, said in whole requests, so that the keys are what is tried: lists, numbers,
//! hex and base64 of CHAP, in any order and at any stage.
//!
//! 0xff parts the requests. The first byte of each is the byte of flags and stages of its header;
//! the rest is its text, in which `;` stands for the end of a pair.

use crate::login::Guarded;

const NAMES: &[u8] = b"InitiatorName=iqn.2026-11.local.host:a\0\
    TargetName=iqn.2026-11.local.outband:pool:vol\0";

/// A Login Request with these flags and this text (§11.12).
fn request(flags: u8, text: &[u8], number: u8) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[0] = 0x43;
    bytes[1] = flags;
    let [_, len @ ..] = u32::try_from(text.len()).expect("an input is short").to_be_bytes();
    bytes[5..8].copy_from_slice(&len);
    bytes[8..14].copy_from_slice(&[0x80, 0, 0, 0, 0, 1]);
    bytes[19] = 1;
    bytes[27] = 1;
    bytes[31] = number;
    bytes.extend_from_slice(text);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// See the module.
pub fn run(input: &[u8]) {
    let mut login = Guarded::new();
    for (number, piece) in (0u8..).zip(input.split(|byte| *byte == 0xff)) {
        let [flags, text @ ..] = piece else {
            continue;
        };
        let mut said = if number == 0 { NAMES.to_vec() } else { Vec::new() };
        said.extend(text.iter().map(|byte| if *byte == b';' { 0 } else { *byte }));
        if !login.hear(&request(*flags, &said, number)) {
            return;
        }
    }
}
