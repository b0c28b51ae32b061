//! The programs that make up the pool, and how each is.

use outband_control::log;
use outband_pool_api::{Duty, Problem, Service, ServiceHealth, ServiceKind, Unit, UnitState};

use super::audit::Change;
use super::read::Read;
use super::{Action, Caller, Station};
use crate::problems;
use crate::records::ATTEMPTS;
use crate::store::{StoreError, Transaction};

impl Station {
    /// This station, its store, and each unit.
    pub async fn services(&self, who: &Caller) -> Result<Vec<Service>, Problem> {
        who.must(Action::SeeUnits)?;
        // That it is answered at all says that the store is there.
        let units = Read::all(self).await?.shown().units();
        let own = |kind| Service {
            kind,
            name: self.pool.clone(),
            health: ServiceHealth::Up,
            state: "runs".to_owned(),
            version: String::new(),
            started: None,
            starts: None,
            detail: String::new(),
        };
        let station = Service {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Some(self.events.start() / 1000),
            ..own(ServiceKind::Station)
        };
        let store = own(ServiceKind::Store);
        Ok([station, store].into_iter().chain(units.iter().map(of_unit)).collect())
    }

    /// What this process writes to its log from now on.
    pub async fn set_log(&self, who: &Caller, filter: &str) -> Result<(), Problem> {
        who.must(Action::TuneStation)?;
        log::filter(filter).map_err(|error| problems::bad_request(error.to_string()))?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let change = Change::new("station-log", filter);
            if self.commit_audited(who, change, Transaction::new()).await? {
                return log::set(filter).map_err(|error| problems::conflict(error.to_string()));
            }
        }
        Err(StoreError::Contended.into())
    }
}

fn of_unit(unit: &Unit) -> Service {
    let failed = unit.devices.iter().filter(|device| !device.healthy).count();
    let expected = unit.duty == Duty::Maintenance;
    let health = match unit.state {
        UnitState::Joined if failed == 0 => ServiceHealth::Up,
        UnitState::Down if !expected => ServiceHealth::Down,
        _ => ServiceHealth::Look,
    };
    let mut detail = Vec::new();
    if failed > 0 {
        detail.push(format!("{failed} of its devices failed"));
    }
    if unit.duty != Duty::Active {
        detail.push(unit.duty.to_string());
    }
    if unit.quarantined_until.is_some() {
        detail.push("in quarantine".to_owned());
    }
    if unit.state != UnitState::Joined {
        detail.extend(unit.heard_seconds_ago.map(|ago| format!("heard {ago} s ago")));
    }
    Service {
        kind: ServiceKind::Unit,
        name: unit.name.clone(),
        health,
        state: unit.state.to_string(),
        version: unit.version.clone(),
        started: None,
        starts: Some(unit.incarnation),
        detail: detail.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use outband_pool_api::{Scope, UnitChange};

    use super::*;
    use crate::sample;

    #[tokio::test]
    async fn the_station_its_store_and_each_unit_are_told_of() {
        let station = sample::station().await;
        let mut failed = sample::device(8 << 20, false);
        failed.healthy = false;
        sample::unit(&station, "one", &[sample::device(8 << 20, false)]).await;
        sample::unit(&station, "two", &[failed]).await;
        let change = UnitChange { duty: Some(Duty::Cordoned), ..UnitChange::default() };
        station.change_unit(&Caller::ADMIN, "two", &change).await.unwrap();
        let told = station.services(&Caller::ADMIN).await.unwrap();
        let mut told: Vec<_> = told
            .iter()
            .map(|one| (one.kind, &*one.name, one.health, one.starts, &*one.detail))
            .collect();
        told.sort_unstable();
        let (up, look) = (ServiceHealth::Up, ServiceHealth::Look);
        assert_eq!(
            told,
            [
                (ServiceKind::Station, "main", up, None, ""),
                (ServiceKind::Store, "main", up, None, ""),
                (ServiceKind::Unit, "one", up, Some(1), ""),
                (ServiceKind::Unit, "two", look, Some(1), "1 of its devices failed, cordoned"),
            ]
        );
        assert_eq!(station.services(&Caller::host("a")).await.unwrap_err().kind(), "forbidden");
    }

    #[tokio::test]
    async fn only_an_administrator_changes_the_log_and_it_is_audited() {
        let station = sample::station().await;
        let operator = Caller::of(Scope::Operator, "alice".into());
        let refused = station.set_log(&operator, "debug").await.unwrap_err();
        assert_eq!(refused.kind(), "forbidden");
        let wrong = station.set_log(&Caller::ADMIN, "info,x=loud").await.unwrap_err();
        assert_eq!(wrong.kind(), "bad-request");
        // Tests have no log of ours; that it was asked for is written down all the same.
        let none = station.set_log(&Caller::ADMIN, "debug").await.unwrap_err();
        assert!(none.detail.contains("no log"), "{none:?}");
        let entries = station.audit(&Caller::ADMIN, None, 10).await.unwrap();
        let last = entries.last().unwrap();
        assert_eq!((&*last.action, &*last.subject), ("station-log", "debug"));
    }
}
