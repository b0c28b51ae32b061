//! The command line where no station is needed: help, typing errors, exit statuses.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::process::Output;
use std::time::Duration;

use common::outband;

const AT_MOST: Duration = Duration::from_secs(30);

/// Nobody answers at port 1. The fingerprint is any.
const NOWHERE: [&str; 6] = [
    "--station",
    "https://127.0.0.1:1",
    "--fingerprint",
    "SHA256:0000000000000000000000000000000000000000000000000000000000000000",
    "--token",
    "none",
];

fn run(arguments: &[&str]) -> Output {
    common::run(outband().args(arguments), AT_MOST)
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn help_names_every_noun_and_every_exit_status() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for noun in [
        "pool", "unit", "volume", "host", "job", "token", "doctor", "services", "upgrade", "top",
        "audit", "events", "discover", "cp", "bench", "demo",
    ] {
        let listed = stdout(&help).lines().any(|line| line.trim_start().starts_with(noun));
        assert!(listed, "{noun} is not in\n{}", stdout(&help));
    }
    assert!(stdout(&help).contains("5    the station, unit or portal cannot be reached"));
    assert!(stdout(&run(&["--version"])).starts_with("outband 0."));
    for noun in ["pool", "unit", "volume", "host", "job", "cp", "bench", "demo", "station"] {
        assert_eq!(run(&[noun, "--help"]).status.code(), Some(0), "{noun}");
    }
}

#[test]
fn what_only_a_parent_process_uses_is_not_in_the_help() {
    assert!(!stdout(&run(&["unit", "run", "--help"])).contains("stdin"));
}

#[test]
fn a_typing_error_is_answered_by_what_was_meant() {
    let table: [(&[&str], &str); 5] = [
        (&["volume", "create", "--block-size", "1K"], "512 or 4096 bytes"),
        (&["volme", "ls"], "a similar subcommand exists: 'volume'"),
        (&["volume", "craete"], "a similar subcommand exists: 'create'"),
        (&["volume", "create", "--sise", "1G"], "a similar argument exists: '--size'"),
        (&["volume", "create", "--size", "1X"], "unknown unit \"X\" in a size"),
    ];
    for (arguments, answer) in table {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(answer), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_station_that_does_not_answer_is_exit_status_5() {
    let output = run(&[&NOWHERE[..], &["pool", "status"]].concat());
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot reach the station at https://127.0.0.1:1"));
    assert!(stderr(&output).contains("--station URL"), "it says what to change");
}

#[test]
fn for_programs_an_error_is_json_too() {
    let output = run(&[&NOWHERE[..], &["-o", "json", "volume", "ls"]].concat());
    let body: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(body["exit_status"], 5);
    assert!(body["error"].as_str().unwrap().contains("cannot reach the station"));
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_portal_where_nobody_answers_is_exit_status_5() {
    let nobody = "iscsi://127.0.0.1:1/iqn.2026-11.local.outband:nobody/0";
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    for arguments in [
        &["cp", nobody, copy.to_str().unwrap()][..],
        &["bench", nobody],
        &["discover", "127.0.0.1:1"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {}", stderr(&output));
    }
    assert!(!copy.exists(), "nothing is made when there is nothing to copy");
}

#[test]
fn what_cannot_be_meant_is_exit_status_2_and_says_what_to_change() {
    let table: [(&[&str], &str); 6] = [
        (&["cp", "one", "other"], "neither place is a volume"),
        (&["bench", "volume:a", "--rw", "write"], "add --yes-erase"),
        (&["bench", "a-file"], "a-file is no volume"),
        (&["cp", "/does/not/exist", "iscsi://u@h/t/0"], "No such file"),
        (&["--ca", "/does/not/exist", "pool", "status"], "--token-file FILE"),
        (&["station", "run", "--config", "/does/not/exist"], "cannot read /does/not/exist"),
    ];
    for (arguments, answer) in table {
        let output = run(arguments);
        assert!(stderr(&output).contains(answer), "{arguments:?}: {}", stderr(&output));
        let expected = if answer == "No such file" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn a_mistyped_key_in_a_configuration_is_answered_by_its_line_and_the_nearest_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.toml");
    std::fs::write(&path, "\npol = \"main\"\n").unwrap();
    for noun in ["unit", "station"] {
        let output = run(&[noun, "run", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let expected = "bad.toml:2: unknown key \"pol\"; did you mean \"pool\"?";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn there_is_a_manual_page_for_each_command_and_completion_for_each_shell() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(&["man", directory.path().to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    for page in ["outband.1", "outband-volume.1", "outband-volume-create.1", "outband-job-cancel.1"]
    {
        let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completion = run(&["completion", shell]);
        assert!(stdout(&completion).contains("move-host"), "{shell}");
    }
}
