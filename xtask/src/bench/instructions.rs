//! How many instructions one READ and one WRITE of 4 KiB take in the core (protocol machine and
//! device server), beside the figures that were noted before. They do not depend on the hour.
//!
//! A release build takes minutes, so `cargo xtask test` counts those of the build that it has just
//! tested, which are others; both are noted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::places::release;
use crate::failure::{Failure, root};
use crate::process::{built, captured, cargo, tool};
use crate::target::folder;
use crate::tools;

const PROGRAMS: [(&str, &str); 1] = [("valgrind", "valgrind")];
/// What was found before: words and figures, one a line.
const NOTED: &str = "bench/instructions.txt";
const HEADING: &str = "\
# Instructions of one request of 4 KiB through the core, as callgrind counts them: of a release build,
# and of the build that the tests are run with.
# Written by `cargo xtask bench instructions --update`; another compiler gives other figures.
";
const PROGRAM: &str = "outband-bench-core";
const KINDS: [&str; 2] = ["read", "write"];
const BATCHES: u32 = 100;
/// Where counting begins and ends.
const COUNTED: &str = "*Core::serve_batch*";

/// Counts those of both builds, and prints each figure beside the noted one; `update` notes the new
/// ones.
pub(crate) fn run(update: bool) -> Result<(), Failure> {
    cargo(&super::BUILD)?;
    cargo(&crate::test::BINARIES)?;
    let mut lines = shown("", &release(PROGRAM)?)?;
    lines += &shown("tested-", &built(PROGRAM)?)?;
    if update {
        let path = root().join(NOTED);
        let text = format!("{HEADING}compiler {}\n{lines}", compiler()?);
        fs::write(&path, text).map_err(Failure::at(&path))?;
        println!("{NOTED} is written");
    }
    Ok(())
}

/// Those of the build that was tested, which is there.
pub(crate) fn show_tested() -> Result<(), Failure> {
    shown("tested-", &built(PROGRAM)?).map(drop)
}

/// Counts and prints, and returns what is to be noted.
fn shown(build: &str, program: &Path) -> Result<String, Failure> {
    tools::ensure_programs(&PROGRAMS)?;
    let noted = fs::read_to_string(root().join(NOTED)).unwrap_or_default();
    let mut lines = String::new();
    for kind in KINDS {
        let count = count(program, kind)?;
        let key = format!("{build}{kind}");
        println!("{}", beside(&key, count, figure(&noted, &key)));
        writeln!(lines, "{key} {count}").expect("a string takes everything");
    }
    let compiler = compiler()?;
    if word(&noted, "compiler").is_some_and(|before| before != compiler) {
        println!("the noted figures are of another compiler");
    }
    Ok(lines)
}

/// Instructions of one request.
fn count(program: &Path, kind: &str) -> Result<u64, Failure> {
    let folder = folder()?;
    let output = folder.path().join("callgrind.out");
    let mut valgrind = Command::new(tool("valgrind")?);
    valgrind.args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")]);
    valgrind.arg(format!("--callgrind-out-file={}", output.display()));
    valgrind.arg(program).args([kind, &BATCHES.to_string()]);
    let said = captured(&mut valgrind, Duration::from_secs(300))?;
    each(&said).ok_or_else(|| Failure::wrong(format!("callgrind counted nothing:\n{said}")))
}

/// From what the program (so many requests) and callgrind (so many instructions) said.
fn each(said: &str) -> Option<u64> {
    let requests: u64 = said.lines().find_map(|line| line.trim().parse().ok())?;
    let collected = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    let instructions: u64 = collected.trim().parse().ok()?;
    (instructions > 0).then(|| instructions / requests.max(1))
}

fn beside(kind: &str, count: u64, noted: Option<u64>) -> String {
    let Some(noted) = noted.filter(|noted| *noted > 0) else {
        return format!("instructions of a {kind}: {count}");
    };
    let change = i128::from(count) * 1000 / i128::from(noted) - 1000;
    let sign = if change < 0 { '-' } else { '+' };
    let (whole, tenth) = (change.abs() / 10, change.abs() % 10);
    format!("instructions of a {kind}: {count}, noted before {noted} ({sign}{whole}.{tenth} %)")
}

fn figure(noted: &str, kind: &str) -> Option<u64> {
    word(noted, kind)?.parse().ok()
}

fn word<'t>(noted: &'t str, key: &str) -> Option<&'t str> {
    noted.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

fn compiler() -> Result<String, Failure> {
    let said = captured(Command::new("rustc").arg("--version"), Duration::from_secs(60))?;
    Ok(said.split_whitespace().nth(1).unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_shown_beside_the_noted_one() {
        let noted = "# words\ncompiler 1.95.0\nread 1000\nwrite 2000\n";
        assert_eq!(figure(noted, "read"), Some(1000));
        assert_eq!(word(noted, "compiler"), Some("1.95.0"));
        let line = beside("read", 1105, figure(noted, "read"));
        assert_eq!(line, "instructions of a read: 1105, noted before 1000 (+10.5 %)");
        assert!(beside("read", 996, Some(1000)).ends_with("(-0.4 %)"));
        assert_eq!(beside("flush", 7, figure(noted, "flush")), "instructions of a flush: 7");
    }

    #[test]
    fn instructions_are_those_of_one_request() {
        let said = "==1== Callgrind\n3200\n==1== Collected : 6400000\n";
        assert_eq!(each(said), Some(2000));
        assert_eq!(each("3200\n==1== Collected : 0\n"), None);
    }
}
