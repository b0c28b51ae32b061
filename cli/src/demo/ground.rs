//! Where the demo's files lie, and how large its devices can be there.

use std::path::{Path, PathBuf};

use outband_pool_api::Size;

use crate::failure::Failure;

const MIB: u64 = 1 << 20;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A directory to be, on a disk, and the sizes of the devices in it.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) parent: PathBuf,
    pub(super) sizes: Sizes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    /// Of the first two units.
    pub(super) files: [Size; 2],
    pub(super) fourth: Size,
}

const LARGE: Sizes = Sizes { files: [Size(2048 * MIB), Size(2048 * MIB)], fourth: Size(256 * MIB) };
/// Just enough for the 1 GiB and the 256 MiB that the hosts ask for.
const SMALL: Sizes = Sizes { files: [Size(1280 * MIB), Size(384 * MIB)], fourth: Size(128 * MIB) };
/// Left to others, and for the logs.
const SPARE: u64 = 512 * MIB;

impl Sizes {
    /// The largest that fit.
    fn for_free(free: u64) -> Option<Self> {
        [LARGE, SMALL].into_iter().find(|sizes| sizes.needed() <= free)
    }

    fn needed(&self) -> u64 {
        self.files.iter().map(|size| size.0).sum::<u64>() + self.fourth.0 + SPARE
    }
}

impl Ground {
    /// `asked`, or the first usual place that is on a disk with enough room. Memory would do for
    /// the data, but the station gives no host memory that did not ask for it.
    pub(super) fn choose(asked: Option<&Path>) -> Result<Self, Failure> {
        let usual = [std::env::temp_dir(), "/var/tmp".into(), ".".into()];
        let places = asked.map_or_else(|| usual.to_vec(), |asked| vec![asked.to_owned()]);
        let mut refusals = Vec::new();
        for place in places {
            match look(&place) {
                Ok(ground) => return Ok(ground),
                Err(why) => refusals.push(format!("{}: {why}", place.display())),
            }
        }
        Err(Failure::Usage(format!(
            "say with --dir where on a disk {} can be used for a minute ({})",
            Size(SMALL.needed()),
            refusals.join("; ")
        )))
    }
}

fn look(place: &Path) -> Result<Ground, String> {
    let parent = place.canonicalize().map_err(|error| error.to_string())?;
    let stat = rustix::fs::statfs(&parent).map_err(|error| error.to_string())?;
    #[expect(clippy::cast_sign_loss, reason = "a magic number, signed on some machines only")]
    let kind = stat.f_type as u64;
    if kind == TMPFS || kind == RAMFS {
        return Err("in memory".to_owned());
    }
    let space = rustix::fs::statvfs(&parent).map_err(|error| error.to_string())?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let sizes = Sizes::for_free(free).ok_or_else(|| format!("{} free", Size(free)))?;
    Ok(Ground { parent, sizes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_are_as_large_as_there_is_room() {
        assert_eq!(Sizes::for_free(100 << 30), Some(LARGE));
        assert_eq!(Sizes::for_free(3 << 30), Some(SMALL));
        assert_eq!(Sizes::for_free(1 << 30), None);
    }

    #[test]
    fn a_place_that_will_not_do_is_answered_by_the_option() {
        let error = Ground::choose(Some(Path::new("/does/not/exist"))).unwrap_err().to_string();
        assert!(error.starts_with("say with --dir where") && error.contains("/does/not/exist"));
    }
}
