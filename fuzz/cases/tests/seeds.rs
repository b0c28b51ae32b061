//! Every seed that is kept, and every finding of a fuzzer that was turned into one.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use outband_fuzz_cases::CASES;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("seeds")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_seed_is_taken_without_a_panic() {
    for (name, case) in CASES {
        let folder = seeds().join(name);
        let files = names(&folder);
        assert!(!files.is_empty(), "{name} has no seed");
        for file in files {
            eprintln!("{name}/{file}");
            case(&fs::read(folder.join(file)).unwrap());
        }
    }
}

#[test]
fn every_seed_cut_short_is_taken_too() {
    for (name, case) in CASES {
        let folder = seeds().join(name);
        for file in names(&folder) {
            let seed = fs::read(folder.join(&file)).unwrap();
            let step = seed.len().div_ceil(40).max(1);
            for len in (0..seed.len()).step_by(step) {
                case(&seed[..len]);
            }
        }
    }
}

#[test]
fn each_target_has_its_folder_and_each_folder_its_target() {
    let known: Vec<_> = CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&seeds()), known);
    let programs = seeds().parent().unwrap().join("fuzz_targets");
    let programs: Vec<_> =
        names(&programs).iter().map(|file| file.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(programs, known);
}
