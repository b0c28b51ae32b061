//! What the documents point to exists: links, paths, and the names behind `path.rs::name`.
//!
//! Looked at in every Markdown file: the target of each relative link; each code span that is a
//! path under one of the project's folders; and each code span `path.rs::name` or
//! `path.rs::Type::name`, whose names the file must define.

use std::collections::BTreeSet;

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::Finding;
use super::modules::join;
use super::tree::Tree;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            let mut find = |what: String| findings.push(Finding::new(path, index + 1, what));
            for target in links(line).filter(|target| is_relative(target)) {
                let file = target.split('#').next().unwrap_or(target);
                if !tree.has(join(folder, file).as_str()) {
                    find(format!("the link leads nowhere: {target}"));
                }
            }
            for span in spans(line) {
                if let Err(what) = check_span(tree, span) {
                    find(what);
                }
            }
        }
    }
}

/// What stands in backquotes.
pub(super) fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let rests = line.match_indices("](").map(|(at, mark)| &line[at + mark.len()..]);
    rests.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn is_relative(target: &str) -> bool {
    !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:")
}

fn check_span(tree: &Tree, span: &str) -> Result<(), String> {
    let (path, names) = match span.split_once("::") {
        Some((path, names)) if path.ends_with(".rs") => (path, names),
        _ => (span, ""),
    };
    if !is_path_here(tree, path) {
        return Ok(());
    }
    if !tree.has(path.trim_end_matches('/')) {
        return Err(format!("there is no {path}"));
    }
    let defined = tree.source(path).map(names_in).unwrap_or_default();
    for name in names.split("::").filter(|name| !name.is_empty()) {
        if !defined.contains(name.trim_end_matches("()")) {
            return Err(format!("{path} defines no {name}"));
        }
    }
    Ok(())
}

/// Whether the span is a path that starts with a folder of the tree.
fn is_path_here(tree: &Tree, span: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let folder = span.split_once('/').map(|(first, _)| first);
    folder.is_some_and(|folder| !folder.is_empty() && tree.has(folder))
        && span.chars().all(is_plain)
}

/// Every name the file gives to something, and every type it has an `impl` for.
fn names_in(source: &super::tree::Source) -> BTreeSet<String> {
    let mut names = Names::default();
    if let Ok(parsed) = &source.parsed {
        names.visit_file(&parsed.items);
        // Tests inside `proptest!` are tokens to the compiler as well.
        names.0.extend(parsed.tokens.windows(2).filter_map(function_name));
    }
    names.0
}

fn function_name(pair: &[TokenTree]) -> Option<String> {
    match pair {
        [TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "fn" => {
            Some(name.to_string())
        }
        _ => None,
    }
}

#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn add(&mut self, name: &syn::Ident) {
        self.0.insert(name.to_string());
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Const(item) => self.add(&item.ident),
            syn::Item::Enum(item) => self.add(&item.ident),
            syn::Item::Mod(item) => self.add(&item.ident),
            syn::Item::Static(item) => self.add(&item.ident),
            syn::Item::Struct(item) => self.add(&item.ident),
            syn::Item::Trait(item) => self.add(&item.ident),
            syn::Item::Type(item) => self.add(&item.ident),
            syn::Item::Impl(item) => {
                if let syn::Type::Path(path) = &*item.self_ty
                    && let Some(last) = path.path.segments.last()
                {
                    self.add(&last.ident);
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.add(&variant.ident);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.add(name);
        }
    }
}
