//! Lists in parts. A part is continued behind the key of its last entry, not behind the entry: when
//! that is deleted meanwhile, the next part begins with the first greater key.

use std::cmp::Reverse;

use uuid::Uuid;

/// A key by which a list is in order, as text that a client hands back.
pub(crate) trait Cursor: Ord + Sized {
    fn write(&self) -> String;
    /// `None`: not of this list's making.
    fn read(text: &str) -> Option<Self>;
}

/// A part of a list, and behind what the next one begins, if there is more.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Part<T> {
    pub(crate) entries: Vec<T>,
    pub(crate) next: Option<String>,
}

/// The text was not written as a cursor of this list.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Of `all`, which is in the order of its keys: what comes behind `after`, at most `limit`.
pub(crate) fn part<T, K: Cursor>(
    mut all: Vec<T>,
    after: Option<&str>,
    limit: Option<usize>,
    key: impl Fn(&T) -> K,
) -> Result<Part<T>, Malformed> {
    if let Some(after) = after {
        let after = K::read(after).ok_or(Malformed)?;
        all.drain(..all.partition_point(|entry| key(entry) <= after));
    }
    let mut next = None;
    if let Some(limit) = limit.filter(|limit| *limit < all.len()) {
        all.truncate(limit);
        next = all.last().map(|last| key(last).write());
    }
    Ok(Part { entries: all, next })
}

impl Cursor for String {
    fn write(&self) -> String {
        self.clone()
    }

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Cursor for Uuid {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Two units may report things of one name; and a name may hold anything, an `@` too.
impl Cursor for (String, Uuid) {
    fn write(&self) -> String {
        format!("{}@{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (name, unit) = text.rsplit_once('@')?;
        Some((name.to_owned(), unit.parse().ok()?))
    }
}

/// With a group before the name.
impl Cursor for (bool, String, Uuid) {
    fn write(&self) -> String {
        format!("{}.{}@{}", u8::from(self.0), self.1, self.2)
    }

    fn read(text: &str) -> Option<Self> {
        let (group, rest) = text.split_once('.')?;
        let (name, unit) = <(String, Uuid)>::read(rest)?;
        Some((group == "1", name, unit))
    }
}

/// Jobs: when one was begun, which of that second it was, and its id.
impl Cursor for (u64, u64, Uuid) {
    fn write(&self) -> String {
        format!("{}.{}.{}", self.0, self.1, self.2)
    }

    fn read(text: &str) -> Option<Self> {
        let (created, rest) = text.split_once('.')?;
        let (sequence, id) = rest.split_once('.')?;
        Some((created.parse().ok()?, sequence.parse().ok()?, id.parse().ok()?))
    }
}

impl<K: Cursor> Cursor for Reverse<K> {
    fn write(&self) -> String {
        self.0.write()
    }

    fn read(text: &str) -> Option<Self> {
        K::read(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_list_goes_on_behind_an_entry_that_is_gone() {
        let part = |all: &[&str], after, limit| {
            let Part { entries, next } = part(names(all), after, limit, String::clone).unwrap();
            (entries.concat(), next)
        };
        let two = Some(2);
        assert_eq!(part(&["a", "b", "c", "d"], None, two), ("ab".into(), Some("b".into())));
        assert_eq!(part(&["a", "b", "c", "d"], Some("b"), two), ("cd".into(), None));
        assert_eq!(part(&["a", "c", "d", "e"], Some("b"), two), ("cd".into(), Some("d".into())));
        assert_eq!(part(&["a", "aa"], Some("b"), two), (String::new(), None));
        assert_eq!(part(&["a", "b"], None, None), ("ab".into(), None));
        assert_eq!(part(&["a", "b"], None, two), ("ab".into(), None), "exactly full");
    }

    fn check<K: Cursor + Clone + std::fmt::Debug>(mut keys: Vec<K>, malformed: &[&str]) {
        keys.sort();
        for key in &keys {
            assert_eq!(K::read(&key.write()).as_ref(), Some(key));
        }
        for text in malformed {
            assert!(K::read(text).is_none(), "{text}");
            assert_eq!(part(keys.clone(), Some(text), None, K::clone), Err(Malformed), "{text}");
        }
        // Page by page, while what was shown is deleted.
        let (mut seen, mut left, mut after) = (Vec::new(), keys.clone(), None);
        loop {
            let Part { entries, next } =
                part(left.clone(), after.as_deref(), Some(1), K::clone).unwrap();
            left.retain(|key| !entries.contains(key));
            seen.extend(entries);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, keys);
    }

    #[test]
    fn every_key_is_read_as_it_was_written_and_nothing_else_is() {
        let id = Uuid::from_u128;
        check(vec![id(3), id(1), id(2)], &["", "x"]);
        check(
            vec![("a@b".to_owned(), id(1)), ("a".to_owned(), id(9)), ("a".to_owned(), id(2))],
            &["", "a", "a@", "a@x"],
        );
        let group = |pending, name: &str, unit| (pending, name.to_owned(), id(unit));
        check(
            vec![group(true, "a", 1), group(false, "z.@", 2), group(false, "z.@", 1)],
            &["", "0", "0.a", "a@00000000-0000-0000-0000-000000000001"],
        );
        let jobs = vec![(7, 10, id(1)), (7, 9, id(2)), (10, 1, id(3)), (7, 9, id(1))];
        check(jobs.clone(), &["", "7.9", "7.9.x", "-1.9.00000000-0000-0000-0000-000000000001"]);
        check(jobs.into_iter().map(Reverse).collect(), &["7"]);
    }
}
