//! Every problem the station can answer with, and its status. The only place that maps them.

use outband_pool_api::{JobState, Problem, Scope, Size};

use crate::allocate::Why;
use crate::store::StoreError;
use crate::unit::Refusal;

pub fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new("bad-request", 400, "The request is malformed", detail)
}

pub fn unauthorized() -> Problem {
    let detail = "send a valid token as \"Authorization: Bearer …\"";
    Problem::new("unauthorized", 401, "The token is missing or not valid", detail)
}

pub fn token_expired() -> Problem {
    let detail = "this token has expired; have a new one made with outband token create";
    Problem::new("token-expired", 401, "The token has expired", detail)
}

pub fn forbidden(scope: Scope) -> Problem {
    let detail = format!("a token of the scope {scope} does not allow that; use another one");
    Problem::new("forbidden", 403, "Not allowed", detail)
}

pub fn not_found(kind: &str, name: &str) -> Problem {
    Problem::new("not-found", 404, "Not found", format!("there is no {kind} \"{name}\""))
}

pub fn method_not_allowed() -> Problem {
    let detail = "this path does not know that method; see /v1/openapi.json";
    Problem::new("method-not-allowed", 405, "Method not allowed", detail)
}

pub fn name_taken(kind: &str, name: &str) -> Problem {
    let detail = format!("a {kind} named \"{name}\" exists already; choose another name");
    Problem::new("name-taken", 409, "The name is taken", detail)
}

pub fn busy(volume: &str) -> Problem {
    let detail = format!("another job is still changing \"{volume}\"; wait for it");
    Problem::new("busy", 409, "The volume is being changed", detail)
}

/// A rule of the pool forbids it as things are; `detail` says what to do first.
pub fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new("conflict", 409, "Not possible as things are", detail)
}

pub fn key_reused() -> Problem {
    let detail = "the idempotency key was used before, for something else; use a new one";
    Problem::new("idempotency-key-reused", 422, "The idempotency key is taken", detail)
}

pub fn no_place(why: &Why, size: u64) -> Problem {
    let asked = Size(size);
    match why {
        Why::Empty => bad_request(why.to_string()),
        Why::NoUnit | Why::PinnedNotUsable(_) | Why::Unsuited(_) => {
            Problem::new("no-unit", 409, "No unit can take it", why.to_string())
        }
        Why::TooLarge { largest, .. } => {
            let detail = format!("no room for {asked} ({size} bytes): {why}");
            let problem = Problem::new("too-large", 409, "Larger than what is free", detail);
            Problem { largest: Some(Size(*largest)), ..problem }
        }
    }
}

pub fn unit_refused(volume: &str, refusal: Refusal, detail: &str) -> Problem {
    let detail = format!("the unit refuses \"{volume}\": {detail}");
    match refusal {
        Refusal::NoSpace => Problem::new("too-large", 409, "Larger than what is free", detail),
        Refusal::StaleEpoch | Refusal::Held | Refusal::NotFound | Refusal::Other => {
            Problem::new("unit-refused", 409, "The unit refuses", detail)
        }
    }
}

pub fn volume_lost(volume: &str) -> Problem {
    let detail = format!("the unit does not report \"{volume}\" any more");
    Problem::new("volume-missing", 409, "The volume is missing", detail)
}

/// The note on a job that goes on by itself once the unit can be reached.
pub fn waiting(detail: impl Into<String>) -> Problem {
    Problem::new("waiting", 503, "Waiting for the unit", detail)
}

/// Why a job that somebody has cancelled ends.
pub fn cancelled(by: &str) -> Problem {
    Problem::new("cancelled", 409, "Cancelled", format!("{by} has cancelled it"))
}

/// Why a job ends that was not done by its deadline.
pub fn too_late() -> Problem {
    let detail = "it was not done by its deadline, and was taken back";
    Problem::new("deadline-exceeded", 409, "Not done in time", detail)
}

/// The state in which a job ends that was taken back for this.
pub fn end_of(failure: Option<&Problem>) -> JobState {
    match failure.map(Problem::kind) {
        None => JobState::Done,
        Some("cancelled") => JobState::Cancelled,
        Some(_) => JobState::Failed,
    }
}

pub fn foreign(volume: &str) -> Problem {
    conflict(format!(
        "\"{volume}\" is on a unit with a partition, or a grant to a host that is not registered \
         here, or on two units; settle it there"
    ))
}

pub fn not_recognised(volume: &str) -> Problem {
    let detail = format!(
        "the station was restored from a backup, and the unit of \"{volume}\" has not been heard \
         since; wait for it, or see outband volume forget"
    );
    Problem::new("not-recognised", 409, "The unit may know better", detail)
}

pub fn not_confirmed(name: &str) -> Problem {
    let detail =
        format!("nothing leads back from this; say \"{name}\" once more as its confirmation");
    Problem::new("not-confirmed", 400, "Not confirmed", detail)
}

pub fn forgotten(volume: &str) -> Problem {
    let detail = format!("\"{volume}\" was forgotten; what is on its unit stays as it is there");
    Problem::new("forgotten", 409, "The volume was forgotten", detail)
}

/// Why a job ends that was under way when the backup was made that the station was restored from.
pub fn restored() -> Problem {
    let detail =
        "the station was restored from a backup that is older; look how things are, and ask anew";
    Problem::new("restored", 409, "The station was restored", detail)
}

pub fn job_ended(state: JobState) -> Problem {
    let detail = format!("the job is {state} already");
    Problem::new("job-ended", 409, "The job has ended", detail)
}

pub fn not_cancellable() -> Problem {
    let detail = "nothing leads back from where this job is; it goes on until it is done";
    Problem::new("not-cancellable", 409, "The job cannot be cancelled", detail)
}

pub fn quota(host: &str, quota: u64, used: u64) -> Problem {
    let left = quota.saturating_sub(used);
    let detail = format!(
        "{host} may have {}, and has {}; {} are left. See outband host set {host} --quota",
        Size(quota),
        Size(used),
        Size(left)
    );
    let problem = Problem::new("quota-exceeded", 409, "Above the host's quota", detail);
    Problem { largest: Some(Size(left)), ..problem }
}

pub fn replaced(host: &str, by: &str) -> Problem {
    let detail = format!(
        "{by} has taken over from {host}, which gets nothing new until it is resumed; see outband \
         host resume {host}"
    );
    Problem::new("host-replaced", 409, "Another host has taken over", detail)
}

pub fn takeover_incomplete(volumes: &str) -> Problem {
    let detail = format!("these volumes could not be moved: {volumes}; see their jobs");
    Problem::new("takeover-incomplete", 409, "Not all volumes were moved", detail)
}

/// RFC 9110 §15.5.13.
pub fn changed(revision: u64) -> Problem {
    let detail = format!("it was changed meanwhile, and is at revision {revision}; look again");
    Problem::new("changed-meanwhile", 412, "Changed meanwhile", detail)
}

pub fn superseded() -> Problem {
    let detail = "a later request released or deleted the volume";
    Problem::new("superseded", 409, "Superseded", detail)
}

pub fn overloaded() -> Problem {
    let detail = "too many requests change the same records at once; try again";
    Problem::new("overloaded", 503, "Try again", detail)
}

pub fn took_too_long() -> Problem {
    Problem::new("timeout", 503, "Took too long", "the station did not finish in time; try again")
}

/// The station's own fault. The log has the details; the answer names no file and no secret.
pub fn store_failed(error: &StoreError) -> Problem {
    if matches!(error, StoreError::Contended) {
        return overloaded();
    }
    tracing::error!(error = error as &dyn std::error::Error, "the store failed");
    internal()
}

pub fn internal() -> Problem {
    Problem::new("internal", 500, "The station failed", "see the station's log")
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        store_failed(&error)
    }
}
