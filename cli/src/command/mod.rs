//! One file for each noun: what can be asked, and how the answer is shown.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod cp;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod job;
pub(crate) mod manual;
pub(crate) mod pool;
pub(crate) mod services;
pub(crate) mod station;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod unit;
pub(crate) mod upgrade;
pub(crate) mod volume;

use std::io::{IsTerminal, Write};

use crate::failure::Failure;

/// The name of what is to be destroyed or let go, typed once more: by a person now, or by a program on
/// the command line.
pub(crate) fn typed_name(given: Option<String>, what: &str) -> Result<String, Failure> {
    if let Some(name) = given {
        return Ok(name);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("to {what}, add --confirm with the name")));
    }
    eprint!("To {what}, type the name: ");
    let mut answer = String::new();
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(Failure::os("read the answer"))?;
    Ok(answer.trim().to_owned())
}
