//! What the unit API says to a request. No socket.

use std::sync::atomic::Ordering;

use outband_control::access::{Epoch, Grant};
use outband_control::api::{Enrol, Fence, Fenced, VolumeCreate, routes};
use outband_control::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Crowd;
use super::unit::Unit;

/// A request's head and body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) bearer: String,
    pub(super) body: Vec<u8>,
}

pub(super) type Answer = (u16, Vec<u8>);

const UNAUTHORIZED: u16 = 401;
const NOT_FOUND: u16 = 404;
const BAD_REQUEST: u16 = 400;

pub(super) fn answer(crowd: &Crowd, number: usize, request: &Request) -> Answer {
    let unit = &crowd.units[number];
    let path = request.path.split('?').next().unwrap_or_default();
    let key = match path == routes::ENROL {
        true => Some(crowd.join_token.enrol_bearer(unit.id)),
        false => unit.state().secret.as_ref().map(|secret| secret.bearer()),
    };
    if key.as_ref().map(Secret::expose) != Some(request.bearer.as_str()) {
        return no(UNAUTHORIZED);
    }
    let said = match (request.method.as_str(), path) {
        ("GET", routes::INVENTORY) => {
            if unit.note_reader() {
                crowd.read.fetch_add(1, Ordering::Relaxed);
            }
            json(&unit.inventory())
        }
        ("POST", routes::ENROL) => enrol(crowd, unit, request),
        ("POST", routes::VOLUMES) => {
            read::<VolumeCreate>(request).and_then(|ask| json(&unit.state().create(number, &ask)))
        }
        ("PUT", path) if path.starts_with("/v1/grants/") => {
            read::<Grant>(request).and_then(|grant| json(&unit.state().grant(&grant)?))
        }
        ("POST", routes::FENCES) => read::<Fence>(request).and_then(|fence| fenced(unit, &fence)),
        _ => return no(NOT_FOUND),
    };
    said.map_or_else(|| no(BAD_REQUEST), |body| (200, body))
}

fn enrol(crowd: &Crowd, unit: &Unit, request: &Request) -> Option<Vec<u8>> {
    let ask = read::<Enrol>(request).filter(|ask| ask.unit == unit.id)?;
    let key = ask.secret.seal_key();
    unit.state().secret = Some(ask.secret);
    crowd.enrolled.send((unit.number, key)).ok()?;
    Some(b"{}".to_vec())
}

fn fenced(unit: &Unit, fence: &Fence) -> Option<Vec<u8>> {
    let mut state = unit.state();
    let is_it = |subject: &_, epoch: Epoch| *subject == fence.subject && epoch <= fence.epoch;
    state.grants.retain(|grant| !is_it(&grant.subject, grant.epoch));
    let name = fence.subject.to_string();
    let volume = state.volumes.iter_mut().find(|volume| volume.name == name)?;
    volume.epoch_floor = volume.epoch_floor.max(fence.epoch);
    json(&Fenced { floor: volume.epoch_floor })
}

fn read<T: DeserializeOwned>(request: &Request) -> Option<T> {
    serde_json::from_slice(&request.body).ok()
}

fn json(said: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(said).ok()
}

fn no(status: u16) -> Answer {
    let problem = serde_json::json!({
        "type": "https://outband.local/problems/other",
        "title": "no", "status": status, "detail": "the simulated unit does not do that",
    });
    (status, problem.to_string().into_bytes())
}
