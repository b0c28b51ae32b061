use outband_protocol::announce::KeyId;

use super::*;
use crate::secret::{JoinToken, UnitSecret};

/// A unit and a station that talk, and what was said.
struct Talk {
    unit: Announcer,
    now: Instant,
    said: Vec<String>,
}

fn token_key() -> Key {
    JoinToken::new("token").seal_key()
}

fn startup() -> Startup {
    Startup {
        fingerprint: [1; 32],
        api: "192.0.2.1:7443".parse().unwrap(),
        name: "shelf".to_owned(),
        version: "0".to_owned(),
        portals: Vec::new(),
        interfaces: Vec::new(),
    }
}

impl Talk {
    fn new() -> Self {
        let now = Instant::now();
        let unit = Announcer::new(Uuid::nil(), 3, startup(), token_key(), now).unwrap();
        Self { unit, now, said: Vec::new() }
    }

    /// Lets the unit's next datagram fall due, and takes it.
    fn hear(&mut self) -> Vec<u8> {
        let due = self.unit.poll_timeout();
        assert!(self.unit.poll_transmit(due - Duration::from_nanos(1), 0, Load::default).is_none());
        let pause = due - self.now;
        self.now = due;
        let bytes = self.unit.poll_transmit(due, u32::MAX, Load::default).unwrap();
        let kind = match bytes[5] {
            1 => "startup",
            3 => "alive",
            _ => "other",
        };
        self.said.push(format!("{kind} after {} ms", pause.as_millis()));
        bytes
    }

    fn answer(&mut self, to: &[u8], key: &Key, message: Message) -> Option<Heard> {
        let asked = Envelope::parse(to).unwrap().open(key).unwrap();
        let answer = asked.answer(message).build(Some(key)).unwrap();
        self.unit.handle_datagram(&answer, self.now)
    }
}

#[test]
fn startup_is_repeated_with_growing_pauses_until_it_is_heard_and_alive_follows() {
    let mut talk = Talk::new();
    for _ in 0..8 {
        talk.hear();
    }
    let last = talk.hear();
    assert_eq!(talk.answer(&last, &token_key(), Message::NeedInfo), Some(Heard::NeedInfo));
    talk.hear();
    talk.hear();
    let pauses = [0, 250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000];
    let mut expected = pauses.map(|pause| format!("startup after {pause} ms")).to_vec();
    expected.extend(["alive after 1000 ms".to_owned(), "alive after 1000 ms".to_owned()]);
    assert_eq!(talk.said, expected);
}

#[test]
fn chance_shortens_a_pause_by_half_at_most() {
    assert_eq!(pause(0, 0), PAUSE_MIN / 2);
    assert_eq!(pause(0, u32::MAX), PAUSE_MIN);
    assert_eq!(pause(u32::MAX, u32::MAX), PAUSE_MAX);
}

#[test]
fn a_wrong_token_is_said_and_the_unit_keeps_trying_at_its_own_pace() {
    let mut talk = Talk::new();
    for _ in 0..3 {
        let bytes = talk.hear();
        let refusal = Envelope::parse(&bytes).unwrap().refuse(Refusal::WrongToken);
        let heard = talk.unit.handle_datagram(&refusal, talk.now);
        assert_eq!(heard, Some(Heard::Refused(Refusal::WrongToken)));
    }
    talk.hear();
    let pauses = [0, 250, 500, 1000].map(|pause| format!("startup after {pause} ms"));
    assert_eq!(talk.said, pauses);
}

#[test]
fn forged_replayed_and_misdirected_answers_are_as_if_they_had_not_come() {
    let mut talk = Talk::new();
    let bytes = talk.hear();
    let asked = Envelope::parse(&bytes).unwrap().open(&token_key()).unwrap();
    let good = asked.answer(Message::NeedInfo);
    let forged = Key::new(KeyId::JoinToken, [0; 32]);
    let bad = [
        (good.clone(), forged),
        (Datagram { incarnation: 2, ..good.clone() }, token_key()),
        (Datagram { sequence: 2, ..good.clone() }, token_key()),
        (Datagram { unit: [1; 16], ..good.clone() }, token_key()),
    ];
    for (datagram, key) in bad {
        let bytes = datagram.build(Some(&key)).unwrap();
        assert_eq!(talk.unit.handle_datagram(&bytes, talk.now), None, "{datagram:?}");
    }
    assert_eq!(talk.unit.handle_datagram(&bytes, talk.now), None, "its own datagram, reflected");
    assert!(talk.unit.is_announcing());
}

#[test]
fn an_enrolled_unit_seals_by_its_own_secret_and_announces_again_when_asked() {
    let mut talk = Talk::new();
    let bytes = talk.hear();
    assert_eq!(talk.answer(&bytes, &token_key(), Message::Pending), Some(Heard::Pending));
    let own = UnitSecret::random().unwrap().seal_key();
    talk.unit.set_key(own.clone());
    let bytes = talk.hear();
    assert_eq!(talk.answer(&bytes, &own, Message::AnnounceAgain), Some(Heard::AnnounceAgain));
    let bytes = talk.hear();
    assert_eq!(talk.answer(&bytes, &own, Message::NeedInfo), Some(Heard::NeedInfo));
    let last = Envelope::parse(&talk.unit.shutdown()).unwrap().open(&own).unwrap();
    assert_eq!((last.message, last.sequence), (Message::Shutdown, 4));
    let said = ["startup after 0 ms", "alive after 1000 ms", "startup after 250 ms"];
    assert_eq!(talk.said, said);
}
