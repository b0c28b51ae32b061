//! The test of the target's atomics, at the size that the promise is made for. It runs in the
//! target's own tests too, with fewer.

use std::process::Command;

use crate::failure::{Failure, root};
use crate::process::visible;

const INCREMENTS: &str = "100000";

pub(super) fn run() -> Result<(), Failure> {
    visible(
        Command::new("cargo")
            .args(["test", "--package", "outband-target-server", "--test", "atomics"])
            .env("OUTBAND_INCREMENTS", INCREMENTS)
            .current_dir(root()),
    )
}
