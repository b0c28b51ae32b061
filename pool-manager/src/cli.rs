//! What `outband-pool` and `outband station run` share: running a station as a process.

use std::error::Error;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::station::StartError;

/// Exit status for a configuration that is refused.
pub const BAD_CONFIG: u8 = 2;

/// Runs a station until SIGTERM or SIGINT. Its URL is the first line on standard output, once it
/// answers there.
pub fn run(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shutdown = async {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate()).expect("signals can be handled inside a runtime"),
            signal(SignalKind::interrupt()).expect("signals can be handled inside a runtime"),
        );
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let ran = runtime.block_on(crate::run(config.clone(), shutdown, |addresses| {
        println!("https://{}", addresses.api);
    }));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the station does not start: {}", chain::<StartError>(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line.
pub fn chain<E: Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
