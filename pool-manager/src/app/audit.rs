//! The audit log: its entries are written in the transaction of the change itself, so that neither
//! is there without the other. A chain of hashes makes what is altered or left out visible.

use outband_pool_api::{AuditEntry, Problem};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::{Action, Caller, Station};
use crate::book::Record;
use crate::problems;
use crate::records::{ATTEMPTS, AUDIT, AUDIT_HEAD, AuditHead, Stored, audit_key, encode, load};
use crate::search::Sought;
use crate::store::{Compare, Outcome, StoreError, Transaction};

/// Entries shown at once, at most.
const PAGE_MAX: u32 = 1000;
/// So many pages are searched, from the newest on.
const SEARCHED_PAGES: u32 = 10;

/// What an entry says beside who, when and why.
#[derive(Clone, Debug)]
pub(super) struct Change {
    action: &'static str,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    pub(super) fn new(action: &'static str, subject: &str) -> Self {
        Self { action, subject: subject.to_owned(), before: None, after: None }
    }

    pub(super) fn before(mut self, record: &impl Serialize) -> Self {
        self.before = Some(without_secrets(record));
        self
    }

    pub(super) fn after(mut self, record: &impl Serialize) -> Self {
        self.after = Some(without_secrets(record));
        self
    }
}

/// What records keep that nobody is to read: a host's secret and the one its units prove to it, a unit's
/// secret, and a host's token, of which only the hash is kept, and that is nobody's business either.
const SECRETS: [&str; 3] = ["secret", "mutual", "token"];

fn without_secrets(record: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !SECRETS.contains(&name.as_str()));
    }
    value
}

impl Station {
    /// Changes are made one after the other: each compares with records that all the others write.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().await
    }

    /// The change and its entry, or `false`: somebody else was faster, decide again.
    pub(super) async fn commit_audited(
        &self,
        who: &Caller,
        change: Change,
        transaction: Transaction,
    ) -> Result<bool, StoreError> {
        let head = load::<AuditHead>(&self.store, AUDIT_HEAD).await?;
        let compare = match &head {
            Some(head) => head.unchanged(),
            None => Compare::Absent(AUDIT_HEAD.to_owned()),
        };
        let head = head.map(|head| head.record).unwrap_or_default();
        let entry = AuditEntry {
            number: head.number + 1,
            at_millis: self.millis(),
            actor: who.actor(),
            reason: who.reason.clone(),
            action: change.action.to_owned(),
            subject: change.subject,
            before: change.before,
            after: change.after,
            previous: head.hash,
        };
        let head = AuditHead { number: entry.number, hash: entry.digest() };
        let transaction = transaction
            .when(compare)
            .put(AUDIT_HEAD, encode(&head))
            .put(audit_key(entry.number), encode(&entry));
        Ok(self.store.commit(transaction).await? != Outcome::Conflict)
    }

    /// Changes one record with an entry. `decide` answers `None` when there is nothing to do.
    pub(super) async fn change_record<T>(
        &self,
        who: &Caller,
        action: &'static str,
        subject: &str,
        key: &str,
        mut decide: impl FnMut(&T) -> Result<Option<T>, Problem>,
    ) -> Result<Option<T>, Problem>
    where
        T: Record + Serialize,
    {
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let Some(stored) = load::<T>(&self.store, key).await? else {
                return Ok(None);
            };
            must_match(who, &stored)?;
            let Some(changed) = decide(&stored.record)? else {
                return Ok(Some(stored.record));
            };
            let change = Change::new(action, subject).before(&stored.record).after(&changed);
            let put = Transaction::new().when(stored.unchanged()).put(key, encode(&changed));
            if self.commit_audited(who, change, put).await? {
                return Ok(Some(changed));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Entries after `after`, oldest first; without it the newest ones.
    pub async fn audit(
        &self,
        who: &Caller,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Problem> {
        who.must(Action::SeeAudit)?;
        let limit = limit.min(PAGE_MAX);
        let head = load::<AuditHead>(&self.store, AUDIT_HEAD).await?;
        let last = head.map_or(0, |head| head.record.number);
        let after = after.unwrap_or_else(|| last.saturating_sub(u64::from(limit)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.store.page(AUDIT, &audit_key(after), limit).await?;
        page.entries.into_iter().map(entry).collect()
    }

    /// The newest `most` entries that fit, of the last ten thousand, newest first.
    pub async fn search_audit(
        &self,
        who: &Caller,
        sought: &Sought,
        most: usize,
    ) -> Result<Vec<AuditEntry>, Problem> {
        let mut newest = self.audit(who, None, PAGE_MAX).await?;
        let mut found = Vec::new();
        for _ in 0..SEARCHED_PAGES {
            let Some(first) = newest.first().map(|entry| (entry.number, entry.at_millis)) else {
                break;
            };
            let fit = newest.into_iter().rev().filter(|entry| sought.is_entry(entry));
            found.extend(fit.take(most - found.len()));
            if found.len() == most || first.0 <= 1 || sought.is_over(first.1) {
                break;
            }
            let after = first.0.saturating_sub(1 + u64::from(PAGE_MAX));
            let limit = (first.0 - 1 - after).min(PAGE_MAX.into());
            let limit = u32::try_from(limit).unwrap_or(PAGE_MAX);
            newest = self.audit(who, Some(after), limit).await?;
        }
        Ok(found)
    }
}

fn entry(stored: crate::store::Entry) -> Result<AuditEntry, Problem> {
    let read = serde_json::from_slice(&stored.value);
    read.map_err(|source| StoreError::Record { key: stored.key, source }.into())
}

/// `If-Match` (RFC 9110 §13.1.1).
pub(super) fn must_match<T>(who: &Caller, stored: &Stored<T>) -> Result<(), Problem> {
    match who.only_if {
        Some(revision) if revision != stored.revision => Err(problems::changed(stored.revision)),
        _ => Ok(()),
    }
}
