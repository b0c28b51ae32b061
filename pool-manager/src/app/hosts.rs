//! Hosts are registered by the administrator; each gets a token and a CHAP identity of its own.

use std::sync::Arc;

use outband_pool_api::{Host, HostChange, HostRequest, NewHost, Problem, Size};

use super::audit::{Change, must_match};
use super::request::placements;
use super::tokens::token_key;
use super::{Action, Caller, Station};
use crate::book::Pages;
use crate::capacity::sum;
use crate::records::{
    ATTEMPTS, HOST_NAMES, HostRecord, Stored, TokenRecord, VolumeRecord, Wish, encode, host_key,
    load, load_all,
};
use crate::store::{Compare, StoreError, Transaction};
use crate::visits::visit;
use crate::{names, problems, random};

impl Station {
    pub async fn add_host(&self, who: &Caller, ask: HostRequest) -> Result<NewHost, Problem> {
        who.must(Action::ManageHosts)?;
        names::check("host", &ask.name)?;
        names::check_iqn(&ask.iqn)?;
        let token = random::token(&*self.machine, "obh");
        let record = HostRecord {
            name: ask.name,
            iqn: ask.iqn,
            secret: random::chap_secret(&*self.machine),
            mutual: ask.mutual.then(|| random::chap_secret(&*self.machine)),
            token: token_key(token.expose()),
            created: self.seconds(),
            quota: ask.quota.map(|quota| quota.0).filter(|quota| *quota > 0),
            replaced_by: None,
        };
        self.register(who, &record).await?;
        let revision = self.store.get(&host_key(&record.name)).await?.map(|entry| entry.revision);
        self.events.add("host-added", &record.name, format!("initiator name {}", record.iqn));
        let chap = record.chap();
        let host = host_view(&record, revision.unwrap_or_default(), &[]);
        Ok(NewHost { host, token, chap })
    }

    async fn register(&self, who: &Caller, record: &HostRecord) -> Result<(), Problem> {
        let (name, iqn) = (host_key(&record.name), iqn_key(&record.iqn));
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let put = Transaction::new()
                .when(Compare::Absent(name.clone()))
                .when(Compare::Absent(iqn.clone()))
                .put(&name, encode(record))
                .put(&iqn, record.name.clone().into_bytes())
                .put(&record.token, encode(&TokenRecord::Host(record.name.clone())));
            let change = Change::new("host-add", &record.name).after(record);
            if self.commit_audited(who, change, put).await? {
                return Ok(());
            }
            if self.store.get(&name).await?.is_some() {
                return Err(problems::name_taken("host", &record.name));
            }
            if self.store.get(&iqn).await?.is_some() {
                let iqn = &record.iqn;
                let detail = format!("the initiator name {iqn} is another host's");
                return Err(problems::conflict(detail));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Changes what is said of it; what is left out stays.
    pub async fn change_host(
        &self,
        who: &Caller,
        name: &str,
        ask: &HostChange,
    ) -> Result<Host, Problem> {
        who.must(Action::ManageHosts)?;
        let decide = |host: &HostRecord| {
            let quota = ask.quota.map_or(host.quota, |quota| Some(quota.0).filter(|q| *q > 0));
            Ok(Some(HostRecord { quota, ..host.clone() }).filter(|changed| changed != host))
        };
        let changed = self.change_record(who, "host-set", name, &host_key(name), decide).await?;
        changed.ok_or_else(|| problems::not_found("host", name))?;
        self.host(who, name).await
    }

    pub async fn hosts(&self, who: &Caller) -> Result<Vec<Host>, Problem> {
        who.must(Action::SeeHosts)?;
        let hosts = load_all::<HostRecord>(&self.store).await?;
        let pages = self.store.pages().await?;
        let shown = |host: &Arc<Stored<HostRecord>>| {
            host_view(&host.record, host.revision, &held(&pages, &host.record.name))
        };
        Ok(hosts.iter().map(shown).collect())
    }

    pub async fn host(&self, who: &Caller, name: &str) -> Result<Host, Problem> {
        if !who.may_see_host(name) {
            return Err(problems::forbidden(who.scope));
        }
        let host = load::<HostRecord>(&self.store, &host_key(name)).await?;
        let host = host.ok_or_else(|| problems::not_found("host", name))?;
        let pages = self.store.pages().await?;
        Ok(host_view(&host.record, host.revision, &held(&pages, name)))
    }

    /// Refused while the host has a volume: first release or delete it.
    pub async fn remove_host(&self, who: &Caller, name: &str) -> Result<(), Problem> {
        who.must(Action::ManageHosts)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let host = load::<HostRecord>(&self.store, &host_key(name)).await?;
            let host = host.ok_or_else(|| problems::not_found("host", name))?;
            must_match(who, &host)?;
            let held = held(&*self.store.pages().await?, name).first().map(|it| it.name.clone());
            if let Some(volume) = held {
                return Err(problems::conflict(format!(
                    "{name} still has the volume \"{volume}\"; release or delete it first"
                )));
            }
            let delete = Transaction::new()
                .when(host.unchanged())
                // A volume given to it meanwhile would have changed this.
                .when(placed.compare)
                .delete(&host.key)
                .delete(iqn_key(&host.record.iqn))
                .delete(&host.record.token);
            let change = Change::new("host-remove", name).before(&host.record);
            if self.commit_audited(who, change, delete).await? {
                self.events.add("host-removed", name, "its token is void");
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }
}

fn iqn_key(iqn: &str) -> String {
    format!("{HOST_NAMES}{iqn}")
}

/// The host may use it, or its unit has not yet acknowledged that it may not.
fn is_held(volume: &VolumeRecord, host: &str) -> bool {
    volume.holder.as_ref().is_some_and(|holder| holder.host == host)
        && (volume.wish == Wish::Granted || !volume.settled)
}

/// The volumes that a host has, or is about to have.
fn held<'a>(pages: &'a Pages, host: &str) -> Vec<&'a VolumeRecord> {
    let all = pages.volumes_of(host).map(|volume| &volume.record);
    all.inspect(|volume| visit(*volume)).filter(|volume| is_held(volume, host)).collect()
}

/// `own` are the volumes that it has, or is about to have.
fn host_view(record: &HostRecord, revision: u64, own: &[&VolumeRecord]) -> Host {
    Host {
        name: record.name.clone(),
        iqn: record.iqn.clone(),
        volumes: own.iter().map(|volume| volume.name.clone()).collect(),
        created: record.created,
        quota: record.quota.map(Size),
        used: Size(sum(own.iter().map(|volume| volume.size))),
        replaced_by: record.replaced_by.clone(),
        revision,
    }
}

pub(super) fn may_have_more(host: &HostRecord) -> Result<(), Problem> {
    match &host.replaced_by {
        Some(by) => Err(problems::replaced(&host.name, by)),
        None => Ok(()),
    }
}

/// Whether a host may have a volume of `size` beside the others that it has.
pub(super) fn within_quota(
    host: &HostRecord,
    pages: &Pages,
    except: Option<&str>,
    size: u64,
) -> Result<(), Problem> {
    let Some(quota) = host.quota else {
        return Ok(());
    };
    let others = held(pages, &host.name).into_iter();
    let others = others.filter(|volume| Some(volume.name.as_str()) != except);
    let used = sum(others.map(|volume| volume.size));
    match used.saturating_add(size) <= quota {
        true => Ok(()),
        false => Err(problems::quota(&host.name, quota, used)),
    }
}
