//! Logs by tracing, to standard error, for people or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.filter \"{0}\" is not understood; write for example info")]
    Filter(String),
    #[error("logs are set up already")]
    Twice,
}

/// Once per process.
pub fn start(log: &Log) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&log.filter);
    let filter = filter.map_err(|_| LogError::Filter(log.filter.clone()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written, on a full disk say, must not end the process.
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Human => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    started.map_err(|_| LogError::Twice)
}
