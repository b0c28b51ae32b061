//! What was meant to be temporary, tests that are switched off, and `unsafe` out of its place.

use proc_macro2::TokenTree;

use super::Finding;
use super::tree::{Parsed, Source};

/// The one folder that may say `unsafe`.
const UNSAFE: &str = "ring/";

/// Macros that stand for code not written yet, or written to look around.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Split, so that this file is not its own finding.
const MARKS: [&str; 2] = [concat!("FIX", "ME"), concat!("X", "XX")];

pub(super) fn check(source: &Source, parsed: &Parsed, findings: &mut Vec<Finding>) {
    let mut find = |line, what: String| findings.push(Finding::new(&source.path, line, what));
    for pair in parsed.tokens.windows(2) {
        let line = pair[0].span().start().line;
        match (&pair[0], &pair[1]) {
            (TokenTree::Ident(name), TokenTree::Punct(mark))
                if mark.as_char() == '!' && MACROS.iter().any(|word| name == word) =>
            {
                find(line, format!("{name}! is left in"));
            }
            (TokenTree::Punct(hash), TokenTree::Group(group))
                if hash.as_char() == '#' && switches_off(group) =>
            {
                find(line, "a test that is switched off proves nothing".to_owned());
            }
            (TokenTree::Ident(name), _) if name == "unsafe" && !source.path.starts_with(UNSAFE) => {
                find(line, format!("unsafe has one address: {UNSAFE}"));
            }
            _ => {}
        }
    }
    for (index, text) in source.text.lines().enumerate() {
        for mark in MARKS.iter().filter(|mark| text.contains(**mark)) {
            find(index + 1, format!("{mark}: do it, or say in the issue why not"));
        }
    }
}

/// Whether the group is `[ignore]`, with or without a reason.
fn switches_off(group: &proc_macro2::Group) -> bool {
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Ident(name)) if name == "ignore")
}
