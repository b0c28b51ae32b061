//! Places that are true on one machine only: its folders, and ports somebody else may have.

use proc_macro2::TokenTree;

use super::Finding;
use super::tree::{Parsed, Source, Tree};

/// Folders of a developer's machine. Split, so that this file is not its own finding.
const FOLDERS: [&str; 4] =
    [concat!("/wo", "rk"), concat!("/t", "mp"), concat!("/ro", "ot"), concat!("/ho", "me")];

const LOOPBACK: [&str; 3] = ["127.0.0.1:", "[::1]:", "localhost:"];

pub(super) fn check_paths(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            for folder in FOLDERS.iter().filter(|folder| names(line, folder)) {
                let what = format!("a path of one machine: {folder}");
                findings.push(Finding::new(path, index + 1, what));
            }
        }
    }
}

/// Whether `line` has `folder` as the start of an absolute path.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let starts = before.is_none_or(|c| !c.is_alphanumeric() && !"/.-_}>*)]".contains(c));
        let ends = after.is_none_or(|c| !c.is_alphanumeric() && !"-_.".contains(c));
        starts && ends
    })
}

/// A test that listens on a port of its own choice fails where the port is taken.
pub(super) fn check_ports(source: &Source, parsed: &Parsed, findings: &mut Vec<Finding>) {
    if !is_test(&source.path) {
        return;
    }
    for (index, token) in parsed.tokens.iter().enumerate() {
        let TokenTree::Literal(literal) = token else {
            continue;
        };
        let before = &parsed.tokens[index.saturating_sub(NEAR)..index];
        let text = literal.to_string();
        if before.iter().any(listens) && LOOPBACK.iter().any(|address| has_port(&text, address)) {
            let line = literal.span().start().line;
            findings.push(Finding::new(&source.path, line, "a fixed port: listen on port 0"));
        }
    }
}

/// Tokens between the name of a call and its first argument, with room for a `&` or a `[`.
const NEAR: usize = 5;

fn listens(token: &TokenTree) -> bool {
    let TokenTree::Ident(name) = token else {
        return false;
    };
    let name = name.to_string();
    name.contains("bind") || name.contains("listen")
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Whether a port other than 0 follows `address` in `text`.
fn has_port(text: &str, address: &str) -> bool {
    text.match_indices(address).any(|(at, _)| {
        let port = text[at + address.len()..].chars().take_while(char::is_ascii_digit);
        let port: String = port.collect();
        !port.is_empty() && port.parse() != Ok(0u16)
    })
}
