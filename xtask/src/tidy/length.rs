//! Files and functions one can read in one go.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Signature};

use super::Finding;
use super::tree::{Parsed, Source};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn check(source: &Source, parsed: &Parsed, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!(
            "{lines} lines, {FILE_LINES_MAX} at most: is there a sub-machine that owns its fields?"
        );
        findings.push(Finding::new(&source.path, 1, what));
    }
    Functions { path: &source.path, findings }.visit_file(&parsed.items);
}

struct Functions<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        let start = signature.span().start().line;
        let lines = block.span().end().line - start + 1;
        if lines > FUNCTION_LINES_MAX && !attributes.iter().any(gives_a_reason) {
            let what = format!(
                "fn {} has {lines} lines, {FUNCTION_LINES_MAX} at most, or \
                 #[allow(clippy::too_many_lines, reason = \"…\")]",
                signature.ident
            );
            self.findings.push(Finding::new(self.path, start, what));
        }
    }
}

/// The way clippy wants it said; its other lint sees to it that there is a reason.
fn gives_a_reason(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    list.path.is_ident("allow") && list.tokens.to_string().contains("too_many_lines")
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.attrs, &function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.attrs, &function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.attrs, &function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
