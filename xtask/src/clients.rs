//! Clients nobody here wrote, against the `outband-target` of this build.

mod discovery;
mod image;
mod suite;
mod target;

use std::fmt;

use clap::ValueEnum;

use crate::failure::Failure;
use image::Login;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// What `iscsi-ls` and `iscsi-inq` see, and what a host without a grant does not.
    Discovery,
    /// libiscsi's `iscsi-test-cu`.
    Suite,
    /// A file system's journey onto a volume and back.
    Image,
    /// The same with CHAP.
    Chap,
    /// The same with CRC32C digests.
    Digests,
}

impl Part {
    pub(crate) const ALL: [Self; 5] =
        [Self::Discovery, Self::Suite, Self::Image, Self::Chap, Self::Digests];

    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Discovery => discovery::run(),
            Self::Suite => suite::run(),
            Self::Image => image::run(Login::Plain),
            Self::Chap => image::run(Login::Chap),
            Self::Digests => image::run(Login::Digests),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no part is hidden");
        f.write_str(value.get_name())
    }
}

/// Runs `parts`, or all of them.
pub(crate) fn run(parts: &[Part]) -> Result<(), Failure> {
    let parts = if parts.is_empty() { &Part::ALL[..] } else { parts };
    parts.iter().try_for_each(|part| {
        println!("{part}:");
        part.run()
    })
}
