//! What a process says on standard error, and how much: from its start on, and changed while it runs.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// For people, or a line of JSON each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Words.
    Human,
    /// JSON.
    Json,
}

/// Why the log is not as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// No such filter.
    #[error("\"{0}\" is no filter of a log; write for example info, or info,outband_control=debug")]
    Filter(String),
    /// A process has one log.
    #[error("logs are set up already")]
    Twice,
    /// It was set up by somebody else.
    #[error("this process has no log that could be changed")]
    NotOurs,
}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// The filter that `text` is.
///
/// # Errors
/// [`LogError::Filter`].
pub fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let bad = || LogError::Filter(text.to_owned());
    // An empty one is taken for silence, which nobody asks for.
    if text.trim().is_empty() {
        return Err(bad());
    }
    EnvFilter::try_new(text).map_err(|_| bad())
}

/// The filter that the environment variable `OUTBAND_LOG` is; `info` without one.
///
/// # Errors
/// [`LogError::Filter`].
pub fn filter_of_environment() -> Result<EnvFilter, LogError> {
    filter(&std::env::var("OUTBAND_LOG").unwrap_or_else(|_| "info".to_owned()))
}

/// Once per process.
///
/// # Errors
/// [`LogError::Twice`].
pub fn start(filter: EnvFilter, format: Format) -> Result<(), LogError> {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        // A log that cannot be written, on a full disk say, must not end the process.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        Format::Human => lines.boxed(),
        Format::Json => lines.json().boxed(),
    };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map_err(|_| LogError::Twice)?;
    FILTER.set(handle).map_err(|_| LogError::Twice)
}

/// From now on, and until the process ends.
///
/// # Errors
/// [`LogError::Filter`], [`LogError::NotOurs`].
pub fn set(text: &str) -> Result<(), LogError> {
    let filter = filter(text)?;
    let handle = FILTER.get().ok_or(LogError::NotOurs)?;
    handle.reload(filter).map_err(|_| LogError::NotOurs)?;
    tracing::info!(filter = text, "the log's filter is changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_by_what_to_write() {
        for text in ["", " ", "info,x=loud"] {
            let why = filter(text).unwrap_err().to_string();
            assert!(why.contains("write for example info"), "{why}");
        }
        for text in ["info", "info,outband_control=debug", "off"] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_log_is_started_once_and_changed_as_often_as_one_likes() {
        assert_eq!(set("debug"), Err(LogError::NotOurs));
        start(filter("off").unwrap(), Format::Json).unwrap();
        assert!(!tracing::enabled!(tracing::Level::ERROR));
        set("warn").unwrap();
        assert!(tracing::enabled!(tracing::Level::WARN));
        assert!(!tracing::enabled!(tracing::Level::INFO));
        assert_eq!(set("loud=loud"), Err(LogError::Filter("loud=loud".to_owned())));
        assert!(tracing::enabled!(tracing::Level::WARN), "it stays as it was");
        assert_eq!(start(filter("info").unwrap(), Format::Human), Err(LogError::Twice));
        set("off").unwrap();
    }
}
