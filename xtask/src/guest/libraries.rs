//! Which shared libraries a program needs, and those need in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::packages::Tree;
use crate::failure::Failure;
use crate::process::{captured, tool};

const QUESTION: Duration = Duration::from_secs(60);

/// The libraries of `tree` that `programs` need: name, and where it lies.
pub(super) fn needed(
    tree: &Tree,
    programs: &[PathBuf],
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    let mut files = programs.to_vec();
    while let Some(file) = files.pop() {
        for name in needed_by(&file)? {
            if found.contains_key(&name) {
                continue;
            }
            let library = tree.library(&name).ok_or_else(|| {
                let who = file.display();
                Failure::wrong(format!("{who} needs {name}, which is in no package of the guest"))
            })?;
            found.insert(name, library.clone());
            files.push(library);
        }
    }
    Ok(found)
}

fn needed_by(file: &Path) -> Result<Vec<String>, Failure> {
    let said = captured(Command::new(tool("readelf")?).arg("-d").arg(file), QUESTION)?;
    Ok(names(&said).map(str::to_owned).collect())
}

/// `0x… (NEEDED)  Shared library: [libc.so.6]`
fn names(said: &str) -> impl Iterator<Item = &str> {
    let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
    needed.filter_map(|line| line.split_once('[')?.1.split_once(']')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_libraries_are_read() {
        let said = "Dynamic section at offset 0x1 contains 2 entries:
 0x0000000000000001 (NEEDED)             Shared library: [libudev.so.1]
 0x000000000000000e (SONAME)             Library soname: [libmine.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]";
        assert_eq!(names(said).collect::<Vec<_>>(), ["libudev.so.1", "libc.so.6"]);
    }
}
