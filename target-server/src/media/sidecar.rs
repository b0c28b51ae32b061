//! The journal of a file that is served as it is: a file beside it, `NAME.journal`. Where a file goes
//! in the middle of an atomic write, it must be taken along; at an orderly stop it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::blocks::{Blocks, FileBlocks};
use super::device::{preallocate, sync_parent};
use super::journal::{self, Intent, JOURNAL_LEN, Verdict};
use super::{JournalSpec, RawDevice, ZeroWith};

/// An open journal, with nothing left in it to be finished.
#[derive(Debug)]
pub struct Sidecar {
    path: PathBuf,
    blocks: FileBlocks,
    spec: JournalSpec,
}

impl Sidecar {
    /// Opens or makes the journal beside `file`, which holds `volume`, and finishes what it holds.
    /// None for a block device: beside its node nothing survives.
    pub fn open(file: &Path, raw: &RawDevice, volume: Uuid) -> io::Result<Option<Self>> {
        let file = fs::canonicalize(file)?;
        let metadata = fs::metadata(&file)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        // Another file under this name is another device: no intent is finished in that.
        let device = Uuid::new_v5(&volume, &metadata.ino().to_be_bytes());
        let path = beside(&file);
        let fd = Arc::new(open(&path)?);
        let blocks = FileBlocks { fd: fd.clone(), zero: ZeroWith::Writes };
        finish(&blocks, raw, volume, device)?;
        let marks = journal::marks(&blocks, 0)?;
        let spec = JournalSpec { device, file: fd, at: 0, marks, left: BTreeSet::new() };
        Ok(Some(Self { path, blocks, spec }))
    }

    /// Whether there is one from an earlier run.
    pub fn is_beside(file: &Path) -> bool {
        fs::canonicalize(file).is_ok_and(|file| beside(&file).exists())
    }

    /// What a shard needs to know of it; its device is the file's.
    pub fn spec(&self) -> &JournalSpec {
        &self.spec
    }

    /// Removes it, unless something in it is needed at the next start.
    pub fn remove_if_empty(self) -> io::Result<()> {
        if journal::is_empty(&self.blocks, 0)? { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".journal");
    file.with_file_name(name)
}

/// All of it is allocated before the first intent, so that none has to make room.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let fd = OwnedFd::from(options.open(path)?);
    if rustix::fs::fstat(&fd)?.st_size < i64::try_from(JOURNAL_LEN).unwrap_or(i64::MAX) {
        preallocate(&fd, JOURNAL_LEN)?;
        sync_parent(path)?;
    }
    Ok(fd)
}

fn finish(journal: &FileBlocks, raw: &RawDevice, volume: Uuid, device: Uuid) -> io::Result<()> {
    let blocks: Arc<dyn Blocks> = Arc::new(FileBlocks { fd: raw.fd.clone(), zero: raw.zero });
    let judge = |intent: &Intent| {
        let ours = intent.places.iter().all(|place| {
            let end = place.at.checked_add(place.len.into());
            place.device == device && end.is_some_and(|end| end <= raw.size)
        });
        if intent.volume == volume && ours { Verdict::Finish } else { Verdict::Forget }
    };
    let unfinished = journal::replay(journal, 0, &BTreeMap::from([(device, blocks)]), judge)?;
    if unfinished.is_empty() {
        return Ok(());
    }
    Err(io::Error::other("an atomic write that was cut short cannot be finished"))
}

#[cfg(test)]
mod tests {
    use super::super::journal::{IntentPlace, SLOT_LEN, encode_intent};
    use super::*;
    use crate::scsi::Wiping;

    /// Writes an intent beside a file as a shard that is killed would have left it.
    fn leave_intent(file: &Path, volume: Uuid) {
        let raw = RawDevice::open(file, None).unwrap();
        let sidecar = Sidecar::open(file, &raw, volume).unwrap().unwrap();
        let mut slot = vec![0; SLOT_LEN];
        let place = IntentPlace { device: sidecar.spec.device, at: 4096, len: 1024 };
        encode_intent(&mut slot, volume, &[place], &[0x5A; 1024]);
        sidecar.blocks.write_at(SLOT_LEN as u64, &slot).unwrap();
    }

    #[test]
    fn what_a_kill_left_half_done_is_finished_at_the_next_start_and_only_in_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk");
        let volume = Uuid::from_u128(1);
        for same in [true, false] {
            fs::write(&file, vec![1; 1 << 20]).unwrap();
            leave_intent(&file, volume);
            if !same {
                let other = dir.path().join("other");
                fs::write(&other, vec![2; 1 << 20]).unwrap();
                fs::rename(other, &file).unwrap();
            }
            let raw = RawDevice::open(&file, None).unwrap();
            let sidecar = Sidecar::open(&file, &raw, volume).unwrap().unwrap();
            let bytes = fs::read(&file).unwrap();
            let expected = if same { 0x5A } else { 2 };
            assert!(bytes[4096..5120].iter().all(|byte| *byte == expected), "same: {same}");
            assert!(bytes[..4096].iter().all(|byte| *byte != 0x5A));
            sidecar.remove_if_empty().unwrap();
            assert!(!dir.path().join("disk.journal").exists());
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_journal_with_a_mark_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        let target = Uuid::from_u128(1);
        let open = || {
            let raw = RawDevice::open(&file, None).unwrap();
            Sidecar::open(&file, &raw, target).unwrap().unwrap()
        };
        let sidecar = open();
        let mut page = vec![0; journal::PAGE_LEN];
        journal::encode_mark(&mut page, target, Wiping::Format);
        let at = journal::marks_of(0, 1)[3];
        sidecar.blocks.write_at(at, &page).unwrap();
        sidecar.remove_if_empty().unwrap();
        let mark = journal::Mark { at, by: Wiping::Format };
        assert_eq!(open().spec().marks, BTreeMap::from([(target, mark)]));
    }
}
