//! Whether storage is well, and what is not: the same on a page and in a terminal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Duty, Fullness, PoolStatus, Unit, UnitState, Volume, VolumeState};

/// What there is to say of a pool at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub grade: Grade,
    /// One sentence.
    pub sentence: String,
    pub needs: Vec<Need>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing needs anybody.
    Well,
    /// Storage works; somebody should look.
    Look,
    /// Some of it does not work.
    Trouble,
}

/// Something that wants an administrator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Need {
    pub grade: Grade,
    pub about: Subject,
    /// Name of the unit, the volume or the pool.
    pub name: String,
    /// What is with it, after its name.
    pub what: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Unit,
    Volume,
    Pool,
}

impl Verdict {
    /// Of a pool with all its units and volumes.
    pub fn of(pool: &PoolStatus, units: &[Unit], volumes: &[Volume]) -> Self {
        let mut needs: Vec<Need> = units.iter().flat_map(needs_of_unit).collect();
        needs.extend(volumes.iter().filter_map(need_of_volume));
        needs.extend(need_of_space(pool));
        // Trouble first; otherwise as they came.
        needs.sort_by_key(|need| std::cmp::Reverse(need.grade));
        let troubles = needs.iter().filter(|need| need.grade == Grade::Trouble).count();
        let (grade, sentence) = match (troubles, needs.len()) {
            (0, 0) if units.is_empty() => (Grade::Look, "No unit has joined the pool yet.".into()),
            (0, 0) => {
                (Grade::Well, "All is well: every unit answers and every volume is there.".into())
            }
            (0, count) => (Grade::Look, format!("Storage works; {count} to look at.")),
            (count, _) => (Grade::Trouble, format!("Trouble: {count} to be dealt with.")),
        };
        Self { grade, sentence, needs }
    }
}

fn needs_of_unit(unit: &Unit) -> Vec<Need> {
    let need =
        |grade, what: String| Need { grade, about: Subject::Unit, name: unit.name.clone(), what };
    // Of one in maintenance it is expected that it goes away.
    let expected = unit.duty == Duty::Maintenance;
    let state = match unit.state {
        UnitState::Joined | UnitState::Left => None,
        UnitState::Suspect | UnitState::Down if expected => None,
        UnitState::Pending if unit.approved => Some((Grade::Look, "is yet to tell its storage")),
        UnitState::Pending => Some((Grade::Look, "waits for approval")),
        UnitState::Suspect => Some((Grade::Look, "has not been heard for some seconds")),
        UnitState::Down => Some((Grade::Trouble, "does not answer")),
    };
    let held_back = unit.quarantined_until.filter(|_| !expected);
    let held_back =
        held_back.map(|_| (Grade::Look, "was lost too often, and is in quarantine for a while"));
    let said = state.into_iter().chain(held_back);
    let mut needs: Vec<Need> = said.map(|(grade, what)| need(grade, what.to_owned())).collect();
    let sick = unit.devices.iter().filter(|device| !device.healthy);
    needs.extend(sick.map(|device| {
        need(Grade::Trouble, format!("misses its device {}, or that failed", device.path))
    }));
    needs
}

fn need_of_space(pool: &PoolStatus) -> Option<Need> {
    let fullness = Fullness::of(pool.used_percent);
    let (about, name) = (Subject::Pool, pool.name.clone());
    let what = format!("fills up; {fullness}");
    (fullness != Fullness::Fine).then_some(Need { grade: Grade::Look, about, name, what })
}

fn need_of_volume(volume: &Volume) -> Option<Need> {
    let what = match volume.state {
        VolumeState::Missing => "is not reported by its unit",
        VolumeState::Conflict => "is reported by two units; choose one",
        VolumeState::Foreign => "has a grant or a partition that the station does not know",
        _ => return None,
    };
    let (about, name) = (Subject::Volume, volume.name.clone());
    Some(Need { grade: Grade::Trouble, about, name, what: what.to_owned() })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{Device, Size};

    fn unit(name: &str, state: UnitState, healthy: bool) -> Unit {
        let device = Device {
            id: Uuid::nil(),
            path: "/dev/sdb".to_owned(),
            total: Size(1),
            free: Size(1),
            volatile: false,
            healthy,
        };
        let json = serde_json::json!({
            "id": Uuid::nil(), "name": name, "state": state, "portals": [], "api": "",
            "version": "", "incarnation": 1, "total": 1, "free": 1, "volumes": 0,
            "devices": [device],
        });
        serde_json::from_value(json).unwrap()
    }

    fn pool(used_percent: u8) -> PoolStatus {
        let json = serde_json::json!({
            "name": "main", "total": 1, "granted": 1, "free": 0, "largest": 0,
            "used_percent": used_percent, "volumes": 0, "hosts": 0,
            "units": { "pending": 0, "joined": 1, "suspect": 0, "down": 0, "left": 0 },
        });
        serde_json::from_value(json).unwrap()
    }

    fn needs(verdict: &Verdict) -> String {
        let needs = verdict.needs.iter().map(|need| format!("{} {}", need.name, need.what));
        needs.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_expected_is_no_trouble_and_what_is_short_is_worth_a_look() {
        let check = |unit: Unit, used_percent, grade: Grade, said: &str| {
            let verdict = Verdict::of(&pool(used_percent), &[unit], &[]);
            assert_eq!((verdict.grade, needs(&verdict).as_str()), (grade, said));
        };
        for state in [UnitState::Down, UnitState::Suspect] {
            let away = Unit { duty: Duty::Maintenance, ..unit("a", state, true) };
            check(away, 0, Grade::Well, "");
        }
        let held = Unit { quarantined_until: Some(9), ..unit("a", UnitState::Joined, true) };
        let said = "a was lost too often, and is in quarantine for a while";
        check(held, 0, Grade::Look, said);
        let well = unit("a", UnitState::Joined, true);
        check(well.clone(), 74, Grade::Well, "");
        let said = "main fills up; 85 % is used: add a unit or a device now";
        check(well, 85, Grade::Look, said);
        let known = Unit { approved: true, ..unit("a", UnitState::Pending, true) };
        check(known, 0, Grade::Look, "a is yet to tell its storage");
    }

    #[test]
    fn a_verdict_names_what_does_not_work_before_what_waits() {
        let check = |units: &[Unit], grade: Grade, said: &str| {
            let verdict = Verdict::of(&pool(0), units, &[]);
            assert_eq!((verdict.grade, needs(&verdict).as_str()), (grade, said));
        };
        let well = unit("a", UnitState::Joined, true);
        let waits = unit("b", UnitState::Pending, true);
        check(&[], Grade::Look, "");
        check(&[well.clone(), unit("c", UnitState::Left, true)], Grade::Well, "");
        let approval = "b waits for approval";
        check(&[well.clone(), waits.clone()], Grade::Look, approval);
        let both = format!("c does not answer; {approval}");
        check(&[waits, unit("c", UnitState::Down, true)], Grade::Trouble, &both);
        let sick = "d misses its device /dev/sdb, or that failed";
        check(&[well, unit("d", UnitState::Joined, false)], Grade::Trouble, sick);
    }
}
