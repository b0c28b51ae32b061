//! Logs by tracing, to standard error, for people or as JSON.

use outband_control::log;
pub use outband_control::log::LogError;

use crate::config::{Log, LogFormat};

/// Once per process.
pub fn start(config: &Log) -> Result<(), LogError> {
    let format = match config.format {
        LogFormat::Human => log::Format::Human,
        LogFormat::Json => log::Format::Json,
    };
    log::start(log::filter(&config.filter)?, format)
}
