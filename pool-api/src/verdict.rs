//! Whether storage is well, and what is not: the same on a page and in a terminal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Unit, UnitState, Volume, VolumeState};

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
    /// Name of the unit or volume.
    pub name: String,
    /// What is with it, after its name.
    pub what: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Unit,
    Volume,
}

impl Verdict {
    /// Of all units and volumes of a pool.
    pub fn of(units: &[Unit], volumes: &[Volume]) -> Self {
        let mut needs: Vec<Need> = units.iter().flat_map(needs_of_unit).collect();
        needs.extend(volumes.iter().filter_map(need_of_volume));
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
    let state = match unit.state {
        UnitState::Joined | UnitState::Left => None,
        UnitState::Pending => Some((Grade::Look, "waits for approval, or to tell its storage")),
        UnitState::Suspect => Some((Grade::Look, "has not been heard for some seconds")),
        UnitState::Down => Some((Grade::Trouble, "does not answer")),
    };
    let mut needs: Vec<Need> =
        state.map(|(grade, what)| need(grade, what.to_owned())).into_iter().collect();
    let sick = unit.devices.iter().filter(|device| !device.healthy);
    needs.extend(sick.map(|device| {
        need(Grade::Trouble, format!("misses its device {}, or that failed", device.path))
    }));
    needs
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

    #[test]
    fn a_verdict_names_what_does_not_work_before_what_waits() {
        let check = |units: &[Unit], grade: Grade, said: &str| {
            let verdict = Verdict::of(units, &[]);
            let needs = verdict.needs.iter().map(|need| format!("{} {}", need.name, need.what));
            assert_eq!(
                (verdict.grade, needs.collect::<Vec<_>>().join("; ").as_str()),
                (grade, said)
            );
        };
        let well = unit("a", UnitState::Joined, true);
        let waits = unit("b", UnitState::Pending, true);
        check(&[], Grade::Look, "");
        check(&[well.clone(), unit("c", UnitState::Left, true)], Grade::Well, "");
        let approval = "b waits for approval, or to tell its storage";
        check(&[well.clone(), waits.clone()], Grade::Look, approval);
        let both = format!("c does not answer; {approval}");
        check(&[waits, unit("c", UnitState::Down, true)], Grade::Trouble, &both);
        let sick = "d misses its device /dev/sdb, or that failed";
        check(&[well, unit("d", UnitState::Joined, false)], Grade::Trouble, sick);
    }
}
