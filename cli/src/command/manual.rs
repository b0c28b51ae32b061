//! What a shell and `man` know of this program, made from the command line's own description.

use std::io;
use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Manual {
    /// Write what completes commands in a shell to standard output
    Completion { shell: Shell },
    /// Write manual pages, one for each command, to a directory
    Man { directory: PathBuf },
}

pub(crate) fn run(manual: Manual, command: Command) -> Result<(), Failure> {
    match manual {
        Manual::Completion { shell } => {
            let mut command = command;
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut command, name, &mut io::stdout());
            Ok(())
        }
        Manual::Man { directory } => {
            let doing = format!("write manual pages to {}", directory.display());
            std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(command, &directory))
                .map_err(Failure::os(doing))
        }
    }
}
