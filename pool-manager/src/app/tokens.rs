//! Who speaks, by the token; and the join token, with which units enrol.

use std::time::Duration;

use outband_pool_api::{JoinToken, Problem, Secret};

use super::Station;
use crate::records::{
    JOIN_TOKEN, JoinTokenRecord, TOKENS, TokenRecord, VolumeRecord, Wish, encode, load,
};
use crate::store::{Compare, Outcome, StoreError, Transaction};
use crate::{problems, random};

/// Whoever a valid token belongs to. What is not allowed here in so many words is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    Admin,
    /// A host: its own volumes, and nothing else.
    Host(String),
}

impl Principal {
    pub fn must_be_admin(&self) -> Result<(), Problem> {
        match self {
            Self::Admin => Ok(()),
            Self::Host(_) => Err(problems::forbidden()),
        }
    }

    /// For whom a volume is asked: a host asks for itself alone.
    pub fn host_asked_for(&self, asked: Option<&str>) -> Result<String, Problem> {
        match (self, asked) {
            (Self::Admin, Some(host)) => Ok(host.to_owned()),
            (Self::Admin, None) => {
                Err(problems::bad_request("say with \"host\" whom the volume is for"))
            }
            (Self::Host(own), None) => Ok(own.clone()),
            (Self::Host(own), Some(host)) if own == host => Ok(own.clone()),
            (Self::Host(_), Some(_)) => Err(problems::forbidden()),
        }
    }

    /// Of a volume it may not see, a host does not learn that it exists.
    pub fn may_see(&self, volume: &VolumeRecord) -> bool {
        match self {
            Self::Admin => true,
            // A volume that was released is its host's no more.
            Self::Host(own) => {
                let holds = volume.wish != Wish::Free || !volume.settled;
                holds && volume.holder.as_ref().is_some_and(|holder| holder.host == *own)
            }
        }
    }

    /// Tells apart who used an idempotency key.
    pub fn scope(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Host(name) => format!("host:{name}"),
        }
    }
}

impl Station {
    pub async fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        let key = token_key(token);
        match load::<TokenRecord>(&self.store, &key).await?.map(|stored| stored.record) {
            Some(TokenRecord::Admin) => Ok(Principal::Admin),
            Some(TokenRecord::Host(name)) => Ok(Principal::Host(name)),
            None => Err(problems::unauthorized()),
        }
    }

    /// Puts an administrator's token in force beside those there are.
    pub async fn add_admin_token(&self, token: &Secret) -> Result<(), StoreError> {
        let put = Transaction::new().put(token_key(token.expose()), encode(&TokenRecord::Admin));
        self.store.commit(put).await.map(drop)
    }

    /// A pool has a join token from its first start on.
    pub async fn ensure_join_token(&self) -> Result<(), StoreError> {
        let record = JoinTokenRecord { token: random::token(&*self.machine, "obj"), expires: None };
        let put = Transaction::new()
            .when(Compare::Absent(JOIN_TOKEN.to_owned()))
            .put(JOIN_TOKEN, encode(&record));
        match self.store.commit(put).await? {
            Outcome::Committed { .. } | Outcome::Conflict => Ok(()),
        }
    }

    pub async fn join_token(&self, who: &Principal) -> Result<JoinToken, Problem> {
        who.must_be_admin()?;
        let valid = self.valid_join_token().await?;
        valid.ok_or_else(|| problems::not_found("valid join token", "join-token"))
    }

    /// The one units may enrol with now.
    pub async fn valid_join_token(&self) -> Result<Option<JoinToken>, StoreError> {
        let stored = load::<JoinTokenRecord>(&self.store, JOIN_TOKEN).await?;
        let valid = |record: &JoinTokenRecord| {
            record.expires.is_none_or(|expires| self.seconds() < expires)
        };
        let record = stored.map(|stored| stored.record).filter(valid);
        Ok(record.map(|record| JoinToken { token: record.token, expires: record.expires }))
    }

    pub async fn new_join_token(
        &self,
        who: &Principal,
        valid: Option<Duration>,
    ) -> Result<JoinToken, Problem> {
        who.must_be_admin()?;
        let expires = valid.map(|valid| self.seconds().saturating_add(valid.as_secs()));
        let record = JoinTokenRecord { token: random::token(&*self.machine, "obj"), expires };
        self.store.commit(Transaction::new().put(JOIN_TOKEN, encode(&record))).await?;
        self.events.add("join-token-made", &self.pool, "a new join token; the old one is void");
        Ok(JoinToken { token: record.token, expires })
    }
}

pub(super) fn token_key(token: &str) -> String {
    format!("{TOKENS}{}", random::digest(token))
}
