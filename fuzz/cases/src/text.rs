//! Any text, in pieces as PDUs bring it, is refused or read; what is read is negotiated by a target
//! and by an initiator without a panic, and what they answer is text again.
//!
//! The first byte chooses role, session and the size of the pieces.

use outband_protocol::keys::{
    Asked, Negotiation, Offer, Pairs, PortalAddress, Role, SessionType, TextBuffer, TextQueue,
    parse_targets,
};
use outband_protocol::pdu::Stage;

/// See the module.
pub fn run(input: &[u8]) {
    let [which, text @ ..] = input else {
        return;
    };
    let Some(whole) = collected(text, usize::from(which >> 3) + 1) else {
        return;
    };
    assert_eq!(whole, text, "a text comes together as it was sent");
    // An answer to SendTargets, as an initiator reads it from a target it has no reason to trust.
    for record in parse_targets(&whole).into_iter().flatten() {
        record.portals.iter().for_each(is_read_again);
    }
    let Ok(pairs) = Pairs::parse(&whole) else {
        return;
    };
    // What a value says where it is asked for targets, or where one has moved to.
    for pair in pairs.iter() {
        let _ = Asked::parse(pair.value);
        if let Ok(address) = pair.value.parse() {
            is_read_again(&address);
        }
    }
    let role = if which & 1 == 0 { Role::Target } else { Role::Initiator };
    let session = if which & 2 == 0 { SessionType::Normal } else { SessionType::Discovery };
    let stage = if which & 4 == 0 { Stage::Operational } else { Stage::Security };
    let mut negotiation = Negotiation::new(role, session, Offer::default());
    let mut answer = TextQueue::default();
    if role == Role::Initiator {
        negotiation.propose(&mut TextQueue::default());
    }
    if negotiation.take(&pairs, stage, &mut answer).is_ok() {
        let (answer, more) = answer.next_piece(usize::MAX);
        assert!(!more);
        Pairs::parse(&answer).expect("no key is answered twice, and every answer is text");
        let _ = negotiation.finish();
    }
}

fn is_read_again(address: &PortalAddress) {
    assert_eq!(address.to_string().parse().as_ref(), Ok(address));
}

/// The text after it came in PDUs of `len` bytes; `None` when that was too much.
fn collected(text: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut buffer = TextBuffer::default();
    let mut pieces = text.chunks(len).peekable();
    while let Some(piece) = pieces.next() {
        buffer.add(piece).ok()?;
        if let Some(whole) = buffer.end_of_pdu(pieces.peek().is_some()).ok()? {
            return Some(whole);
        }
    }
    Some(Vec::new())
}
