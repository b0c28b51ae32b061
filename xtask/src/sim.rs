//! `cargo xtask sim`: the simulator, with defects compiled in when one is to be looked for.

use crate::failure::Failure;
use crate::process;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let of_bugs = |word: &String| word.starts_with("--seeded-bug") || word == "--list-bugs";
    let mut sim = vec!["run", "--quiet", "--package", "outband-sim", "--bin", "sim"];
    if arguments.iter().any(of_bugs) {
        sim.extend(["--features", "seeded-bugs"]);
    }
    sim.push("--");
    process::cargo_with(&sim, arguments)
}
