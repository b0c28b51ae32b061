//! `qa/ledger.csv`: when, at which commit, what was run, how much of it, for how long, and whether it
//! held. Lines are only ever added.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::failure::{Failure, root};
use crate::process::commit;

const HEAD: &str = "unix_time,commit,tier,part,amount,seconds,result";

/// One line.
pub(crate) struct Entry {
    unix_time: u64,
    commit: String,
    tier: String,
    part: String,
    amount: String,
    seconds: u64,
    passed: bool,
}

impl Entry {
    /// What has just been run.
    pub(crate) fn now(
        tier: &str,
        part: &str,
        amount: &str,
        took: Duration,
        passed: bool,
    ) -> Result<Self, Failure> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            unix_time: since.as_secs(),
            commit: commit()?,
            tier: tier.to_owned(),
            part: part.to_owned(),
            amount: amount.to_owned(),
            seconds: took.as_secs(),
            passed,
        })
    }

    fn line(&self) -> String {
        let Self { unix_time, commit, tier, part, amount, seconds, passed } = self;
        let result = if *passed { "passed" } else { "FAILED" };
        format!("{unix_time},{commit},{tier},{part},{amount},{seconds},{result}")
    }
}

fn path() -> PathBuf {
    root().join("qa/ledger.csv")
}

/// Adds a line; the file is made with its heading if it is not there.
pub(crate) fn add(entry: &Entry) -> Result<(), Failure> {
    let path = path();
    let is_new = !path.exists();
    let mut file =
        OpenOptions::new().create(true).append(true).open(&path).map_err(Failure::at(&path))?;
    let head = if is_new { format!("{HEAD}\n") } else { String::new() };
    writeln!(file, "{head}{}", entry.line()).map_err(Failure::at(&path))
}

/// The first seed that no passed line of this part has run.
pub(crate) fn next_seed(part: &str) -> Result<u64, Failure> {
    let path = path();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(end_of_seeds(&text, part)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Failure::at(&path)(error)),
    }
}

fn end_of_seeds(text: &str, part: &str) -> u64 {
    let ends = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let [_, _, _, what, amount, _, "passed"] = fields[..] else {
            return None;
        };
        let (_, end) = amount.split_once("..").filter(|_| what == part)?;
        end.parse().ok()
    });
    ends.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_on_where_they_have_passed() {
        let text = format!(
            "{HEAD}\n1,a,quick,sim,0..100,9,passed\n2,b,quick,pool,0..900,9,passed\n\
             3,c,quick,sim,100..400,9,passed\n4,c,quick,sim,400..900,9,FAILED\n"
        );
        assert_eq!(end_of_seeds(&text, "sim"), 400);
        assert_eq!(end_of_seeds(&text, "pool"), 900);
        assert_eq!(end_of_seeds(&text, "twice"), 0);
    }

    #[test]
    fn a_line_has_a_field_for_each_of_the_heading() {
        let entry = Entry::now("quick", "sim", "0..1", Duration::from_secs(3), true).unwrap();
        assert_eq!(entry.line().split(',').count(), HEAD.split(',').count());
    }
}
