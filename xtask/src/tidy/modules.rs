//! Rust files that no `mod` leads to: the compiler never sees them, so nobody else should.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ItemMod, Lit, Meta};

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut reached = BTreeSet::new();
    for source in tree.sources().filter(|source| is_root(&source.path)) {
        reach(tree, &source.path, true, &mut reached);
    }
    for source in tree.sources().filter(|source| !reached.contains(&source.path)) {
        findings.push(Finding::new(&source.path, 1, "no `mod` leads to this file"));
    }
}

/// Where cargo looks for crates by itself. No manifest here names other places than these.
fn is_root(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder_name = folder.rsplit('/').next().unwrap_or(folder);
    let crate_folder = ["bin", "tests", "benches", "examples", "fuzz_targets"];
    match name {
        "lib.rs" => folder_name == "src",
        "main.rs" => true,
        "build.rs" => !folder.contains('/'),
        // `tests` is also the name of a module's folder of tests; crates lie beside `src`.
        _ => crate_folder.contains(&folder_name) && is_crate_folder(folder),
    }
}

fn is_crate_folder(folder: &str) -> bool {
    folder.ends_with("src/bin") || !folder.split('/').any(|part| part == "src")
}

fn reach(tree: &Tree, path: &str, is_root: bool, reached: &mut BTreeSet<String>) {
    let Some(source) = tree.source(path) else {
        return;
    };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let Ok(parsed) = &source.parsed else {
        return;
    };
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let base = if is_root || stem == "mod" { folder.to_owned() } else { join(folder, stem) };
    let mut children = Children { folder: folder.to_owned(), base, files: Vec::new() };
    children.visit_file(&parsed.items);
    for file in children.files {
        reach(tree, &file, false, reached);
    }
}

/// Collects where the `mod name;` of one file may lead.
struct Children {
    folder: String,
    base: String,
    files: Vec<String>,
}

impl<'ast> Visit<'ast> for Children {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.to_string();
        if module.content.is_some() {
            let outer = std::mem::take(&mut self.base);
            self.base = join(&outer, &name);
            visit::visit_item_mod(self, module);
            self.base = outer;
            return;
        }
        match module.attrs.iter().find_map(path_attribute) {
            Some(path) => self.files.push(join(&self.folder, &path)),
            None => {
                self.files.push(join(&self.base, &format!("{name}.rs")));
                self.files.push(join(&self.base, &format!("{name}/mod.rs")));
            }
        }
    }
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(literal) if pair.path.is_ident("path") => match &literal.lit {
            Lit::Str(path) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}

/// `folder/path`, with `.` and `..` worked out.
pub(super) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
