//! Anybody can send a datagram to a station or a unit: it is refused, or read, and can be answered.

use outband_protocol::announce::{Envelope, Refusal};

/// See the module.
pub fn run(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(input) else {
        return;
    };
    let _ = (envelope.unit(), envelope.key(), envelope.number());
    // With no key named the body is read as well.
    let _ = envelope.refusal();
    let answer = envelope.refuse(Refusal::WrongToken);
    let heard = Envelope::parse(&answer).expect("what was built can be read");
    assert_eq!(heard.refusal(), Some(Refusal::WrongToken));
    assert_eq!((heard.unit(), heard.number()), (envelope.unit(), envelope.number()));
}
