//! Any bytes as the body of a request to the station or to a unit, as a unit's answer to its station,
//! as a datagram, or as a name or a size typed by a person: refused, or read into something that
//! survives being written and read again.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use outband_control::access::{Grant, Redirect, Source, Subject};
use outband_control::api as unit;
use outband_pool_api as station;
use outband_protocol::announce::{Envelope, Refusal};
use outband_protocol::ids::IscsiName;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// See the module.
pub fn run(input: &[u8]) {
    datagram(input);
    json::<station::VolumeRequest>(input);
    json::<station::GrowRequest>(input);
    json::<station::AssignRequest>(input);
    json::<station::HostRequest>(input);
    json::<station::JoinTokenRequest>(input);
    json::<station::Volume>(input);
    json::<unit::VolumeCreate>(input);
    json::<unit::VolumeGrow>(input);
    json::<unit::PartitionCreate>(input);
    json::<unit::Fence>(input);
    json::<unit::Storage>(input);
    json::<Grant>(input);
    json::<Redirect>(input);
    let _ = serde_json::from_slice::<unit::Inventory>(input);
    let _ = serde_json::from_slice::<unit::Enrol>(input);
    if let Ok(text) = std::str::from_utf8(input) {
        typed::<Subject>(text);
        typed::<Source>(text);
        let _ = text.parse::<station::Size>();
        if let Ok(name) = text.parse::<IscsiName>() {
            assert_eq!(IscsiName::new(name.as_str()).as_ref(), Ok(&name));
        }
    }
}

/// A seal cannot be guessed. A datagram that says it has none is read as far as a refusal may be.
fn datagram(input: &[u8]) {
    if let Ok(envelope) = Envelope::parse(input) {
        let _ = envelope.refusal();
        let refusal = envelope.refuse(Refusal::WrongToken);
        let again = Envelope::parse(&refusal).expect("an answer is a datagram");
        assert_eq!(again.refusal(), Some(Refusal::WrongToken));
        assert!(refusal.len() <= input.len() + 1, "nobody gains by asking in another's name");
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(input) {
        let text = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(value));
    }
}

fn typed<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}
