//! All that the station keeps, given to who may have it.

use outband_pool_api::Problem;

use super::audit::Change;
use super::{Action, Caller, Station};
use crate::backup::Backup;
use crate::problems;
use crate::records::ATTEMPTS;
use crate::store::{StoreError, Transaction};

impl Station {
    /// As of one moment, while everything goes on. That it was made is in the audit log: every secret
    /// is in it.
    pub async fn backup(&self, who: &Caller) -> Result<Backup, Problem> {
        who.must(Action::BackUp)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let change = Change::new("backup", &self.pool);
            if self.commit_audited(who, change, Transaction::new()).await? {
                let listing = self.store.list("").await?;
                return Backup::of(&self.pool, self.seconds(), listing).map_err(|error| {
                    tracing::error!(%error, "no backup was made");
                    problems::internal()
                });
            }
        }
        Err(StoreError::Contended.into())
    }
}
