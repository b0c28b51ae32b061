//! Why a command failed, and with which exit status. The only place that maps the one to the other.

use std::error::Error;
use std::io;

use outband_control::config_file::ConfigError;
use outband_control::log::LogError;
use outband_pool_api as pool;
use outband_pool_manager::station::StartError;
use outband_target_server::unit::UnitRunError;

/// As `outband --help` shows it.
pub(crate) const EXIT_HELP: &str = "\
Exit status:
  0    done
  1    failed
  2    the command line or a configuration file is wrong
  3    there is no such unit, volume, host or job
  4    refused: not allowed, not possible as things are, or denied by a target
  5    the station, unit or portal cannot be reached
  6    not finished in the time given; it goes on, see `outband job`
  130  interrupted";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The text says what to change.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Pool(#[from] pool::Error),
    #[error("{doing}")]
    Disk {
        doing: String,
        #[source]
        source: outband_initiator::Error,
    },
    #[error("cannot {doing}")]
    Os {
        doing: String,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the unit does not run")]
    Unit(#[from] UnitRunError),
    #[error("the station does not run")]
    Station(#[from] StartError),
    /// Something was asked to stop by a signal before it was done.
    #[error("interrupted")]
    Interrupted,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const UNREACHABLE: u8 = 5;
const UNFINISHED: u8 = 6;
const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn os(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Os { doing, source }
    }

    pub(crate) fn disk(doing: impl Into<String>) -> impl FnOnce(outband_initiator::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Disk { doing, source }
    }

    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Log(_) => USAGE,
            Self::Pool(error) => of_pool(error),
            Self::Disk { source, .. } => of_disk(source),
            Self::Refused(_) => REFUSED,
            Self::Interrupted => INTERRUPTED,
            Self::Os { .. } | Self::Failed(_) | Self::Unit(_) | Self::Station(_) => FAILED,
        }
    }

    /// What to look at next, where the error itself does not say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Pool(pool::Error::Unreachable { .. }) => Some(
                "does the station run there? Say where it is with --station URL or OUTBAND_STATION",
            ),
            Self::Pool(pool::Error::Untrusted { .. }) => Some(
                "give the station's own ca.pem with --ca FILE or OUTBAND_CA, and a URL with a name \
                 that is in the station's `names`",
            ),
            Self::Pool(pool::Error::NotAllowed(problem)) if problem.status == 401 => Some(
                "give the administrator's or a host's token with --token-file FILE or OUTBAND_TOKEN",
            ),
            Self::Disk { source: outband_initiator::Error::Denied(_), .. } => Some(
                "say who this host is with --initiator, --chap-user and --chap-secret-file; the \
                 volume must be granted to it",
            ),
            _ => None,
        }
    }
}

fn of_pool(error: &pool::Error) -> u8 {
    match error {
        pool::Error::Setup(_) => USAGE,
        pool::Error::Unreachable { .. } | pool::Error::Untrusted { .. } => UNREACHABLE,
        pool::Error::NotAllowed(_) => REFUSED,
        pool::Error::Refused(problem) | pool::Error::JobFailed { problem, .. } => {
            of_problem(problem)
        }
        pool::Error::StillRunning { .. } => UNFINISHED,
        pool::Error::Station(_) | pool::Error::Unexpected(_) => FAILED,
    }
}

fn of_problem(problem: &pool::Problem) -> u8 {
    match problem.status {
        404 => NOT_FOUND,
        400 => USAGE,
        401..500 => REFUSED,
        _ => FAILED,
    }
}

fn of_disk(error: &outband_initiator::Error) -> u8 {
    use outband_initiator::Error as Disk;
    match error {
        Disk::Config(_) | Disk::Credentials(_) => USAGE,
        Disk::Unreachable { .. } => UNREACHABLE,
        Disk::Denied(_) | Disk::Refused(_) | Disk::ReadOnly | Disk::Reserved => REFUSED,
        Disk::Pool(error) => of_pool(error),
        _ => FAILED,
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use outband_initiator::LoginStatus;
    use pool::Problem;

    use super::*;

    fn refused(status: u16) -> Failure {
        let problem = Problem::new("kind", status, "title", "detail");
        Failure::Pool(pool::Error::Refused(Box::new(problem)))
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_status() {
        let denied = outband_initiator::Error::Denied(LoginStatus::NOT_FOUND);
        let problem = Box::new(Problem::new("unauthorized", 401, "title", "detail"));
        let table = [
            (Failure::Usage("wrong".into()), 2),
            (refused(400), 2),
            (refused(404), 3),
            (refused(409), 4),
            (Failure::Pool(pool::Error::NotAllowed(problem)), 4),
            (Failure::disk("log in")(denied), 4),
            (
                Failure::Pool(pool::Error::StillRunning {
                    job: uuid::Uuid::nil(),
                    volume: String::new(),
                    reason: None,
                }),
                6,
            ),
            (Failure::Failed("no".into()), 1),
            (Failure::Interrupted, 130),
        ];
        for (failure, status) in table {
            assert_eq!(failure.exit_status(), status, "{failure}");
            let listed = EXIT_HELP
                .lines()
                .any(|line| line.split_whitespace().next() == Some(status.to_string().as_str()));
            assert!(listed, "{status} is not in the help");
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = io::Error::other("no space");
        assert_eq!(chain(&Failure::os("write x")(cause)), "cannot write x: no space");
    }
}
