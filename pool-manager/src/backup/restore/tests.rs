//! A restore that is killed before each of its steps, and what is found in its place.

use outband_pool_api::{HostRequest, Scope};

use super::*;
use crate::app::Caller;
use crate::config::Config;
use crate::station::{ADMIN_TOKEN_FILE, Bound};
use crate::tls::CA_FILE;

/// A station as its users know it.
#[derive(PartialEq, Eq, Debug)]
struct Known {
    ca: String,
    token: String,
    hosts: Vec<String>,
}

async fn open(state_dir: &Path) -> Bound {
    let config = Config {
        state_dir: state_dir.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        announce: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    Bound::open(&config).await.unwrap()
}

/// Starts the station and asks it with the token that is in its file.
async fn known(state_dir: &Path) -> Known {
    let bound = open(state_dir).await;
    let read = |name: &str| fs::read_to_string(state_dir.join(name)).unwrap();
    let (ca, token) = (read(CA_FILE), read(ADMIN_TOKEN_FILE));
    assert_eq!(bound.ca_pem(), ca);
    let who = bound.station().authenticate(token.trim()).await.expect("its token is in force");
    assert_eq!(who.scope, Scope::Admin);
    let hosts = bound.station().hosts(&who).await.unwrap();
    Known { ca, token, hosts: hosts.into_iter().map(|host| host.name).collect() }
}

async fn with_host(state_dir: &Path, name: &str) -> Known {
    let bound = open(state_dir).await;
    let iqn = format!("iqn.2026-11.test:{name}");
    let ask = HostRequest { name: name.to_owned(), iqn, quota: None, mutual: false };
    bound.station().add_host(&Caller::ADMIN, ask).await.unwrap();
    drop(bound);
    known(state_dir).await
}

async fn backup_of(state_dir: &Path) -> Backup {
    let bound = open(state_dir).await;
    let said = bound.station().backup(&Caller::ADMIN).await.unwrap();
    let text = Backup::finish(&serde_json::to_string(&said).unwrap(), state_dir).unwrap();
    Backup::read(&text).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Restores into directories that `prepare` makes, killed before the first step, before the second …;
/// answers what each start of the station has found, and last what a restore to the end leaves.
async fn killed_everywhere(backup: &Backup, prepare: impl Fn(&Path)) -> Vec<Known> {
    let directory = tempfile::tempdir().unwrap();
    let (mut found, mut decided) = (Vec::new(), false);
    for step in 0_u32.. {
        let state = directory.path().join(step.to_string());
        prepare(&state);
        let mut left = step;
        let mut fuse = || match left.checked_sub(1) {
            Some(less) => {
                left = less;
                Ok(())
            }
            None => Err(io::Error::other("killed")),
        };
        let went = backup.clone().restore_with(&state, "main", true, &mut fuse).await;
        found.push(known(&state).await);
        match went {
            Ok(_) => return found,
            Err(BackupError::State(_)) => assert!(!decided, "it says that nothing was restored"),
            Err(BackupError::Unfinished(_)) => decided = true,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("a restore has an end");
}

#[tokio::test]
async fn killed_before_any_step_the_station_starts_as_before_or_as_restored() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let before = with_host(&here, "before").await;
    let after = with_host(&there, "after").await;
    let found = killed_everywhere(&backup_of(&there).await, |state| copy(&here, state)).await;
    let decided = found.iter().position(|known| *known == after).unwrap();
    assert!(found[..decided].iter().all(|known| *known == before), "{found:?}");
    assert!(found[decided..].iter().all(|known| *known == after), "{found:?}");
    // Making ready takes six steps at least, and four files that were there are moved twice each.
    assert!(decided >= 6 && found.len() - decided >= 8, "{decided} of {}", found.len());
}

#[tokio::test]
async fn where_no_station_was_there_is_a_new_one_or_the_restored_one() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    let after = with_host(&there, "after").await;
    let found = killed_everywhere(&backup_of(&there).await, |_| {}).await;
    let decided = found.iter().position(|known| *known == after).unwrap();
    assert!(found[..decided].iter().all(|known| known.hosts.is_empty()), "{found:?}");
    assert!(found[decided..].iter().all(|known| *known == after), "{found:?}");
}

#[tokio::test]
async fn a_station_is_replaced_only_if_that_is_said_and_never_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (there, state) = (directory.path().join("there"), directory.path().join("to"));
    with_host(&there, "a").await;
    let backup = backup_of(&there).await;
    let restore = |replace| backup.clone().restore(&state, "main", replace);
    assert_eq!(restore(false).await.unwrap().volumes, 0);
    assert!(matches!(restore(false).await, Err(BackupError::Occupied(_))));
    let running = open(&state).await;
    assert!(matches!(restore(true).await, Err(BackupError::Runs)));
    drop(running);
    for end in ["", ".2", ".3"] {
        restore(true).await.unwrap();
        for name in [STORE_FILE, ADMIN_TOKEN_FILE] {
            let kept = put_aside(&state.join(name)).unwrap();
            let last = state.join(format!("{name}.before-restore{end}"));
            assert_eq!(kept.into_values().collect::<Vec<_>>(), [last], "only the last ones");
        }
    }
    assert!(!state.join(DECIDED).exists() && !state.join(UNDECIDED).exists());
}

#[tokio::test]
async fn what_stands_in_the_way_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (there, state) = (directory.path().join("there"), directory.path().join("to"));
    with_host(&there, "a").await;
    let backup = backup_of(&there).await;
    let other = backup.clone().restore(&state, "lab", false).await.unwrap_err().to_string();
    assert!(other.contains("of the pool \"main\"") && other.contains("\"lab\""), "{other}");
    assert!(!state.exists(), "nothing is made for it");

    let held = StateDir::open(&state).unwrap().lock().unwrap().unwrap();
    let locked = backup.clone().restore(&state, "main", false).await;
    assert!(matches!(locked, Err(BackupError::Locked)));
    drop(held);

    // Killed right behind the step that decides: whoever says it once more is told that it is done.
    let ready = StateDir::open(&state).unwrap();
    backup.make_ready(&ready, &mut unbroken).await.unwrap();
    decide(&ready, &mut unbroken).unwrap();
    let again = backup.clone().restore(&state, "main", false).await;
    assert!(matches!(again, Err(BackupError::Finished)));
    assert_eq!(known(&state).await.hosts, ["a"]);
}
