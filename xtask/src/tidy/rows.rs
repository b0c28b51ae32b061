//! What the rows of a table call a test is one: `path.rs::name` in a column headed "test" is a
//! function with `#[test]` or the like, and not a helper that tests call.

use std::collections::BTreeSet;

use proc_macro2::{Group, TokenTree};

use super::tree::{Parsed, Tree};
use super::{Finding, documents};

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let mut column = None;
        for (index, line) in text.lines().enumerate() {
            let Some(row) = line.strip_prefix('|') else {
                column = None;
                continue;
            };
            let mut cells = row.split('|').map(str::trim);
            match column {
                None => column = Some(cells.position(|cell| cell.starts_with("test"))),
                Some(None) => {}
                Some(Some(column)) => {
                    for place in documents::spans(cells.nth(column).unwrap_or_default()) {
                        if let Some(what) = complaint(tree, place) {
                            findings.push(Finding::new(path, index + 1, what));
                        }
                    }
                }
            }
        }
    }
}

/// What is wrong with `place` as the name of a test. That it is defined is another's to check.
fn complaint(tree: &Tree, place: &str) -> Option<String> {
    let (path, name) = place.split_once(".rs::")?;
    let parsed = tree.source(&format!("{path}.rs"))?.parsed.as_ref().ok()?;
    (!tests(parsed).contains(name)).then(|| format!("{place} is no test"))
}

/// The functions of a file that are run as tests, those inside `proptest!` among them.
fn tests(parsed: &Parsed) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for pair in parsed.tokens.windows(2) {
        match pair {
            [TokenTree::Punct(mark), TokenTree::Group(group)] if mark.as_char() == '#' => {
                is_test |= is_test_attribute(group);
            }
            [TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "fn" => {
                let was_test = std::mem::take(&mut is_test);
                if was_test {
                    tests.insert(name.to_string());
                }
            }
            _ => {}
        }
    }
    tests
}

/// `test`, or a path that ends so, with or without arguments.
fn is_test_attribute(group: &Group) -> bool {
    let is_path = |tree: &TokenTree| matches!(tree, TokenTree::Ident(_) | TokenTree::Punct(_));
    let path = group.stream().into_iter().take_while(is_path).last();
    path.is_some_and(|last| last.to_string() == "test")
}
