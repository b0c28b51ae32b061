//! Who speaks, by the token; tokens with a scope; and the join token, with which units enrol.

use std::time::Duration;

use outband_pool_api::{JoinToken, NewToken, Problem, Scope, Secret, Token, TokenRequest};

use super::audit::Change;
use super::{Action, Caller, Station};
use crate::records::{
    ATTEMPTS, HostRecord, IssuedToken, JOIN_TOKEN, JoinTokenRecord, Stored, TOKEN_NAMES, TOKENS,
    TokenRecord, decode, encode, host_key, load,
};
use crate::store::{Compare, Outcome, StoreError, Transaction};
use crate::{names, problems, random};

impl Station {
    pub async fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        let key = token_key(token);
        match load::<TokenRecord>(&self.store, &key).await?.map(|stored| stored.record) {
            Some(TokenRecord::Admin) => Ok(Caller::ADMIN),
            Some(TokenRecord::Host(name)) => Ok(Caller::host(name)),
            Some(TokenRecord::Issued(token)) => self.bearer(token).await,
            None => Err(problems::unauthorized()),
        }
    }

    async fn bearer(&self, token: IssuedToken) -> Result<Caller, Problem> {
        if token.expires.is_some_and(|expires| self.seconds() >= expires) {
            return Err(problems::token_expired());
        }
        let Some(host) = token.host else {
            return Ok(Caller::of(token.scope, token.name));
        };
        // A host that was removed, and one that has its name by now, are two.
        let stored = load::<HostRecord>(&self.store, &host_key(&host)).await?;
        match stored.filter(|stored| stored.record.created <= token.created) {
            Some(_) => Ok(Caller::host(host)),
            None => Err(problems::unauthorized()),
        }
    }

    /// Puts an administrator's token in force beside those there are.
    pub async fn add_admin_token(&self, token: &Secret) -> Result<(), StoreError> {
        let put = Transaction::new().put(token_key(token.expose()), encode(&TokenRecord::Admin));
        self.store.commit(put).await.map(drop)
    }

    pub async fn new_token(&self, who: &Caller, ask: TokenRequest) -> Result<NewToken, Problem> {
        who.must(Action::ManageTokens)?;
        names::check("token", &ask.name)?;
        self.check_token_host(&ask).await?;
        let secret = random::token(&*self.machine, "obt");
        let record = IssuedToken {
            name: ask.name,
            scope: ask.scope,
            host: ask.host,
            created: self.seconds(),
            expires: ask.valid_seconds.map(|valid| self.seconds().saturating_add(valid)),
            by: who.actor(),
        };
        let (key, by_name) = (token_key(secret.expose()), name_key(&record.name));
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let put = Transaction::new()
                .when(Compare::Absent(by_name.clone()))
                .put(&by_name, key.clone().into_bytes())
                .put(&key, encode(&TokenRecord::Issued(record.clone())));
            let change = Change::new("token-create", &record.name).after(&record);
            if self.commit_audited(who, change, put).await? {
                return Ok(NewToken { token: shown(record), secret });
            }
            if self.store.get(&by_name).await?.is_some() {
                return Err(problems::name_taken("token", &record.name));
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn check_token_host(&self, ask: &TokenRequest) -> Result<(), Problem> {
        match (ask.scope, &ask.host) {
            (Scope::Host, None) => {
                Err(problems::bad_request("say with \"host\" whose volumes the token is for"))
            }
            (Scope::Host, Some(host)) => {
                let stored = load::<HostRecord>(&self.store, &host_key(host)).await?;
                stored.map(drop).ok_or_else(|| problems::not_found("host", host))
            }
            (_, Some(_)) => {
                Err(problems::bad_request("only a token of the scope \"host\" names a host"))
            }
            (_, None) => Ok(()),
        }
    }

    pub async fn tokens(&self, who: &Caller) -> Result<Vec<Token>, Problem> {
        who.must(Action::ManageTokens)?;
        let all = self.store.list(TOKENS).await?.entries.into_iter();
        let all = all.map(decode).collect::<Result<Vec<Stored<TokenRecord>>, _>>()?;
        let mut tokens: Vec<Token> = all
            .into_iter()
            .filter_map(|stored| match stored.record {
                TokenRecord::Issued(token) => Some(shown(token)),
                // They come and go with the station's file and with their host.
                TokenRecord::Admin | TokenRecord::Host(_) => None,
            })
            .collect();
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tokens)
    }

    /// The token is void from now on. What it has begun goes on.
    pub async fn revoke_token(&self, who: &Caller, name: &str) -> Result<(), Problem> {
        who.must(Action::ManageTokens)?;
        let by_name = name_key(name);
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let entry = self.store.get(&by_name).await?;
            let entry = entry.ok_or_else(|| problems::not_found("token", name))?;
            let key = String::from_utf8_lossy(&entry.value).into_owned();
            let record = load::<TokenRecord>(&self.store, &key).await?.map(|stored| stored.record);
            let delete = Transaction::new()
                .when(Compare::Unchanged(by_name.clone(), entry.revision))
                .delete(&by_name)
                .delete(&key);
            let change = Change::new("token-revoke", name);
            let change = match &record {
                Some(TokenRecord::Issued(token)) => change.before(token),
                _ => change,
            };
            if self.commit_audited(who, change, delete).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
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

    pub async fn join_token(&self, who: &Caller) -> Result<JoinToken, Problem> {
        who.must(Action::SeeJoinToken)?;
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
        who: &Caller,
        valid: Option<Duration>,
    ) -> Result<JoinToken, Problem> {
        who.must(Action::MakeJoinToken)?;
        let expires = valid.map(|valid| self.seconds().saturating_add(valid.as_secs()));
        let record = JoinTokenRecord { token: random::token(&*self.machine, "obj"), expires };
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let put = Transaction::new().put(JOIN_TOKEN, encode(&record));
            let change = Change::new("join-token-new", &self.pool).after(&record);
            if self.commit_audited(who, change, put).await? {
                let text = "a new join token; the old one is void";
                self.events.add("join-token-made", &self.pool, text);
                return Ok(JoinToken { token: record.token, expires });
            }
        }
        Err(StoreError::Contended.into())
    }
}

fn shown(token: IssuedToken) -> Token {
    let IssuedToken { name, scope, host, created, expires, by } = token;
    Token { name, scope, host, created, expires, by }
}

pub(super) fn token_key(token: &str) -> String {
    format!("{TOKENS}{}", random::digest(token))
}

fn name_key(name: &str) -> String {
    format!("{TOKEN_NAMES}{name}")
}
