//! What `outband-pool` and `outband station run` share: running a station as a process.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use outband_pool_api::{Client, Secret, Trust};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::backup::{Backup, BackupError};
use crate::config::Config;
use crate::state_dir::StateDir;
use crate::station::{ADMIN_TOKEN_FILE, StartError};
use crate::tls::CA_FILE;

/// Exit status for a configuration that is refused.
pub const BAD_CONFIG: u8 = 2;

/// Runs a station until SIGTERM or SIGINT. Its URL is the first line on standard output, once it
/// answers there.
pub fn run(config: &Config) -> ExitCode {
    allow_many_units();
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

/// A connection to each unit of a large pool is more than a shell allows by itself.
fn allow_many_units() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Under systemd they are the same, and changing them is forbidden.
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Writes a backup of the running station to a file.
pub fn backup(config: &Config, to: &Path) -> ExitCode {
    match alone(write_backup(config, to)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed("no backup was made", &*error),
    }
}

/// Puts a backup into the state directory.
pub fn restore(config: &Config, file: &Path, replace: bool) -> ExitCode {
    let restored = async {
        let backup = Backup::read(&fs::read_to_string(file)?)?;
        Ok::<_, Failure>(backup.restore(&config.state_dir, &config.pool, replace).await?)
    };
    match alone(restored) {
        Ok(restored) => {
            println!("{} records, {} volumes among them", restored.records, restored.volumes);
            ExitCode::SUCCESS
        }
        Err(error) => match error.downcast_ref::<BackupError>() {
            Some(BackupError::Unfinished(_)) => failed("the restore was cut short", &*error),
            _ => failed("nothing was restored", &*error),
        },
    }
}

type Failure = Box<dyn Error>;

fn alone<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn failed(what: &str, error: &dyn Error) -> ExitCode {
    eprintln!("outband-pool: {what}: {}", chain(error));
    ExitCode::FAILURE
}

async fn write_backup(config: &Config, to: &Path) -> Result<(), Failure> {
    let read = |name| {
        let path = config.state_dir.join(name);
        fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let token = Secret::new(read(ADMIN_TOKEN_FILE)?.trim());
    let url = match config.listen.ip().is_unspecified() {
        true => format!("https://localhost:{}", config.listen.port()),
        false => format!("https://{}", config.listen),
    };
    let client = Client::new(&url, token, &Trust::Ca(read(CA_FILE)?))?;
    let text = Backup::finish(&client.backup().await?, &config.state_dir)?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = to.file_name().and_then(|name| name.to_str()).ok_or("--to must name a file")?;
    let directory = StateDir::open(directory.unwrap_or_else(|| Path::new(".")))?;
    Ok(directory.write(name, &text, 0o600)?)
}

/// An error and its causes on one line.
pub fn chain<E: Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
