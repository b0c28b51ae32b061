//! How much `packaging/systemd/` leaves open, as `systemd-analyze security` counts it.

use std::process::Command;

use crate::failure::{Failure, root};
use crate::process::captured;
use crate::tools;

/// Out of a hundred: 2.0 on systemd's scale of ten.
const EXPOSURE_MAX: &str = "20";

const UNITS: [&str; 2] = ["outband-target.service", "outband-pool.service"];

pub(super) fn check() -> Result<(), Failure> {
    tools::ensure_programs(&[("systemd-analyze", "systemd")])?;
    for unit in UNITS {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager"]);
        analyze.arg(format!("--threshold={EXPOSURE_MAX}"));
        analyze.arg(root().join("packaging/systemd").join(unit));
        let said = captured(&mut analyze, std::time::Duration::from_secs(60))?;
        println!("{}", said.lines().last().unwrap_or(unit).trim());
    }
    Ok(())
}
