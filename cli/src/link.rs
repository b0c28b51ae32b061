//! How the station is found, and who asks it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use outband_pool_api::{Client, Secret, Trust, Wait};

use crate::failure::Failure;

const URL: &str = "https://localhost:7443";
/// Where a station keeps its things if its configuration says nothing else.
const STATION_DIR: &str = "/var/lib/outband-pool";

#[derive(Args, Debug)]
#[command(next_help_heading = "Station")]
pub(crate) struct StationArgs {
    /// The station's URL
    #[arg(long, value_name = "URL", env = "OUTBAND_STATION", default_value = URL, global = true)]
    station: String,
    /// The station's ca.pem; on its own machine it is found by itself (or OUTBAND_CA)
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Instead of --ca: that certificate's fingerprint (or OUTBAND_FINGERPRINT)
    #[arg(long, value_name = "SHA256:…", conflicts_with = "ca", global = true)]
    fingerprint: Option<Trust>,
    /// The administrator's or a host's token; others can see it in the list of processes, so
    /// prefer --token-file or the environment variable, OUTBAND_TOKEN
    #[arg(long, value_name = "TOKEN", value_parser = secret, global = true)]
    token: Option<Secret>,
    /// A file with the token; on the station's machine admin.token is found by itself
    /// (or OUTBAND_TOKEN_FILE)
    #[arg(long, value_name = "FILE", conflicts_with = "token", global = true)]
    token_file: Option<PathBuf>,
    /// Why something is changed, for its job and the audit log
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
    /// What is not done after so long is taken back, for example 10m
    #[arg(long, value_name = "TIME", value_parser = time, global = true)]
    deadline: Option<Duration>,
}

impl StationArgs {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = Client::new(&self.station, self.token()?, &self.trust()?)?;
        Ok(client.because(self.reason.as_deref()).within(self.deadline))
    }

    /// What is said on the command line comes before the environment.
    fn token(&self) -> Result<Secret, Failure> {
        let mut file = self.token_file.clone();
        let mut token = self.token.clone();
        if file.is_none() && token.is_none() {
            file = variable("OUTBAND_TOKEN_FILE").map(Into::into);
            token = variable("OUTBAND_TOKEN").map(|text| Secret::new(text.trim()));
        }
        if let Some(token) = token {
            return Ok(token);
        }
        let default = Path::new(STATION_DIR).join("admin.token");
        let how = "--token-file FILE or OUTBAND_TOKEN";
        let text = read(file.as_deref(), &default, "token", how)?;
        Ok(Secret::new(text.trim()))
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let mut file = self.ca.clone();
        let mut fingerprint = self.fingerprint.clone();
        if file.is_none() && fingerprint.is_none() {
            file = variable("OUTBAND_CA").map(Into::into);
            let text = variable("OUTBAND_FINGERPRINT");
            fingerprint = text
                .map(|text| text.parse())
                .transpose()
                .map_err(|error| Failure::Usage(format!("OUTBAND_FINGERPRINT: {error}")))?;
        }
        if let Some(trust) = fingerprint {
            return Ok(trust);
        }
        let default = Path::new(STATION_DIR).join("ca.pem");
        let ca = read(file.as_deref(), &default, "CA", "--ca FILE or OUTBAND_CA")?;
        Ok(Trust::Ca(ca))
    }
}

/// An environment variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.trim()))
}

/// The file that was named, or the one on the station's own machine.
fn read(named: Option<&Path>, default: &Path, what: &str, how: &str) -> Result<String, Failure> {
    let path = named.unwrap_or(default);
    std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Failure::Usage(match named {
            Some(_) => format!("cannot read the {what} in {path}: {error}"),
            None => format!("say which {what} to use with {how} ({path}: {error})"),
        })
    })
}

/// How long a command waits for what it has asked for.
#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// Do not wait for the end; `outband job show` tells it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Wait at most this long, for example 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    wait: Duration,
}

impl WaitArgs {
    pub(crate) fn wait(&self) -> Wait {
        if self.no_wait { Wait::No } else { Wait::AtMost(self.wait) }
    }
}

/// `90s`, `30m`, `12h`, `7d`; a bare number is seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let bad = || format!("\"{text}\" is not a time; write for example 90s, 30m, 12h or 7d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale: u64 = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(scale).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("12h", 43_200)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "s", "-1s", "1.5h", "3w", "99999999999999999999s"] {
            assert!(time(text).unwrap_err().contains("write for example"), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_answered_by_how_to_name_it() {
        let nowhere = Path::new("/does/not/exist");
        let unnamed = read(None, nowhere, "token", "--token-file FILE").unwrap_err().to_string();
        assert!(unnamed.starts_with("say which token to use with --token-file FILE"), "{unnamed}");
        let named = read(Some(nowhere), nowhere, "CA", "--ca FILE").unwrap_err().to_string();
        assert!(named.starts_with("cannot read the CA in /does/not/exist"), "{named}");
    }
}
