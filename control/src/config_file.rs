//! TOML configuration files, read so that a mistake is answered by file, line and what to change. Both
//! the unit's and the station's are read here.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration is refused; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read at all.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key or value is not one that there is.
    #[error("{path}:{line}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The values do not go together.
    #[error("{path}: {what}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Reads `path`.
///
/// # Errors
/// See [`ConfigError`].
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// Reads `text`; `path` is for messages.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        what: explain(error.message()),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Serde says "unknown field `lisen`, expected one of `listen`, `pool`"; a person wants to know
/// which one was meant.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return message.lines().next().unwrap_or(message).to_owned();
    };
    let mut words = rest.split('`').skip(1).step_by(2);
    let wrong = words.next().unwrap_or_default();
    match words.min_by_key(|known| distance(wrong, known)) {
        Some(nearest) => format!("unknown key \"{wrong}\"; did you mean \"{nearest}\"?"),
        None => format!("unknown key \"{wrong}\""),
    }
}

/// Letters to insert, remove or replace.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, against) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *against);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "read by the derive only")]
        listen: String,
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let refused = parse::<Sample>(Path::new("unit.toml"), "\n\nlisen = \"x\"\n").unwrap_err();
        let expected = "unit.toml:3: unknown key \"lisen\"; did you mean \"listen\"?";
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn distance_counts_letters() {
        for (one, other, letters) in
            [("", "", 0), ("a", "", 1), ("lisen", "listen", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), letters);
        }
    }
}
