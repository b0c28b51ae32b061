//! The end: nothing goes wrong any more, every job ends, and station, unit and host agree.

use outband_pool_manager::book::Book;
use outband_pool_manager::records::{VolumeRecord, Wish, load_all};
use outband_pool_manager::store::Shared as SharedStore;

use super::machines::{at_once, read};
use super::*;
use crate::pool::user::Expected;

impl World {
    /// The next phase, when this one is over.
    pub(super) fn go_on(&mut self) -> Result<(), Failure> {
        let done = match self.phase {
            Phase::Busy | Phase::Calm => self.diaries.iter().all(|diary| read(diary).finished),
            Phase::Sweep => self.hosts.iter().all(Host::is_idle),
            Phase::Rest | Phase::Over => false,
        };
        match self.phase {
            Phase::Busy if done => self.calm_down(),
            Phase::Calm if done => {
                self.note(format_args!("every job has ended"));
                self.phase = Phase::Rest;
                self.wait(REST);
                Ok(())
            }
            Phase::Sweep if done => {
                self.must_agree()?;
                self.phase = Phase::Over;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nothing goes wrong from now on.
    pub(super) fn calm_down(&mut self) -> Result<(), Failure> {
        self.note(format_args!("calm"));
        self.phase = Phase::Calm;
        self.fuses.clear();
        self.post.calm();
        self.stop_wishes();
        {
            let mut hardware = self.hardware.borrow_mut();
            hardware.net.calm();
            for disk in &mut hardware.disks {
                *disk.faults_mut() = crate::disk::Faults::default();
            }
        }
        self.start_station();
        (0..self.units.len()).for_each(|unit| self.start_unit(unit));
        self.wait(PATIENCE);
        Ok(())
    }

    /// All is at rest: hosts read everything.
    pub(super) fn sweep(&mut self) -> Result<(), Failure> {
        self.must_agree()?;
        self.note(format_args!("hosts read all they have"));
        self.phase = Phase::Sweep;
        for index in 0..self.hosts.len() {
            if self.hosts[index].is_granted() {
                self.with_host(index, Host::sweep);
            }
        }
        self.wait(PATIENCE);
        Ok(())
    }

    fn records(&self) -> Vec<VolumeRecord> {
        let store: SharedStore = Arc::clone(&self.station.store) as SharedStore;
        let book = at_once(Book::open(store)).expect("it is read as it was written");
        let all = at_once(load_all::<VolumeRecord>(&book)).expect("the book is open");
        all.iter().map(|volume| volume.record.clone()).collect()
    }

    /// Every volume is fully granted or fully released, as its user was told.
    fn must_agree(&self) -> Result<(), Failure> {
        let records = self.records();
        let wrong = |what: String| Err(Failure::Conduct(format!("in the end {what}")));
        for record in &records {
            if !record.settled {
                return wrong(format!("{} is not settled: {record:?}", record.name));
            }
        }
        for (unit, machine) in self.units.iter().enumerate() {
            let table = self.judge.table(unit);
            let shelf = machine.shelf.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, id, size) in shelf.volumes() {
                let given = table.get(name).map(|given| (given.host.clone(), given.epoch));
                let record = records.iter().find(|record| record.id == Some(id));
                let wanted = record.and_then(wanted);
                if given != wanted {
                    let what =
                        format!("{name} is {given:?} on unit {unit}, and {wanted:?} is meant");
                    return wrong(what);
                }
                if record.is_some_and(|record| record.size != size) {
                    return wrong(format!("{name} has {size} bytes, and {record:?} is meant"));
                }
            }
            if let Some(name) = table.keys().find(|name| shelf.id_of(name).is_none()) {
                return wrong(format!("unit {unit} has a grant on {name}, which it has not"));
            }
        }
        self.hosts_must_agree(&records)?;
        for (user, diary) in self.diaries.iter().enumerate() {
            for (name, expected) in &read(diary).expected {
                let record = records.iter().find(|record| record.name == *name);
                if !self.is_as(record, expected) {
                    return wrong(format!(
                        "user {user} expects {expected:?} of {name}: {record:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The host that uses a volume is the one that is meant, and at the epoch that is meant.
    fn hosts_must_agree(&self, records: &[VolumeRecord]) -> Result<(), Failure> {
        for (index, used) in self.uses.iter().enumerate() {
            let id = self.known[used.volume].id;
            let record = records.iter().find(|record| record.id == Some(id));
            let wanted = record.and_then(wanted);
            let own = Some((used.iqn.clone(), used.epoch));
            if self.hosts[index].is_granted() != (wanted == own) {
                return Err(Failure::Conduct(format!(
                    "in the end host use {index} is {own:?}, and {wanted:?} is meant"
                )));
            }
        }
        Ok(())
    }

    fn is_as(&self, record: Option<&VolumeRecord>, expected: &Expected) -> bool {
        match (record, expected) {
            (None, Expected::Absent) => true,
            (Some(record), Expected::Free { size }) => {
                record.wish == Wish::Free && record.size >= *size
            }
            (Some(record), Expected::Granted { host, size }) => {
                let held = record.holder.as_ref().is_some_and(|holder| holder.host == *host);
                record.wish == Wish::Granted && held && record.size >= *size
            }
            _ => false,
        }
    }

    pub(super) fn state(&self) -> String {
        let mut text = format!(
            " {:?}, station {:?}, units {:?}",
            self.phase,
            self.station.process,
            self.units.iter().map(|unit| unit.process).collect::<Vec<_>>()
        );
        for record in self.records() {
            text += &format!("\n  {record:?}");
        }
        for diary in &self.diaries {
            text += &format!("\n  {:?}", read(diary));
        }
        for host in self.hosts.iter().filter(|host| !host.is_idle()) {
            text += &format!("\n  {}", host.state());
        }
        text
    }
}

/// Whose a volume is to be, and since which epoch.
fn wanted(record: &VolumeRecord) -> Option<(String, u64)> {
    let holder = record.holder.as_ref().filter(|_| record.wish == Wish::Granted)?;
    Some((holder.iqn.clone(), record.epoch))
}
