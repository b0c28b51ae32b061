//! Who may do what: one table, and the answer to everything that is not in it is no.

use std::time::Duration;

use outband_pool_api::{JobKind, Problem, Scope};
use uuid::Uuid;

use crate::problems;
use crate::records::{JobRecord, VolumeRecord, Wish};

/// What can be asked of a station. Each handler asks for one of these before anything else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    SeePool,
    SeeJoinToken,
    MakeJoinToken,
    SeeUnits,
    /// Approving a unit lets a machine hold the pool's data.
    AdmitUnits,
    ForgetUnits,
    /// What a unit is used for: labels, cordon, maintenance …
    RunUnits,
    SeeHosts,
    SeeOwnHost,
    /// Registering and removing hosts makes and voids tokens and secrets.
    ManageHosts,
    /// Takeover and resumption.
    RunHosts,
    /// Volumes of every host, and those that no host has.
    SeeAnyVolume,
    SeeVolumes,
    /// CHAP secrets of the hosts that volumes are given to.
    SeeSecrets,
    ChangeVolumes,
    /// Which host has a volume.
    GiveVolumes,
    SeeJobs,
    ChangeJobs,
    SeeEvents,
    SeeAudit,
    ManageTokens,
    BackUp,
    /// How the station's own process works, such as what it writes to its log.
    TuneStation,
}

use Action as A;

/// The table. What a host may do, it may do with its own volumes and jobs.
const ALLOWED: [(Scope, &[Action]); 5] = [
    (
        Scope::Viewer,
        &[
            A::SeePool,
            A::SeeUnits,
            A::SeeHosts,
            A::SeeOwnHost,
            A::SeeAnyVolume,
            A::SeeVolumes,
            A::SeeJobs,
            A::SeeEvents,
        ],
    ),
    (
        Scope::Operator,
        &[
            A::SeePool,
            A::SeeUnits,
            A::RunUnits,
            A::SeeHosts,
            A::SeeOwnHost,
            A::RunHosts,
            A::SeeAnyVolume,
            A::SeeVolumes,
            A::ChangeVolumes,
            A::GiveVolumes,
            A::SeeJobs,
            A::ChangeJobs,
            A::SeeEvents,
            A::SeeAudit,
        ],
    ),
    (
        Scope::Admin,
        &[
            A::SeePool,
            A::SeeJoinToken,
            A::MakeJoinToken,
            A::SeeUnits,
            A::AdmitUnits,
            A::ForgetUnits,
            A::RunUnits,
            A::SeeHosts,
            A::SeeOwnHost,
            A::ManageHosts,
            A::RunHosts,
            A::SeeAnyVolume,
            A::SeeVolumes,
            A::SeeSecrets,
            A::ChangeVolumes,
            A::GiveVolumes,
            A::SeeJobs,
            A::ChangeJobs,
            A::SeeEvents,
            A::SeeAudit,
            A::ManageTokens,
            A::BackUp,
            A::TuneStation,
        ],
    ),
    (Scope::Unit, &[A::SeeJoinToken]),
    (
        Scope::Host,
        &[A::SeeOwnHost, A::SeeVolumes, A::SeeSecrets, A::ChangeVolumes, A::SeeJobs, A::ChangeJobs],
    ),
];

/// Whether the table says so.
pub fn allows(scope: Scope, action: Action) -> bool {
    let row = ALLOWED.iter().find(|(of, _)| *of == scope);
    row.is_some_and(|(_, actions)| actions.contains(&action))
}

/// Whoever a valid token belongs to, and what was said with this one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    pub scope: Scope,
    /// The token's name; with the scope `host` the host's. Empty: the station's first token.
    pub name: String,
    /// Why, for the job and the audit log.
    pub reason: Option<String>,
    /// A job that is not done so soon is taken back.
    pub deadline: Option<Duration>,
    /// The change is to happen only if the record is still of this revision (`If-Match`).
    pub only_if: Option<u64>,
    /// The job that this request tries again.
    pub retry_of: Option<Uuid>,
    /// The job that this request is a part of.
    pub part_of: Option<Uuid>,
}

impl Caller {
    /// Whoever has the token that the station made at its first start.
    pub const ADMIN: Self = Self::of(Scope::Admin, String::new());

    pub const fn of(scope: Scope, name: String) -> Self {
        let (reason, deadline, only_if, retry_of, part_of) = (None, None, None, None, None);
        Self { scope, name, reason, deadline, only_if, retry_of, part_of }
    }

    pub fn host(name: impl Into<String>) -> Self {
        Self::of(Scope::Host, name.into())
    }

    /// Whoever has begun this job, for a part of it. It may what its actor may now.
    pub(crate) fn behind(job: &JobRecord) -> Self {
        let (scope, name) = job.actor.split_once(':').unwrap_or((&job.actor, ""));
        // A scope that is not known any more may the least.
        let scope = scope.parse().unwrap_or(Scope::Unit);
        let (reason, part_of) = (job.reason.clone(), Some(job.id));
        Self { reason, part_of, ..Self::of(scope, name.to_owned()) }
    }

    pub fn may(&self, action: Action) -> bool {
        allows(self.scope, action)
    }

    pub fn must(&self, action: Action) -> Result<(), Problem> {
        if self.may(action) { Ok(()) } else { Err(problems::forbidden(self.scope)) }
    }

    /// As jobs and the audit log have it. Also tells apart who used an idempotency key.
    pub fn actor(&self) -> String {
        match self.name.as_str() {
            "" => self.scope.to_string(),
            name => format!("{}:{name}", self.scope),
        }
    }

    fn own_host(&self) -> Option<&str> {
        (self.scope == Scope::Host).then_some(self.name.as_str())
    }

    /// For whom a volume is asked: a host asks for itself alone.
    pub fn host_asked_for(&self, asked: Option<&str>) -> Result<String, Problem> {
        self.must(Action::ChangeVolumes)?;
        match (self.own_host(), asked) {
            (None, Some(host)) => Ok(host.to_owned()),
            (None, None) => Err(problems::bad_request("say with \"host\" whom the volume is for")),
            (Some(own), None) => Ok(own.to_owned()),
            (Some(own), Some(host)) if own == host => Ok(own.to_owned()),
            (Some(_), Some(_)) => Err(problems::forbidden(self.scope)),
        }
    }

    pub fn may_see_host(&self, host: &str) -> bool {
        self.may(Action::SeeHosts) || self.may(Action::SeeOwnHost) && self.own_host() == Some(host)
    }

    /// Of a volume it may not see, a host does not learn that it exists.
    pub fn may_see(&self, volume: &VolumeRecord) -> bool {
        // A volume that was released is its host's no more.
        let held = volume.wish != Wish::Free || !volume.settled;
        let holder = volume.holder.as_ref().filter(|_| held).map(|holder| holder.host.as_str());
        self.may(Action::SeeAnyVolume)
            || self.may(Action::SeeVolumes) && holder.is_some() && holder == self.own_host()
    }

    /// Who takes back that a host gets a volume, or loses all of its, decides about that as much as who
    /// began it. A host takes back what it has begun itself: others take volumes from it.
    pub fn must_be_free_to_cancel(&self, job: &JobRecord) -> Result<(), Problem> {
        match job.kind {
            JobKind::Assign | JobKind::Move => self.must(Action::GiveVolumes)?,
            JobKind::Takeover => self.must(Action::RunHosts)?,
            JobKind::Create | JobKind::Grow | JobKind::Release | JobKind::Delete => {}
        }
        match self.own_host() {
            Some(_) if job.actor != self.actor() => Err(problems::forbidden(self.scope)),
            _ => Ok(()),
        }
    }

    pub fn may_see_job(&self, job: &JobRecord) -> bool {
        match self.own_host() {
            Some(own) => self.may(Action::SeeJobs) && job.host.as_deref() == Some(own),
            None => self.may(Action::SeeJobs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table once more, as rows of the documentation have it: an action a row, and in it the
    /// scopes that may. Whoever changes one of the two has to say so twice.
    const MATRIX: &str = "
        SeePool        viewer operator admin
        SeeJoinToken                   admin unit
        MakeJoinToken                  admin
        SeeUnits       viewer operator admin
        AdmitUnits                     admin
        ForgetUnits                    admin
        RunUnits              operator admin
        SeeHosts       viewer operator admin
        SeeOwnHost     viewer operator admin      host
        ManageHosts                    admin
        RunHosts              operator admin
        SeeAnyVolume   viewer operator admin
        SeeVolumes     viewer operator admin      host
        SeeSecrets                     admin      host
        ChangeVolumes         operator admin      host
        GiveVolumes           operator admin
        SeeJobs        viewer operator admin      host
        ChangeJobs            operator admin      host
        SeeEvents      viewer operator admin
        SeeAudit              operator admin
        ManageTokens                   admin
        BackUp                         admin
        TuneStation                    admin";

    #[test]
    fn every_scope_may_what_the_matrix_says_and_nothing_else() {
        let all = ALLOWED.iter().find(|(scope, _)| *scope == Scope::Admin).unwrap().1;
        let mut rows = 0;
        for row in MATRIX.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let mut words = row.split_whitespace();
            let name = words.next().unwrap();
            let action = all.iter().find(|action| format!("{action:?}") == name);
            let action = *action.unwrap_or_else(|| panic!("{name} is no action"));
            let may: Vec<Scope> = words.map(|word| word.parse().unwrap()).collect();
            for scope in Scope::ALL {
                assert_eq!(allows(scope, action), may.contains(&scope), "{scope} {name}");
            }
            rows += 1;
        }
        assert_eq!(rows, all.len());
        for (scope, actions) in ALLOWED {
            assert!(actions.iter().all(|action| all.contains(action)), "{scope}");
        }
    }

    #[test]
    fn a_host_asks_for_itself_alone() {
        let host = Caller::host("a");
        assert_eq!(host.host_asked_for(None).unwrap(), "a");
        assert_eq!(host.host_asked_for(Some("a")).unwrap(), "a");
        assert_eq!(host.host_asked_for(Some("b")).unwrap_err().kind(), "forbidden");
        let operator = Caller::of(Scope::Operator, "alice".into());
        assert_eq!(operator.host_asked_for(Some("b")).unwrap(), "b");
        assert_eq!(operator.host_asked_for(None).unwrap_err().kind(), "bad-request");
        let viewer = Caller::of(Scope::Viewer, "v".into());
        assert_eq!(viewer.host_asked_for(Some("b")).unwrap_err().kind(), "forbidden");
        assert!(host.may_see_host("a") && !host.may_see_host("b"));
        assert_eq!(
            (operator.actor(), Caller::ADMIN.actor()),
            ("operator:alice".into(), "admin".into())
        );
    }
}
