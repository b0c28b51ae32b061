//! Why a step failed, in words for the person who ran it.

use std::io;
use std::path::{Path, PathBuf};

/// One message is all there is: nobody handles these, somebody reads them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` ended with {status}{output}")]
    Command { command: String, status: String, output: String },
    #[error("`{command}` did not end within {seconds} s{output}")]
    TooLong { command: String, seconds: u64, output: String },
    #[error("{0}")]
    Wrong(String),
    #[error("step `{step}` failed: {source}\nRun it again by itself: {rerun}")]
    Step { step: String, rerun: String, source: Box<Self> },
}

impl Failure {
    /// For `map_err` on anything that touches `path`.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = path.display().to_string();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(what.into())
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask/ lies in the root").to_path_buf()
}
