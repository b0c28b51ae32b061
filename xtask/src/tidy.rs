//! What the compiler does not see: length, leftovers, dead files, broken links and paths.

mod documents;
mod leftovers;
mod length;
mod modules;
mod places;
mod rows;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use crate::failure::{Failure, root};
use tree::Tree;

/// One thing to mend.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub(crate) fn run() -> Result<(), Failure> {
    let tree = Tree::of_checkout(&root())?;
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::wrong(format!("tidy found {count} things to mend"))),
    }
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources() {
        match &source.parsed {
            Ok(parsed) => {
                length::check(source, parsed, &mut findings);
                leftovers::check(source, parsed, &mut findings);
                places::check_ports(source, parsed, &mut findings);
            }
            Err(error) => findings.push(Finding::new(
                &source.path,
                error.span().start().line,
                format!("does not parse: {error}"),
            )),
        }
    }
    modules::check(tree, &mut findings);
    documents::check(tree, &mut findings);
    rows::check(tree, &mut findings);
    places::check_paths(tree, &mut findings);
    findings.sort();
    findings
}
