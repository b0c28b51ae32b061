//! Each check against a tree of a few made-up files: what it finds, and what it lets pass.

use super::{Tree, findings};

/// Runs every check over `files` and compares the findings, as `path:line` and a word of what.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    let found = findings(&Tree::of(files));
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, (place, word)) in shown.iter().zip(expected) {
        assert!(shown.starts_with(&format!("{place}: ")), "{shown} is not at {place}");
        assert!(shown.contains(word), "{shown} does not say {word}");
    }
}

#[test]
fn a_file_over_the_limit_is_told() {
    let short = "//! A line.\n".repeat(600);
    let long = "//! A line.\n".repeat(601);
    check(&[("a/src/lib.rs", &short), ("b/src/lib.rs", &long)], &[("b/src/lib.rs:1", "601 lines")]);
}

#[test]
fn a_function_over_the_limit_is_told_unless_it_gives_a_reason() {
    let body = "    let _ = 1;\n".repeat(69);
    let long = format!("fn long() {{\n{body}}}\n");
    let fits = format!("fn fits() {{\n{}}}\n", "    let _ = 1;\n".repeat(68));
    let excused = format!("#[allow(clippy::too_many_lines, reason = \"a table\")]\n{long}");
    let method = format!("impl A {{\n{long}}}\n");
    check(
        &[
            ("a/src/lib.rs", &format!("{fits}{long}")),
            ("b/src/lib.rs", &excused),
            ("c/src/lib.rs", &method),
        ],
        &[("a/src/lib.rs:71", "fn long has 71 lines"), ("c/src/lib.rs:2", "fn long has 71")],
    );
}

#[test]
fn leftovers_are_found_in_macros_too_and_not_in_strings() {
    let text = "fn a() {\n    todo!();\n    vec![dbg!(1)];\n    let _ = \"todo!()\";\n}\n";
    check(&[("a/src/lib.rs", text)], &[("a/src/lib.rs:2", "todo!"), ("a/src/lib.rs:3", "dbg!")]);
    let mark = concat!("// FIX", "ME later\n");
    check(&[("a/src/lib.rs", mark)], &[("a/src/lib.rs:1", concat!("FIX", "ME"))]);
}

#[test]
fn a_test_that_is_switched_off_is_told() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n";
    check(&[("a/src/lib.rs", text)], &[("a/src/lib.rs:2", "switched off")]);
}

#[test]
fn unsafe_is_allowed_in_one_folder() {
    let text = "#![deny(unsafe_code)]\nfn a() {\n    unsafe { b() }\n}\n";
    check(&[("ring/src/lib.rs", text), ("a/src/lib.rs", text)], &[("a/src/lib.rs:3", "unsafe")]);
}

#[test]
fn a_file_no_mod_leads_to_is_dead() {
    check(
        &[
            ("a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod tests;\nmod inner {\n    mod deep;\n}\n"),
            ("a/src/b.rs", "mod c;\n#[path = \"odd.rs\"]\nmod d;\n"),
            ("a/src/b/c.rs", ""),
            ("a/src/b/c/lost.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/inner/deep.rs", ""),
            ("a/src/tests.rs", "mod e;\n"),
            ("a/src/tests/e.rs", ""),
            ("a/src/tests/dead.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/whole.rs", "mod common;\n"),
            ("a/tests/common/mod.rs", ""),
            ("a/benches/speed.rs", ""),
            ("a/examples/ten_lines.rs", ""),
            ("fuzz/fuzz_targets/framer.rs", ""),
        ],
        &[("a/src/b/c/lost.rs:1", "no `mod`"), ("a/src/tests/dead.rs:1", "no `mod`")],
    );
}

#[test]
fn links_and_paths_in_documents_must_lead_somewhere() {
    let text = "[a](../README.md#top) [b](gone.md) [c](https://example.org/x)\n\
                `a/src/lib.rs` `a/` `a/src/gone.rs` `and/or`\n\
                ```\n`a/in/a/fence.rs`\n```\n";
    check(
        &[("README.md", ""), ("docs/tour.md", text), ("a/src/lib.rs", "")],
        &[("docs/tour.md:1", "gone.md"), ("docs/tour.md:2", "a/src/gone.rs")],
    );
}

#[test]
fn names_in_documents_must_be_defined_where_they_say() {
    let code = "struct Conn { due: u32 }\nimpl Conn {\n    fn on_recv(&mut self) {}\n}\n\
                enum Plan { Read }\nimpl Elsewhere { fn f() {} }\nproptest! { fn any() {} }\n";
    let text = "`a/src/lib.rs::Conn::on_recv` `a/src/lib.rs::Plan::Read` \
                `a/src/lib.rs::Elsewhere::f()` `a/src/lib.rs::any`\n\
                `a/src/lib.rs::Conn::on_send`\n";
    check(
        &[("docs/tour.md", text), ("a/src/lib.rs", code)],
        &[("docs/tour.md:2", "defines no on_send")],
    );
}

#[test]
fn what_a_row_calls_a_test_must_be_one() {
    let code = "#[test]\nfn plain() {}\n#[tokio::test(flavor = \"f\")]\nasync fn later() {}\n\
                #[cfg(test)]\nfn helper() {}\n\
                proptest! {\n    #[test]\n    fn any(a in 0..1) {}\n    fn inner() {}\n}\n";
    let page = "`a/src/lib.rs::helper` outside of a table\n\n\
                | rule | where | test |\n|---|---|---|\n\
                | a | `a/src/lib.rs::helper` | `a/src/lib.rs::plain`, `a/src/lib.rs::later` |\n\
                | b | | `a/src/lib.rs::any` |\n\
                | c | | `a/src/lib.rs::helper` |\n\
                | d | | `a/src/lib.rs::inner` |\n\n\
                | rule | where |\n|---|---|\n| e | `a/src/lib.rs::helper` |\n";
    check(
        &[("docs/rules.md", page), ("a/src/lib.rs", code)],
        &[("docs/rules.md:7", "helper is no test"), ("docs/rules.md:8", "inner is no test")],
    );
}

#[test]
fn a_path_of_one_machine_is_told() {
    let text = concat!("a net", "/wo", "rk is fine, //wo", "rkbench too\n", "cp /t", "mp/x y\n");
    check(&[("notes.txt", text)], &[("notes.txt:2", "one machine")]);
}

#[test]
fn a_test_with_a_fixed_port_is_told() {
    let free = "fn a() {\n    bind(\"127.0.0.1:0\");\n";
    let parsed = concat!("    assert_eq!(portals, [\"127.0.0.1", ":3260\"]);\n");
    let taken = concat!("    TcpListener::bind(&\"127.0.0.1", ":3260\");\n}\n");
    let text = &format!("{free}{parsed}{taken}");
    check(
        &[("a/tests/whole.rs", text), ("a/src/lib.rs", text)],
        &[("a/tests/whole.rs:4", "fixed port")],
    );
}

#[test]
fn a_file_that_does_not_parse_is_told_and_the_rest_is_looked_at() {
    check(
        &[("a/src/lib.rs", "fn ("), ("b/src/lib.rs", "fn a() {\n    todo!()\n}\n")],
        &[("a/src/lib.rs:1", "does not parse"), ("b/src/lib.rs:2", "todo!")],
    );
}
