//! The unit's state directory: its lock, and the list of devices the unit opens at start.
//!
//! Devices are the authority for what they hold; the list only says which they are. It is replaced
//! whole: written beside, synced, renamed, and the directory synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::MediaError;

/// Bumped when the list changes in a way that older programs would misread.
const VERSION: u32 = 1;

/// The list's name.
const LIST: &str = "devices.json";

/// Which devices the unit has, and what it knows of volumes that a device may not be able to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    pub(crate) unit: Uuid,
    pub(crate) devices: BTreeMap<Uuid, PathBuf>,
    /// Volumes that are faulted; here too because the device may be what failed.
    pub(crate) faulted: BTreeSet<Uuid>,
}

/// Where the list is kept; a test keeps it elsewhere.
pub(crate) trait Registry: Send + std::fmt::Debug {
    fn save(&mut self, listed: &Listed) -> Result<(), MediaError>;
}

/// An open state directory, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Takes the directory for this process; makes it when there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, MediaError> {
        let io = |doing| MediaError::io(path, doing);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io("creating the state directory"))?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The list, or a new one for a new unit.
    pub(crate) fn load(&mut self) -> Result<Listed, MediaError> {
        let path = self.list();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Listed {
                    unit: Uuid::new_v4(),
                    devices: BTreeMap::new(),
                    faulted: BTreeSet::new(),
                };
                self.save(&new)?;
                return Ok(new);
            }
            Err(error) => return Err(MediaError::io(path, "reading the list of devices")(error)),
        };
        decode(&text).map_err(|why| MediaError::DamagedList { path, why })
    }

    fn list(&self) -> PathBuf {
        self.path.join(LIST)
    }
}

/// Where the devices of the list in a state directory are; none when it cannot be read, as the start
/// will say then.
#[must_use]
pub fn listed_devices(state_dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(state_dir.join(LIST)).unwrap_or_default();
    let listed = decode(&text).map(|listed| listed.devices).unwrap_or_default();
    listed.into_values().collect()
}

impl Registry for StateDir {
    fn save(&mut self, listed: &Listed) -> Result<(), MediaError> {
        let path = self.list();
        replace(&self.path, &path, encode(listed).as_bytes())
            .map_err(MediaError::io(path, "writing the list of devices"))
    }
}

fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

/// One line with version and checksum, then JSON: a person can read it, and rot is noticed.
fn encode(listed: &Listed) -> String {
    let json = serde_json::to_string_pretty(listed).expect("uuids and paths of UTF-8 are JSON");
    format!("outband-devices {VERSION} {:08x}\n{json}\n", crc_fast::crc32_iscsi(json.as_bytes()))
}

fn decode(text: &str) -> Result<Listed, String> {
    let (head, json) = text.split_once('\n').ok_or("cut short")?;
    let json = json.trim_end();
    let crc = crc_fast::crc32_iscsi(json.as_bytes());
    if head != format!("outband-devices {VERSION} {crc:08x}") {
        return Err(format!("`{head}` does not match what follows"));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn lock(dir: &Path) -> Result<File, MediaError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(MediaError::io(&path, "opening the lock file"))?;
    let taken = super::lock::exclusive(&file).map_err(|errno| errno.into());
    if !taken.map_err(MediaError::io(&path, "locking it"))? {
        let mut pid = String::new();
        let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
        let by = if known { format!("process {}", pid.trim()) } else { "another process".into() };
        return Err(MediaError::StateInUse { path: dir.to_owned(), by });
    }
    // Only for the message above; a unit that cannot write it still holds the lock.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_survives_and_the_unit_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = StateDir::open(&dir.path().join("new/state")).unwrap();
        let mut listed = state.load().unwrap();
        listed.devices.insert(Uuid::from_u128(5), "/dev/disk/by-id/x".into());
        listed.faulted.insert(Uuid::from_u128(6));
        state.save(&listed).unwrap();
        assert_eq!(state.load().unwrap(), listed);
    }

    #[test]
    fn a_second_opener_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let refusal = StateDir::open(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        assert!(refusal.contains(&dir.path().display().to_string()), "{refusal}");
        drop(first);
        assert!(StateDir::open(dir.path()).is_ok());
    }

    #[test]
    fn a_damaged_list_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = StateDir::open(dir.path()).unwrap();
        state.load().unwrap();
        let whole = fs::read(state.list()).unwrap();
        for at in 0..whole.len() - 1 {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(state.list(), &bad).unwrap();
            assert!(state.load().is_err(), "byte {at}");
        }
        for cut in 0..whole.len() - 1 {
            fs::write(state.list(), &whole[..cut]).unwrap();
            assert!(state.load().is_err(), "cut at {cut}");
        }
    }
}
