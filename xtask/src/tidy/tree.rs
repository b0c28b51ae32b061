//! The files git knows or would add, read and parsed once. Tests make theirs up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};

use crate::failure::Failure;

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) parsed: syn::Result<Parsed>,
}

/// The same file as items and as a flat row of tokens, the insides of macro calls included.
pub(super) struct Parsed {
    pub(super) items: syn::File,
    pub(super) tokens: Vec<TokenTree>,
}

pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    sources: BTreeMap<String, Source>,
    /// Every file and every folder that has one, text or not.
    names: BTreeSet<String>,
}

impl Tree {
    pub(super) fn of_checkout(root: &Path) -> Result<Self, Failure> {
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()
            .map_err(Failure::at(Path::new("git ls-files")))?;
        if !output.status.success() {
            return Err(Failure::wrong("git ls-files failed: tidy reads what git knows"));
        }
        let list = String::from_utf8_lossy(&output.stdout);
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            // A file deleted and not yet committed is still listed.
            if let Ok(bytes) = fs::read(root.join(path)) {
                files.push((path.to_owned(), bytes));
            }
        }
        Ok(Self::of(files))
    }

    pub(super) fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let (mut texts, mut sources) = (BTreeMap::new(), BTreeMap::new());
        let mut names = BTreeSet::new();
        for (path, bytes) in files {
            for (end, _) in path.match_indices('/') {
                names.insert(path[..end].to_owned());
            }
            names.insert(path.clone());
            // Pictures, databases and fuzzing seeds have no lines to look at.
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            if path.ends_with(".rs") {
                let parsed = parse(&text);
                let source = Source { path: path.clone(), text: text.clone(), parsed };
                sources.insert(path.clone(), source);
            }
            texts.insert(path, text);
        }
        Self { texts, sources, names }
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    pub(super) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.get(path)
    }

    /// Path and text of every file that is text.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether a file or a folder of this name exists.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.names.contains(path)
    }
}

fn parse(text: &str) -> syn::Result<Parsed> {
    let stream: TokenStream = text.parse().map_err(syn::Error::from)?;
    let items = syn::parse_file(text)?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(Parsed { items, tokens })
}

fn flatten(stream: TokenStream, tokens: &mut Vec<TokenTree>) {
    for tree in stream {
        tokens.push(tree.clone());
        if let TokenTree::Group(group) = tree {
            flatten(group.stream(), tokens);
        }
    }
}
