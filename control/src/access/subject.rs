//! What a grant is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest volume name.
const NAME_LEN_MAX: usize = 63;

/// A volume (`data`) or one of its partitions (`data.p1`). A volume's own name never ends like a
/// partition's, so that the two cannot be taken for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    volume: String,
    partition: Option<u16>,
}

/// Not the name of a volume or partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a volume or partition: lower case, digits, `.` and `-`, at most 63, and then `.p` \
     and a number from 1 for a partition"
)]
pub struct BadSubject(String);

impl Subject {
    /// The whole volume `name`.
    ///
    /// # Errors
    /// When it is not a volume's name, or ends like a partition's.
    pub fn whole(name: &str) -> Result<Self, BadSubject> {
        match name.parse::<Self>()? {
            subject if subject.partition.is_none() => Ok(subject),
            _ => Err(BadSubject(name.to_owned())),
        }
    }

    /// Partition `number` of the volume `name`.
    ///
    /// # Errors
    /// As [`Self::whole`], and when the number is 0.
    pub fn part(name: &str, number: u16) -> Result<Self, BadSubject> {
        if number == 0 {
            return Err(BadSubject(format!("{name}.p0")));
        }
        Ok(Self { partition: Some(number), ..Self::whole(name)? })
    }

    /// The volume that it is, or is a part of.
    #[must_use]
    pub fn volume(&self) -> &str {
        &self.volume
    }

    /// The partition's number, unless it is a whole volume.
    #[must_use]
    pub fn partition(&self) -> Option<u16> {
        self.partition
    }

    /// Whether the two share blocks. Partitions of a volume never do.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.volume == other.volume
            && (self.partition == other.partition
                || self.partition.is_none()
                || other.partition.is_none())
    }
}

impl FromStr for Subject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let (volume, partition) = match text.rsplit_once(".p") {
            Some((volume, digits)) if is_number(digits) => {
                let number = digits.parse().map_err(|_| BadSubject(text.to_owned()))?;
                (volume, Some(number))
            }
            _ => (text, None),
        };
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        let nested = volume.rsplit_once(".p").is_some_and(|(_, digits)| is_number(digits));
        if volume.is_empty()
            || volume.len() > NAME_LEN_MAX
            || !volume.bytes().all(allowed)
            || nested
        {
            return Err(BadSubject(text.to_owned()));
        }
        Ok(Self { volume: volume.to_owned(), partition })
    }
}

/// Written in the one way that a number is: so a subject has one text.
fn is_number(digits: &str) -> bool {
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

impl TryFrom<String> for Subject {
    type Error = BadSubject;

    fn try_from(text: String) -> Result<Self, BadSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.volume)?;
        self.partition.map_or(Ok(()), |number| write!(f, ".p{number}"))
    }
}
