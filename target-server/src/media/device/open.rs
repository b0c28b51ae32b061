//! Opening what an operator names: a file, made and preallocated when it is new, or a block device.
//! Out comes a locked descriptor and what the kernel says about it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Mode, OFlags, SeekFrom, Stat, StatxFlags, fallocate,
    fcntl_getfl, fcntl_setfl, fstat, fstatfs, ftruncate, ioctl_blkpbszget, ioctl_blksszget, major,
    minor, open, seek, statx,
};
use rustix::io::Errno;

use super::DeviceKind;
use crate::media::MediaError;
use crate::media::lock::{exclusive, patiently};

/// A descriptor and what is known of the thing behind it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
    pub(crate) kind: DeviceKind,
    pub(crate) size: u64,
    /// The smallest aligned write the media takes.
    pub(crate) logical: u32,
    pub(crate) physical: u32,
    pub(crate) volatile: bool,
    pub(crate) rotational: bool,
    pub(crate) network: Option<&'static str>,
}

const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const NETWORKS: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
];

/// Opens `path` for reading and writing; a file that is not there is made if `size` says how large.
/// True in the second place: it was made, and reads as zeros.
pub(crate) fn open_path(path: &Path, size: Option<u64>) -> Result<(OwnedFd, bool), MediaError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let size = size.ok_or_else(|| MediaError::Missing(path.to_owned()))?;
            return Ok((create(path, size)?, true));
        }
        Err(error) => return Err(MediaError::io(path, "looking at it")(error)),
    };
    let mode = FileType::from_raw_mode(metadata.mode());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let opened = match mode {
        FileType::RegularFile => open(path, flags, Mode::empty()),
        FileType::BlockDevice => {
            if let Some(mount) = mounted_at(path, metadata.rdev()) {
                return Err(MediaError::InUse { path: path.to_owned(), by: mount });
            }
            // O_EXCL on a block device claims it: refused while mounted, in a RAID, or swapped to.
            let claim = || open(path, flags | OFlags::EXCL, Mode::empty());
            patiently(Errno::BUSY, claim).and_then(|claimed| claimed.ok_or(Errno::BUSY))
        }
        _ => return Err(MediaError::NotADevice(path.to_owned())),
    };
    match opened {
        Ok(fd) => Ok((fd, false)),
        Err(Errno::BUSY) => {
            let by = "the kernel (a file system, RAID, LVM or swap on it)".to_owned();
            Err(MediaError::InUse { path: path.to_owned(), by })
        }
        Err(errno) => Err(MediaError::io(path, "opening it")(errno.into())),
    }
}

fn create(path: &Path, size: u64) -> Result<OwnedFd, MediaError> {
    let io = |doing| MediaError::io(path, doing);
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let fd = open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| io("creating it")(errno.into()))?;
    let made = preallocate(&fd, size).and_then(|()| sync_parent(path));
    if let Err(error) = made {
        // Nothing of ours is left behind on a full disk.
        let _ = fs::remove_file(path);
        return Err(io("allocating its space")(error));
    }
    Ok(fd)
}

/// Makes `fd` that long, all of it allocated and reading as zeros.
pub(crate) fn preallocate(fd: &OwnedFd, size: u64) -> io::Result<()> {
    ftruncate(fd, 0)?;
    match fallocate(fd, FallocateFlags::empty(), 0, size) {
        // The file system cannot promise space; then it may run out later, and writes say so.
        Err(Errno::OPNOTSUPP) => ftruncate(fd, size)?,
        other => other?,
    }
    Ok(rustix::fs::fsync(fd)?)
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Locks a descriptor that was opened here or came from the admin client, and looks at it.
pub(crate) fn examine(fd: OwnedFd, path: &Path) -> Result<Opened, MediaError> {
    let io = |doing| move |e: Errno| MediaError::io(path, doing)(e.into());
    let path = &std::path::absolute(path).map_err(MediaError::io(path, "finding it"))?;
    let stat = fstat(&fd).map_err(io("looking at it"))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => DeviceKind::File,
        FileType::BlockDevice => DeviceKind::Block,
        _ => return Err(MediaError::NotADevice(path.clone())),
    };
    check_same(&stat, path)?;
    if fcntl_getfl(&fd).map_err(io("looking at it"))? & OFlags::RWMODE != OFlags::RDWR {
        return Err(io("writing to it")(Errno::ACCESS));
    }
    lock(&fd, &stat, path)?;
    let size = seek(&fd, SeekFrom::End(0)).map_err(io("finding its size"))?;
    let (logical, physical) = sectors(&fd, kind, &stat).map_err(io("finding its block size"))?;
    let fs_type = if kind == DeviceKind::File { fs_type(&fd) } else { 0 };
    let rdev = if kind == DeviceKind::File { stat.st_dev } else { stat.st_rdev };
    Ok(Opened {
        path: path.clone(),
        fd,
        kind,
        size,
        logical,
        physical,
        volatile: fs_type == TMPFS || fs_type == RAMFS,
        rotational: rotational(rdev),
        network: NETWORKS.iter().find(|(magic, _)| *magic == fs_type).map(|(_, name)| *name),
    })
}

/// The path must lead to what is open, or the next start would find something else.
fn check_same(stat: &Stat, path: &Path) -> Result<(), MediaError> {
    let there = fs::metadata(path).map_err(MediaError::io(path, "looking at it"))?;
    if there.ino() == stat.st_ino && there.dev() == stat.st_dev {
        return Ok(());
    }
    let by = "something else: the path no longer leads to what was opened".to_owned();
    Err(MediaError::InUse { path: path.to_owned(), by })
}

fn lock(fd: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), MediaError> {
    let taken = exclusive(fd).map_err(|errno| MediaError::io(path, "locking it")(errno.into()))?;
    if taken {
        return Ok(());
    }
    let holder = lock_holder(stat);
    let by = holder.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
    Err(MediaError::InUse { path: path.to_owned(), by })
}

/// Who holds the lock, from the kernel's own list.
fn lock_holder(stat: &Stat) -> Option<u32> {
    let inode = format!(":{}", stat.st_ino);
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields.get(1) == Some(&"FLOCK") && fields.get(5)?.ends_with(&inode);
        if ours { fields.get(4)?.parse().ok() } else { None }
    })
}

fn sectors(fd: &OwnedFd, kind: DeviceKind, stat: &Stat) -> Result<(u32, u32), Errno> {
    if kind == DeviceKind::Block {
        set_direct(fd, true)?;
        return Ok((ioctl_blksszget(fd)?, ioctl_blkpbszget(fd)?));
    }
    let physical = u32::try_from(stat.st_blksize).unwrap_or(4096).clamp(512, 4096);
    Ok((direct_align(fd).unwrap_or(512), physical))
}

/// Turns O_DIRECT on for a file where that works, and says what alignment it wants.
fn direct_align(fd: &OwnedFd) -> Option<u32> {
    set_direct(fd, true).ok()?;
    let known = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let known = known.filter(|x| x.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let align = match known {
        Some(x) if x.stx_dio_mem_align <= 4096 => x.stx_dio_offset_align,
        Some(_) => 0,
        None => 512,
    };
    // An old kernel does not say, and some file systems take the flag but not the read.
    if (1..=4096).contains(&align) && can_read(fd) {
        return Some(align.max(512));
    }
    // Buffered then; a flag that cannot be turned off again would be a kernel's joke.
    set_direct(fd, false).ok()?;
    None
}

fn can_read(fd: &OwnedFd) -> bool {
    let mut spare = vec![0u8; 2 * 4096];
    let start = spare.as_ptr().align_offset(4096);
    rustix::io::pread(fd, &mut spare[start..start + 4096], 0).is_ok()
}

/// From now on what is read and written through `fd`, and whatever it was cloned into, stays in
/// memory as long as the kernel has room for it.
pub(crate) fn use_page_cache(fd: &OwnedFd, path: &Path) -> Result<(), MediaError> {
    set_direct(fd, false)
        .map_err(|errno| MediaError::io(path, "turning O_DIRECT off")(errno.into()))
}

pub(crate) fn set_direct(fd: &OwnedFd, on: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(fd)?;
    flags.set(OFlags::DIRECT, on);
    fcntl_setfl(fd, flags)
}

fn fs_type(fd: impl AsFd) -> u64 {
    // The kernel's magic numbers are 32 bits; some ABIs sign-extend them.
    fstatfs(fd).map_or(0, |fs| u64::try_from(i128::from(fs.f_type) & 0xffff_ffff).unwrap_or(0))
}

fn rotational(rdev: u64) -> bool {
    let base = format!("/sys/dev/block/{}:{}", major(rdev), minor(rdev));
    let read = |tail: &str| fs::read_to_string(format!("{base}/{tail}")).ok();
    // A partition's queue is its disk's.
    let flag = read("queue/rotational").or_else(|| read("../queue/rotational"));
    flag.is_some_and(|text| text.trim() == "1")
}

/// Where a block device, or a partition of it, is mounted.
fn mounted_at(path: &Path, rdev: u64) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (source, mount) = (fields.next()?, fields.next()?);
        let same = source.starts_with("/dev/")
            && (fs::metadata(source).is_ok_and(|m| m.rdev() == rdev)
                || partition_of(source, &real.to_string_lossy()));
        same.then(|| format!("the file system mounted at {mount}"))
    })
}

/// `/dev/sda1` of `/dev/sda`, `/dev/nvme0n1p2` of `/dev/nvme0n1`.
fn partition_of(source: &str, disk: &str) -> bool {
    let Some(rest) = source.strip_prefix(disk) else { return false };
    let number = rest.strip_prefix('p').unwrap_or(rest);
    let joined = disk.ends_with(|c: char| c.is_ascii_digit()) == rest.starts_with('p');
    joined && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_known_by_their_names() {
        for (source, disk) in [("/dev/sda1", "/dev/sda"), ("/dev/nvme0n1p2", "/dev/nvme0n1")] {
            assert!(partition_of(source, disk), "{source}");
        }
        let others =
            [("/dev/sdaa", "/dev/sda"), ("/dev/sda", "/dev/sda"), ("/dev/loop10", "/dev/loop1")];
        for (source, disk) in others {
            assert!(!partition_of(source, disk), "{source}");
        }
    }

    #[test]
    fn a_locked_file_is_refused_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let (fd, made) = open_path(&path, Some(8 << 20)).unwrap();
        assert!(made);
        let first = examine(fd, &path).unwrap();
        assert_eq!((first.kind, first.size), (DeviceKind::File, 8 << 20));
        let (fd, made) = open_path(&path, Some(1)).unwrap();
        assert!(!made);
        let refusal = examine(fd, &path).unwrap_err().to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
    }

    #[test]
    fn a_directory_is_no_device_and_nothing_is_made_without_a_size() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open_path(dir.path(), None), Err(MediaError::NotADevice(_))));
        let missing = dir.path().join("none");
        assert!(matches!(open_path(&missing, None), Err(MediaError::Missing(_))));
        assert!(!missing.exists());
    }
}
