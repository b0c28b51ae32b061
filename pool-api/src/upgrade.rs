//! In which order the programs of a pool get a new version. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Duty, Finding, Unit, UnitState};

/// One unit after the other; the next when the one before is back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpgradePlan {
    /// The station's version. It is the first to get a new one: an older station need not understand
    /// what a newer unit says.
    pub station: String,
    /// How many units have which version.
    pub versions: BTreeMap<String, u32>,
    /// The units that have another version than the station, in the order in which they are to get its
    /// own: those with the fewest volumes first.
    pub order: Vec<UpgradeStep>,
    /// Why nothing is to be taken away now; empty: go on.
    pub not_now: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpgradeStep {
    pub unit: String,
    pub from: String,
    /// Their hosts wait while the unit starts anew.
    pub volumes: u32,
}

/// What the doctor finds that means that something is not as safe as it should be.
const DEGRADED: [&str; 7] = [
    "unit-down",
    "unit-unread",
    "unit-quarantined",
    "device-faulted",
    "volume-missing",
    "volume-conflict",
    "job-waits",
];

impl UpgradePlan {
    #[must_use]
    pub fn of(station: &str, units: &[Unit], findings: &[Finding]) -> Self {
        let mut versions = BTreeMap::new();
        for unit in units {
            *versions.entry(unit.version.clone()).or_default() += 1;
        }
        let others = units.iter().filter(|unit| unit.version != station);
        let mut order: Vec<UpgradeStep> = others.map(step).collect();
        order.sort_by_key(|step| (step.volumes, step.unit.clone()));
        let mut not_now: Vec<String> = units.iter().filter_map(why_not).collect();
        let newer = units.iter().filter(|unit| number(&unit.version) > number(station));
        not_now.extend(newer.max_by_key(|unit| number(&unit.version)).map(|unit| {
            format!("{} has {}, and the station {station}: it comes first", unit.name, unit.version)
        }));
        let degraded = findings.iter().filter(|finding| DEGRADED.contains(&&*finding.code));
        not_now.extend(degraded.map(|finding| format!("{}: {}", finding.subject, finding.detail)));
        Self { station: station.to_owned(), versions, order, not_now }
    }
}

fn step(unit: &Unit) -> UpgradeStep {
    UpgradeStep { unit: unit.name.clone(), from: unit.version.clone(), volumes: unit.volumes }
}

/// One at a time: another is away, or about to be.
fn why_not(unit: &Unit) -> Option<String> {
    let name = &unit.name;
    match (unit.duty, unit.state) {
        (Duty::Maintenance, _) => {
            Some(format!("{name} is in maintenance: outband unit resume {name} when it is back"))
        }
        (_, UnitState::Suspect) => Some(format!("{name} has not been heard for some seconds")),
        _ => None,
    }
}

/// The numbers of `1.2.3-rc1`; of a version that is written otherwise, as many as there are.
fn number(version: &str) -> Vec<u64> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default().split('.');
    numbers.map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn unit(name: &str, version: &str, volumes: u32) -> Unit {
        let json = serde_json::json!({
            "id": Uuid::nil(), "name": name, "state": "joined", "approved": true, "portals": [],
            "api": "", "version": version, "incarnation": 1, "total": 1, "free": 1,
            "volumes": volumes, "devices": [],
        });
        serde_json::from_value(json).unwrap()
    }

    fn finding(code: &str, subject: &str) -> Finding {
        let (code, subject) = (code.to_owned(), subject.to_owned());
        Finding { code, subject, detail: "why".to_owned(), next: String::new() }
    }

    #[test]
    fn units_of_another_version_come_in_the_order_of_how_many_would_wait() {
        let units = [unit("c", "0.1.0", 1), unit("b", "0.1.9", 0), unit("a", "0.1.0", 7)];
        let units = [&units[..], &[unit("d", "0.2.0", 3)]].concat();
        let plan = UpgradePlan::of("0.2.0", &units, &[]);
        let order: Vec<&str> = plan.order.iter().map(|step| &*step.unit).collect();
        assert_eq!((order, plan.not_now), (vec!["b", "c", "a"], Vec::new()));
        assert_eq!(plan.versions["0.1.0"], 2);
    }

    #[test]
    fn nothing_is_taken_away_while_anything_is_degraded_or_another_one_is_away() {
        let check = |unit: Unit, found: &[Finding], said: &[&str]| {
            let plan = UpgradePlan::of("0.10.0", &[unit], found);
            assert_eq!(plan.not_now, said);
        };
        let well = || unit("a", "0.9.1", 1);
        check(well(), &[], &[]);
        check(well(), &[finding("volume-foreign", "w"), finding("volume-unclaimed", "v")], &[]);
        check(well(), &[finding("volume-missing", "v")], &["v: why"]);
        check(
            Unit { state: UnitState::Suspect, ..well() },
            &[],
            &["a has not been heard for some seconds"],
        );
        check(
            Unit { duty: Duty::Maintenance, ..well() },
            &[],
            &["a is in maintenance: outband unit resume a when it is back"],
        );
        let newer = "a has 0.11.0-rc1, and the station 0.10.0: it comes first";
        check(unit("a", "0.11.0-rc1", 0), &[], &[newer]);
    }
}
