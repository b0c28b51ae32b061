//! Redirects: set, taken back, and what they mean for volumes of the same name.

use std::sync::Arc;

use super::Keeper;
use crate::access::{AccessTable, Redirect, Subject};
use crate::api::RedirectInfo;
use crate::error::Error;
use crate::unit::{Unit, UnitError};

impl<U: Unit> Keeper<U> {
    /// All redirects.
    pub async fn redirects(&self) -> Vec<RedirectInfo> {
        let table = self.table().await;
        let info = |(subject, redirect): (&Subject, &Redirect)| {
            RedirectInfo::new(subject, redirect, table.names())
        };
        table.redirects().map(info).collect()
    }

    /// From its return on, hosts with a grant on `subject` are sent elsewhere, and those that are
    /// logged in are asked to log out. Their grants stay: they are what the redirect is told by.
    ///
    /// # Errors
    /// The store's; then nothing has changed.
    pub async fn set_redirect(
        self: &Arc<Self>,
        subject: Subject,
        redirect: Redirect,
    ) -> Result<RedirectInfo, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(subject.volume()).await;
            let info = RedirectInfo::new(&subject, &redirect, this.table().await.names());
            tracing::info!(%subject, address = %redirect.address, "hosts are sent elsewhere");
            this.change(|table| {
                table.set_redirect(subject, redirect);
                Ok(info)
            })
            .await
        })
        .await
    }

    /// Takes a redirect back. A grant that it was told by ends too when its volume is not here: it
    /// must not come to life on a later volume of that name.
    ///
    /// # Errors
    /// When there is none, and the unit's and the store's.
    pub async fn clear_redirect(self: &Arc<Self>, subject: Subject) -> Result<(), Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(subject.volume()).await;
            let table = this.table().await;
            if table.redirect_on(&subject).is_none() {
                return Err(UnitError::NotFound(format!("redirect of {subject}")).into());
            }
            if let (Some(grant), false) = (table.grant_on(&subject), this.has(&subject).await?) {
                this.end(&subject, &grant.host, grant.epoch, None).await?;
            }
            this.change(|table: &mut AccessTable| {
                table.clear_redirect(&subject);
                Ok(())
            })
            .await
        })
        .await
    }

    /// Whether the volume or partition is on this unit.
    pub(super) async fn has(&self, subject: &Subject) -> Result<bool, Error> {
        let storage = self.unit.inventory().await?;
        let volume = storage.volumes.iter().find(|volume| volume.name == subject.volume());
        Ok(volume.is_some_and(|volume| {
            let has = |number| volume.partitions.iter().any(|part| part.number == number);
            subject.partition().is_none_or(has)
        }))
    }
}
