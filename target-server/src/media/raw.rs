//! A file or block device served as it is: no superblock, no catalog. For `serve`.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::device::{DeviceKind, Opened, examine, open_path, use_page_cache};
use super::{MediaError, ZeroWith};

/// What is known of it. All of its bytes are the volume's.
#[derive(Debug)]
pub struct RawDevice {
    pub fd: Arc<OwnedFd>,
    /// It was made just now.
    pub fresh: bool,
    pub size: u64,
    pub logical: u32,
    pub physical: u32,
    pub volatile: bool,
    pub rotational: bool,
    pub zero: ZeroWith,
}

impl RawDevice {
    /// Opens and locks `path`; a file that is not there is made if `size` is given.
    pub fn open(path: &Path, size: Option<u64>) -> Result<Self, MediaError> {
        let (fd, fresh) = open_path(path, size)?;
        Ok(Self::of(examine(fd, path)?, fresh))
    }

    /// The same, through the page cache: read and written around it otherwise, where that works.
    pub fn open_cached(path: &Path, size: Option<u64>) -> Result<Self, MediaError> {
        let (fd, fresh) = open_path(path, size)?;
        let mut opened = examine(fd, path)?;
        use_page_cache(&opened.fd, path)?;
        if opened.kind == DeviceKind::File {
            opened.logical = 512;
        }
        Ok(Self::of(opened, fresh))
    }

    fn of(opened: Opened, fresh: bool) -> Self {
        let fd = Arc::new(opened.fd);
        Self {
            fresh,
            size: opened.size,
            logical: opened.logical,
            physical: opened.physical,
            volatile: opened.volatile,
            rotational: opened.rotational,
            // Tried when it is first wanted: nothing here may be written to find out.
            zero: ZeroWith::Punch,
            fd,
        }
    }
}
