//! The file in which a volume's reservations survive power loss. It is opened and read here, before
//! the volume is served; from then on its shard writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::scsi::{Kept, SLOT_LEN};

/// Where the reservations of a server's volumes are kept.
#[derive(Clone, Debug)]
pub enum ReservationPlace {
    /// A file for each target, in this directory.
    Directory(PathBuf),
    /// This file, for the one target there is.
    File(PathBuf),
}

impl ReservationPlace {
    fn path(&self, target: Uuid) -> PathBuf {
        match self {
            Self::Directory(dir) => dir.join(target.to_string()),
            Self::File(path) => path.clone(),
        }
    }

    /// Opens a target's file, which is made if it is not there, and reads what it holds.
    ///
    /// # Errors
    /// When the file cannot be opened, or holds something that no record can be read from: then
    /// nobody knows what was reserved.
    pub fn open(&self, target: Uuid) -> io::Result<(OwnedFd, Option<Kept>)> {
        if let Self::Directory(dir) = self {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let path = self.path(target);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path)?;
        let mut content = Vec::new();
        file.by_ref().take(2 * SLOT_LEN as u64).read_to_end(&mut content)?;
        let kept = Kept::load(&content, target).map_err(|damaged| {
            io::Error::new(ErrorKind::InvalidData, format!("{}: {damaged}", path.display()))
        })?;
        if content.len() < 2 * SLOT_LEN {
            // All of it is there before the first record, so that none has to make room.
            file.set_len(2 * SLOT_LEN as u64)?;
            file.sync_all()?;
            File::open(
                path.parent()
                    .filter(|dir| !dir.as_os_str().is_empty())
                    .unwrap_or_else(|| Path::new(".")),
            )?
            .sync_all()?;
        }
        Ok((file.into(), kept))
    }

    /// Removes a target's file if nothing is reserved.
    pub fn remove_if_empty(&self, target: Uuid) {
        let is_empty = |content: Vec<u8>| {
            Kept::load(&content, target).is_ok_and(|kept| kept.is_none_or(|kept| kept.is_empty()))
        };
        if fs::read(self.path(target)).is_ok_and(is_empty) {
            self.remove(target);
        }
    }

    /// Removes a target's file; its volume is gone, or nothing is in it.
    pub fn remove(&self, target: Uuid) {
        let path = self.path(target);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // The identity is never used again, so what stays behind does no harm.
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot be removed"),
        }
    }
}
