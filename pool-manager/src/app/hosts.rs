//! Hosts are registered by the administrator; each gets a token and a CHAP identity of its own.

use outband_pool_api::{Host, HostRequest, NewHost, Problem};

use super::tokens::token_key;
use super::volumes::placements;
use super::{Principal, Station};
use crate::records::{
    ATTEMPTS, HOST_NAMES, HOSTS, HostRecord, Stored, TokenRecord, VOLUMES, VolumeRecord, Wish,
    encode, host_key, load, load_all,
};
use crate::store::{Compare, Outcome, StoreError, Transaction};
use crate::{names, problems, random};

impl Station {
    pub async fn add_host(&self, who: &Principal, ask: HostRequest) -> Result<NewHost, Problem> {
        who.must_be_admin()?;
        names::check("host", &ask.name)?;
        names::check_iqn(&ask.iqn)?;
        let token = random::token(&*self.machine, "obh");
        let record = HostRecord {
            name: ask.name,
            iqn: ask.iqn,
            secret: random::chap_secret(&*self.machine),
            token: token_key(token.expose()),
            created: self.seconds(),
        };
        self.register(&record).await?;
        self.events.add("host-added", &record.name, format!("initiator name {}", record.iqn));
        let chap = record.chap();
        Ok(NewHost { host: host_view(&record, &[]), token, chap })
    }

    async fn register(&self, record: &HostRecord) -> Result<(), Problem> {
        let (name, iqn) = (host_key(&record.name), iqn_key(&record.iqn));
        let put = Transaction::new()
            .when(Compare::Absent(name.clone()))
            .when(Compare::Absent(iqn.clone()))
            .put(&name, encode(record))
            .put(&iqn, record.name.clone().into_bytes())
            .put(&record.token, encode(&TokenRecord::Host(record.name.clone())));
        match self.store.commit(put).await? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Conflict => match self.store.get(&name).await? {
                Some(_) => Err(problems::name_taken("host", &record.name)),
                None => Err(problems::conflict(format!(
                    "the initiator name {} is another host's",
                    record.iqn
                ))),
            },
        }
    }

    pub async fn hosts(&self, who: &Principal) -> Result<Vec<Host>, Problem> {
        who.must_be_admin()?;
        let hosts = load_all::<HostRecord>(&self.store, HOSTS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        Ok(hosts.iter().map(|host| host_view(&host.record, &volumes)).collect())
    }

    pub async fn host(&self, who: &Principal, name: &str) -> Result<Host, Problem> {
        if *who != Principal::Host(name.to_owned()) {
            who.must_be_admin()?;
        }
        let host = load::<HostRecord>(&self.store, &host_key(name)).await?;
        let host = host.ok_or_else(|| problems::not_found("host", name))?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        Ok(host_view(&host.record, &volumes))
    }

    /// Refused while the host has a volume: first release or delete it.
    pub async fn remove_host(&self, who: &Principal, name: &str) -> Result<(), Problem> {
        who.must_be_admin()?;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let host = load::<HostRecord>(&self.store, &host_key(name)).await?;
            let host = host.ok_or_else(|| problems::not_found("host", name))?;
            let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
            if let Some(volume) = volumes.iter().find(|volume| is_held(&volume.record, name)) {
                return Err(problems::conflict(format!(
                    "{name} still has the volume \"{}\"; release or delete it first",
                    volume.record.name
                )));
            }
            let delete = Transaction::new()
                .when(host.unchanged())
                // A volume given to it meanwhile would have changed this.
                .when(placed.compare)
                .delete(&host.key)
                .delete(iqn_key(&host.record.iqn))
                .delete(&host.record.token);
            if self.store.commit(delete).await? != Outcome::Conflict {
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

fn host_view(record: &HostRecord, volumes: &[Stored<VolumeRecord>]) -> Host {
    let own = volumes.iter().filter(|volume| is_held(&volume.record, &record.name));
    Host {
        name: record.name.clone(),
        iqn: record.iqn.clone(),
        volumes: own.map(|volume| volume.record.name.clone()).collect(),
        created: record.created,
    }
}
