//! Clients nobody here wrote, against the `outband-target` of this build.

mod discovery;
mod guest;
mod image;
mod login;
mod mutual;
mod patterns;
mod redirect;
pub(crate) mod suite;
mod tools;

use std::fmt;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::record::Now;
use login::Login;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// What `iscsi-ls` and `iscsi-inq` see, and what a host without a grant does not.
    Discovery,
    /// What they see through a redirected login.
    Redirect,
    /// Both sides prove themselves to libiscsi, and impostors are not believed.
    Mutual,
    /// libiscsi's smaller tools.
    Tools,
    /// libiscsi's `iscsi-test-cu`.
    Suite,
    /// A file system's journey onto a volume and back.
    Image,
    /// The same with CHAP.
    Chap,
    /// The same with CRC32C digests.
    Digests,
    /// `qemu-io`'s patterns.
    Patterns,
    /// A QEMU guest whose disk is the volume.
    Guest,
    /// A QEMU guest that iPXE boots from the volume.
    Pxe,
}

impl Part {
    pub(crate) const ALL: [Self; 11] = [
        Self::Discovery,
        Self::Redirect,
        Self::Mutual,
        Self::Tools,
        Self::Suite,
        Self::Image,
        Self::Chap,
        Self::Digests,
        Self::Patterns,
        Self::Guest,
        Self::Pxe,
    ];

    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Discovery => discovery::run(),
            Self::Redirect => redirect::run(),
            Self::Mutual => mutual::run(),
            Self::Tools => tools::run(),
            Self::Suite => suite::run(),
            Self::Image => image::run(Login::Plain),
            Self::Chap => image::run(Login::Chap),
            Self::Digests => image::run(Login::Digests),
            Self::Patterns => patterns::run(),
            Self::Guest => guest::disk(),
            Self::Pxe => guest::pxe(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no part is hidden");
        f.write_str(value.get_name())
    }
}

/// Runs `parts`, or all of them, and notes which have passed.
pub(crate) fn run(parts: &[Part], now: &Now) -> Result<(), Failure> {
    let parts = if parts.is_empty() { &Part::ALL[..] } else { parts };
    parts.iter().try_for_each(|part| {
        println!("{part}:");
        part.run()?;
        now.passed(&format!("clients {part}"))
    })
}
