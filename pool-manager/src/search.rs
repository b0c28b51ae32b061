//! What is looked for among events and in the audit log: by words, who, what and when. Pure.

use outband_pool_api::{AuditEntry, Event, Severity};
use serde::Deserialize;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// All that is said has to fit; everything does without it. Empty is as if it were left out, for forms
/// send every field.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Search {
    /// Words, each somewhere in kind, object or text; in whatever case.
    pub q: String,
    /// Name of the unit, volume, host, token or job, whole.
    pub object: String,
    /// Of the audit log: who, such as `operator:alice`, or the beginning of that.
    pub actor: String,
    /// Of events: `information`, `warning` or `error`, and what is worse.
    pub severity: String,
    /// Not before this time, in UTC: `2026-11-21`, `2026-11-21T13:05` or `2026-11-21T13:05:09Z`.
    pub from: String,
    /// Not after it.
    pub to: String,
}

/// What a [`Search`] was understood as.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sought {
    words: Vec<String>,
    object: String,
    actor: String,
    severity: Severity,
    from_millis: u64,
    to_millis: Option<u64>,
}

impl Search {
    /// What cannot be understood is said in words for whoever typed it.
    pub fn understood(&self) -> Result<Sought, String> {
        let severity = match self.severity.as_str() {
            "" => Severity::default(),
            word => word
                .parse()
                .map_err(|_| format!("severity \"{word}\"; say information, warning or error"))?,
        };
        let from_millis = match self.from.trim() {
            "" => 0,
            text => moment(text, 0)?,
        };
        let to_millis = match self.to.trim() {
            "" => None,
            text => Some(moment(text, 1)?),
        };
        Ok(Sought {
            words: self.q.split_whitespace().map(str::to_lowercase).collect(),
            object: self.object.trim().to_owned(),
            actor: self.actor.trim().to_owned(),
            severity,
            from_millis,
            to_millis,
        })
    }
}

impl Sought {
    pub fn is_event(&self, event: &Event) -> bool {
        let Event { kind, subject, text, severity, .. } = event;
        *severity >= self.severity
            && self.is_about(subject, event.at_millis)
            && self.has_words(&[kind, subject, text])
            // Events are of nobody; the audit log says who.
            && self.actor.is_empty()
    }

    pub fn is_entry(&self, entry: &AuditEntry) -> bool {
        let AuditEntry { actor, reason, action, subject, .. } = entry;
        self.is_about(subject, entry.at_millis)
            && actor.starts_with(&self.actor)
            && self.has_words(&[actor, action, subject, reason.as_deref().unwrap_or_default()])
    }

    /// Whether nothing older can fit.
    pub fn is_over(&self, at_millis: u64) -> bool {
        at_millis < self.from_millis
    }

    fn is_about(&self, subject: &str, at_millis: u64) -> bool {
        let in_time =
            at_millis >= self.from_millis && self.to_millis.is_none_or(|to| at_millis <= to);
        in_time && (self.object.is_empty() || self.object == subject)
    }

    fn has_words(&self, texts: &[&str]) -> bool {
        let all = texts.join(" ").to_lowercase();
        self.words.iter().all(|word| all.contains(word))
    }
}

/// Milliseconds since 1970. A day or a minute begins (`end` 0) or ends (`end` 1) at the time that is
/// meant.
fn moment(text: &str, end: u64) -> Result<u64, String> {
    let bad = || {
        format!(
            "\"{text}\" is no time; write for example 2026-11-21, 2026-11-21T13:05 or \
                 2026-11-21T13:05:09Z"
        )
    };
    let (date, clock) = match text.split_once(['T', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let date = day(date).ok_or_else(bad)?;
    let Some(clock) = clock else {
        return Ok(millis(PrimitiveDateTime::new(date, Time::MIDNIGHT)) + end * (86_400_000 - 1));
    };
    let clock = clock.strip_suffix(['Z', 'z']).unwrap_or(clock);
    let parts: Option<Vec<u8>> = clock.split(':').map(|part| part.parse().ok()).collect();
    let (time, rest) = match parts.as_deref() {
        Some([hour, minute]) => (Time::from_hms(*hour, *minute, 0), 59_999),
        Some([hour, minute, second]) => (Time::from_hms(*hour, *minute, *second), 999),
        _ => return Err(bad()),
    };
    let time = time.map_err(|_| bad())?;
    Ok(millis(PrimitiveDateTime::new(date, time)) + end * rest)
}

fn day(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-');
    let year: i32 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let month: u8 = parts.next()?.parse().ok()?;
    let day = parts.next()?.parse().ok()?;
    Date::from_calendar_date(year, month.try_into().ok()?, day).ok()
}

fn millis(at: PrimitiveDateTime) -> u64 {
    let at: OffsetDateTime = at.assume_utc();
    // Years before 1970 were refused.
    u64::try_from(at.unix_timestamp()).unwrap_or(0) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, subject: &str, at_millis: u64) -> Event {
        Event {
            number: 1,
            at_millis,
            severity: Severity::of(kind),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            text: "ten ALIVE missed".to_owned(),
        }
    }

    fn entry(actor: &str, reason: Option<&str>) -> AuditEntry {
        AuditEntry {
            number: 1,
            at_millis: 5_000,
            actor: actor.to_owned(),
            reason: reason.map(str::to_owned),
            action: "volume-grow".to_owned(),
            subject: "data".to_owned(),
            before: None,
            after: None,
            previous: String::new(),
        }
    }

    fn sought(fields: &[(&str, &str)]) -> Sought {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let search: Search = serde_json::from_value(fields.into()).unwrap();
        search.understood().unwrap()
    }

    #[test]
    fn an_event_fits_when_all_that_is_said_does() {
        let down = event("unit-down", "unit-1", 1_795_266_309_000);
        for fits in [
            &[][..],
            &[("q", "DOWN alive")],
            &[("object", "unit-1"), ("severity", "error")],
            &[("severity", "warning")],
            &[("from", "2026-11-21"), ("to", "2026-11-21")],
            &[("from", "2026-11-21T13:05"), ("to", "2026-11-21T13:05")],
            &[("from", "2026-11-21T13:05:09Z"), ("to", "2026-11-21 13:05:09")],
        ] {
            assert!(sought(fits).is_event(&down), "{fits:?}");
        }
        for fails in [
            &[("q", "down up")][..],
            &[("object", "unit")],
            &[("actor", "admin")],
            &[("from", "2026-11-22")],
            &[("to", "2026-11-21T13:04")],
            &[("from", "2026-11-21T13:05:10")],
        ] {
            assert!(!sought(fails).is_event(&down), "{fails:?}");
        }
        let joined = event("unit-joined", "unit-1", 0);
        assert!(!sought(&[("severity", "warning")]).is_event(&joined));
    }

    #[test]
    fn an_entry_is_found_by_who_why_and_what() {
        let grown = entry("operator:alice", Some("more logs"));
        for fits in [
            &[("actor", "operator")][..],
            &[("actor", "operator:alice"), ("q", "logs grow")],
            &[("object", "data")],
        ] {
            assert!(sought(fits).is_entry(&grown), "{fits:?}");
        }
        assert!(!sought(&[("actor", "alice")]).is_entry(&grown));
        assert!(!sought(&[("q", "logs")]).is_entry(&entry("admin", None)));
        let since = sought(&[("from", "1970-01-01T00:00:05")]);
        assert!(since.is_entry(&grown) && since.is_over(4_999) && !since.is_over(5_000));
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        for (field, value) in [
            ("from", "yesterday"),
            ("from", "2026-13-01"),
            ("from", "1969-12-31"),
            ("to", "2026-11-21T25:00"),
            ("to", "2026-11-21T1"),
            ("severity", "loud"),
        ] {
            let search: Search =
                serde_json::from_value(serde_json::json!({ field: value })).unwrap();
            let why = search.understood().unwrap_err();
            assert!(why.contains(value), "{why}");
        }
    }
}
