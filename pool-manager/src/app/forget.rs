//! Letting go of what does not come back: records go, and nothing is erased anywhere. Asked for with
//! the name typed once more, and only while the unit does not answer.

use outband_pool_api::{JobState, Problem};
use uuid::Uuid;

use super::audit::Change;
use super::request::placements;
use super::volumes::is_reported;
use super::{Action, Caller, Station, units};
use crate::health::Health;
use crate::problems;
use crate::records::{
    ATTEMPTS, JobRecord, PLACEMENTS, Stored, VolumeRecord, encode, job_key, load, volume_key,
};
use crate::store::{StoreError, Transaction};

impl Station {
    /// The unit and the records of all that is on it. Its volumes keep their data and their grants;
    /// if it ever comes back, after `outband-target leave-pool` on it, it enrols as a new one, and they
    /// are shown as foreign.
    pub async fn forget_unit(
        &self,
        who: &Caller,
        unit: &str,
        confirm: &str,
    ) -> Result<(), Problem> {
        who.must(Action::ForgetUnits)?;
        let (id, held) = {
            let pages = self.store.pages().await?;
            let id = units::find(&pages, unit)?;
            must_be_typed(units::name(&pages, id), confirm)?;
            (id, pages.volumes_on(id).cloned().collect::<Vec<_>>())
        };
        if self.answers(id) {
            return Err(problems::conflict(format!(
                "{unit} answers; stop it first, or move its volumes away and use outband unit rm"
            )));
        }
        for volume in held {
            let why = problems::forgotten(&volume.record.name);
            self.drop_record(who, &volume.record.name, &why).await?;
        }
        // A volume that was placed there meanwhile is found by this.
        self.remove_unit(who, &id.to_string()).await
    }

    /// The record of a volume that its unit does not report, or whose unit does not answer.
    pub async fn forget_volume(
        &self,
        who: &Caller,
        name: &str,
        confirm: &str,
    ) -> Result<(), Problem> {
        who.must(Action::ForgetUnits)?;
        must_be_typed(name, confirm)?;
        let stored = load::<VolumeRecord>(&self.store, &volume_key(name)).await?;
        let volume = stored.ok_or_else(|| problems::not_found("volume", name))?.record;
        let view = self.live.get(volume.unit).and_then(|live| live.view);
        // Of a unit that answers and has not been read yet nobody knows that it lost anything.
        let there = view.is_none_or(|view| is_reported(&volume, &view));
        if there && self.answers(volume.unit) {
            return Err(problems::conflict(format!(
                "its unit answers, and reports \"{name}\"; release or delete it"
            )));
        }
        let why = problems::forgotten(name);
        self.drop_record(who, name, &why).await
    }

    fn answers(&self, unit: Uuid) -> bool {
        matches!(self.live.health(unit, self.machine.now()), Health::Up | Health::Suspect)
    }

    async fn drop_record(&self, who: &Caller, name: &str, why: &Problem) -> Result<(), Problem> {
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let volume = load::<VolumeRecord>(&self.store, &volume_key(name)).await?;
            let Some(volume) = volume else {
                return Ok(());
            };
            let mut transaction = Transaction::new()
                .when(volume.unchanged())
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .delete(&volume.key);
            if let Some(mut job) = self.running(&volume.record).await? {
                let now = self.seconds();
                transaction = transaction.when(job.unchanged());
                transaction = job.record.end(Some(why.clone()), now, transaction);
                transaction = transaction.put(&job.key, encode(&job.record));
            }
            let change = Change::new("volume-forget", name).before(&volume.record);
            if self.commit_audited(who, change, transaction).await? {
                self.events.add("volume-forgotten", name, format!("by {}", who.actor()));
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn running(&self, volume: &VolumeRecord) -> Result<Option<Stored<JobRecord>>, Problem> {
        let Some(id) = volume.job else {
            return Ok(None);
        };
        let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
        Ok(job.filter(|job| job.record.state == JobState::Running))
    }
}

fn must_be_typed(name: &str, confirm: &str) -> Result<(), Problem> {
    match name == confirm {
        true => Ok(()),
        false => Err(problems::not_confirmed(name)),
    }
}
