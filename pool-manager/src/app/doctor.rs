//! What is not as it should be, and the command that leads on. Worked out anew each time from the
//! records and the units' reports: there is no list that could be wrong.

use outband_pool_api::{Duty, Finding, JobState, Problem, Unit, UnitState, Volume, VolumeState};

use super::read::Read;
use super::{Action, Caller, Station};
use crate::records::{JobRecord, load_all};

impl Station {
    pub async fn doctor(&self, who: &Caller) -> Result<Vec<Finding>, Problem> {
        who.must(Action::SeePool)?;
        let jobs = load_all::<JobRecord>(&self.store).await?;
        let read = Read::all(self).await?;
        let shown = read.shown();
        let volumes = shown.volumes(who);
        let units = shown.units();
        let mut findings: Vec<Finding> = units.iter().filter_map(of_unit).collect();
        findings.extend(volumes.iter().filter_map(of_volume));
        findings.extend(jobs.iter().filter_map(|job| of_job(&job.record)));
        Ok(findings)
    }
}

fn finding(code: &str, subject: &str, detail: String, next: String) -> Finding {
    Finding { code: code.to_owned(), subject: subject.to_owned(), detail, next }
}

fn of_unit(unit: &Unit) -> Option<Finding> {
    let name = &unit.name;
    let found =
        |code, detail: &str, next: String| Some(finding(code, name, detail.to_owned(), next));
    match (unit.state, unit.duty) {
        (UnitState::Down, Duty::Maintenance) => None,
        (UnitState::Down, _) => found(
            "unit-down",
            "it does not answer; jobs on it wait",
            format!("start it; or, if it is gone for good: outband unit forget {name}"),
        ),
        (UnitState::Pending, _) if unit.approved => found(
            "unit-unread",
            "it is approved, and the station has not read its storage yet",
            format!("wait; if it stays so, see its log, and outband unit show {name}"),
        ),
        (UnitState::Pending, _) => {
            found("unit-pending", "it waits for approval", format!("outband unit approve {name}"))
        }
        _ if unit.quarantined_until.is_some() => found(
            "unit-quarantined",
            "it was lost too often, and gets nothing new for a while",
            format!("find out why; then: outband unit resume {name}"),
        ),
        (_, Duty::Draining) if !unit.must_leave.is_empty() => found(
            "unit-draining",
            &format!("still there: {}", unit.must_leave.join(", ")),
            "copy these volumes elsewhere, and delete them here".to_owned(),
        ),
        _ => unit.devices.iter().find(|device| !device.healthy).and_then(|device| {
            found(
                "device-faulted",
                &format!("its device {} has a fault", device.path),
                "look at the device; see docs/operations.md, Faulted volumes".to_owned(),
            )
        }),
    }
}

fn of_volume(volume: &Volume) -> Option<Finding> {
    let (name, unit) = (&volume.name, &volume.unit_name);
    let (code, detail, next) = match volume.state {
        VolumeState::Missing => (
            "volume-missing",
            format!("{unit} does not report it any more"),
            format!("bring its device back; or, if it is gone: outband volume forget {name}"),
        ),
        VolumeState::Conflict => (
            "volume-conflict",
            format!("{unit} and another unit report the same volume"),
            "a disk was carried or copied: take one of the two out".to_owned(),
        ),
        VolumeState::Foreign => (
            "volume-foreign",
            format!("{unit} has it with a grant or a partition that no record claims"),
            format!("outband volume adopt {name}, or settle it at the unit"),
        ),
        VolumeState::Free if volume.revision == 0 => (
            "volume-unclaimed",
            format!("{unit} has it, and no record claims it"),
            format!("outband volume assign {name} --host HOST, or outband volume rm {name}"),
        ),
        _ => return None,
    };
    Some(finding(code, name, detail, next))
}

/// A job that waits says so by itself.
fn of_job(job: &JobRecord) -> Option<Finding> {
    let waits = job.error.as_ref().filter(|_| job.state == JobState::Running)?;
    let detail = format!("{} {} waits: {}", job.kind, job.volume, waits.detail);
    let next = format!("outband job show {0}, or outband job cancel {0}", job.id);
    Some(finding("job-waits", &job.id.to_string(), detail, next))
}
