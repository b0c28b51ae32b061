//! The audit log: each change with who asked for it, why, and what was before and after. Each entry
//! carries the hash of the one before, so that one that is changed or left out is found.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Grows by one with each entry, from 1 on.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_millis: u64,
    /// Scope and name of the token, such as `operator:alice` or `host:db1`.
    pub actor: String,
    /// In the actor's own words, if any were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `volume-release`, `unit-approve` …
    pub action: String,
    /// Name of what was changed.
    pub subject: String,
    /// The record before, without secrets; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// The record after, without secrets; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// Hash of the entry before, 64 hexadecimal digits; empty in the first.
    pub previous: String,
}

/// The log is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    #[error("entry {0} is missing")]
    Missing(u64),
    #[error("entry {0} is not what was written")]
    Changed(u64),
}

impl AuditEntry {
    /// SHA-256 over all that it says, in hexadecimal: what the next entry carries as `previous`.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let texts = [
            &self.actor,
            self.reason.as_ref().unwrap_or(&String::new()),
            &self.action,
            &self.subject,
            &canonical(self.before.as_ref()),
            &canonical(self.after.as_ref()),
            &self.previous,
        ]
        .map(Clone::clone);
        hash.update(self.number.to_be_bytes());
        hash.update(self.at_millis.to_be_bytes());
        for text in texts {
            // With its length, so that no text can pass for the next one's beginning.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        HEXLOWER.encode(&hash.finalize())
    }
}

/// Whether these neighbours follow on each other as they were written. Of the newest entry only the
/// one after it, or a copy kept elsewhere, can tell whether it was changed.
pub fn verify_audit(entries: &[AuditEntry]) -> Result<(), Broken> {
    for pair in entries.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        if next.number != one.number + 1 {
            return Err(Broken::Missing(one.number + 1));
        }
        if next.previous != one.digest() {
            return Err(Broken::Changed(one.number));
        }
    }
    Ok(())
}

/// JSON with sorted keys, whatever order the parser keeps.
fn canonical(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Object(map)) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            let field = |key: &String| format!("{key:?}:{}", canonical(map.get(key)));
            let fields: Vec<String> = keys.into_iter().map(field).collect();
            format!("{{{}}}", fields.join(","))
        }
        Some(Value::Array(list)) => {
            let items: Vec<String> = list.iter().map(|item| canonical(Some(item))).collect();
            format!("[{}]", items.join(","))
        }
        Some(plain) => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for number in 1..=6 {
            let previous = entries.last().map(AuditEntry::digest).unwrap_or_default();
            entries.push(AuditEntry {
                number,
                at_millis: 1000 * number,
                actor: "operator:alice".to_owned(),
                reason: (number % 2 == 0).then(|| "tidying up".to_owned()),
                action: "volume-release".to_owned(),
                subject: format!("v{number}"),
                before: Some(serde_json::json!({ "wish": "granted", "epoch": number })),
                after: Some(serde_json::json!({ "wish": "free", "epoch": number })),
                previous,
            });
        }
        entries
    }

    #[test]
    fn whatever_is_changed_or_left_out_is_found() {
        let good = log();
        assert_eq!(verify_audit(&good), Ok(()));
        let changes: [fn(&mut AuditEntry); 8] = [
            |entry| entry.at_millis += 1,
            |entry| entry.actor = "admin".to_owned(),
            |entry| entry.reason = Some("another".to_owned()),
            |entry| entry.action.push('x'),
            |entry| entry.subject.push('x'),
            |entry| entry.before = None,
            |entry| entry.after = Some(serde_json::json!({ "wish": "granted" })),
            |entry| entry.previous = "0".repeat(64),
        ];
        for at in 0..good.len() - 1 {
            for (which, change) in changes.iter().enumerate() {
                let mut entries = good.clone();
                change(&mut entries[at]);
                assert!(verify_audit(&entries).is_err(), "change {which} of entry {at}");
            }
        }
        for at in 1..good.len() - 1 {
            let mut entries = good.clone();
            let number = entries.remove(at).number;
            assert_eq!(verify_audit(&entries), Err(Broken::Missing(number)));
        }
    }

    #[test]
    fn one_text_does_not_pass_for_two() {
        let one = AuditEntry { actor: "ab".into(), action: "c".into(), ..log()[0].clone() };
        let other = AuditEntry { actor: "a".into(), action: "bc".into(), ..log()[0].clone() };
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn what_was_sent_over_the_wire_has_the_same_hash() {
        for entry in log() {
            let text = serde_json::to_string(&entry).unwrap();
            let back: AuditEntry = serde_json::from_str(&text).unwrap();
            assert_eq!(back.digest(), entry.digest());
        }
    }
}
