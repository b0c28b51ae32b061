//! Any bytes of somebody who logs in and has no secret: he is never let in, whatever he says, and
//! however his stream is cut he hears the same.
//!
//! The first two bytes say where the stream is cut.

use outband_protocol::keys::Offer;
use outband_protocol::login::target::{Demand, Event, Login, Settings};
use outband_protocol::login::{Credentials, Secret};

/// A login that asks for a proof of secrets which no input has.
pub(crate) struct Guarded {
    login: Option<Login>,
    /// Everything that was answered.
    pub(crate) said: Vec<Vec<u8>>,
}

impl Guarded {
    pub(crate) fn new() -> Self {
        let settings =
            Settings { offer: Offer::default(), target_portal_group_tag: 1, alias: None };
        Self { login: Some(Login::new(settings)), said: Vec::new() }
    }

    /// Hears `input`. False when the login is over.
    ///
    /// # Panics
    /// When it lets anybody in.
    pub(crate) fn hear(&mut self, mut input: &[u8]) -> bool {
        let Some(login) = &mut self.login else {
            return false;
        };
        let goes_on = loop {
            match login.next_event(&mut input) {
                Ok(Some(Event::Identified(_))) => login.require(demand()),
                Ok(Some(Event::Ready(identity))) => {
                    panic!("{identity:?} was let in without a secret")
                }
                Ok(Some(Event::Refused(_))) | Err(_) => break false,
                Ok(None) => break true,
            }
        };
        while let Some(transmit) = login.poll_transmit() {
            self.said.push(transmit.to_bytes(|_, _, _| Vec::new()));
        }
        if !goes_on {
            self.login = None;
        }
        goes_on
    }
}

fn demand() -> Demand {
    let secret = |byte| Secret::new(vec![byte; 16]);
    let credentials = Credentials {
        user: "user".to_owned(),
        secret: secret(0x5a),
        mutual: Some(("target".to_owned(), secret(0xa5))),
    };
    Demand::Chap { credentials, id: 7, challenge: vec![0x3c; 24] }
}

/// See the module.
pub fn run(input: &[u8]) {
    let [first, second, stream @ ..] = input else {
        return;
    };
    let whole = heard([stream]);
    let mut cuts = [*first, *second].map(|cut| usize::from(cut) * 2 % (stream.len() + 1));
    cuts.sort_unstable();
    let [a, b] = cuts;
    let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
    assert_eq!(heard(pieces), whole);
    assert_eq!(heard(stream.chunks(1)), whole);
}

fn heard<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Vec<u8>> {
    let mut login = Guarded::new();
    for piece in pieces {
        if !login.hear(piece) {
            break;
        }
    }
    login.said
}
