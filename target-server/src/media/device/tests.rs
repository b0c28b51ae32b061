//! What is refused, and by which words; on files, and on a loop device where the machine has any.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;
use crate::media::{Catalog, NewVolume, VolumeState};

fn catalog(dir: &Path) -> Catalog {
    Catalog::open(&dir.join("state")).unwrap()
}

fn sized(mib: u64) -> AddOptions {
    AddOptions { size: Some(mib * MIB), ..AddOptions::default() }
}

const ERASE: AddOptions = AddOptions { size: None, yes_erase: true, allow_network: false };

#[test]
fn a_new_file_is_made_preallocated_and_known_again() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let mut units = catalog(dir.path());
    let id = units.add_device(&path, sized(16)).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 16 * MIB);
    assert!(metadata.blocks() * 512 >= 15 * MIB, "its space is promised");
    assert_eq!(metadata.mode() & 0o777, 0o600);
    let again = units.add_device(&path, sized(16)).unwrap_err();
    assert!(matches!(again, MediaError::AlreadyHere(_)), "{again}");
    units.remove_device(path.to_str().unwrap()).unwrap();
    assert_eq!(units.add_device(&path, AddOptions::default()).unwrap(), id, "ours already");
    let report = units.report();
    assert_eq!((report.devices[0].capacity, report.devices[0].free), (8 * MIB, 8 * MIB));
}

#[test]
fn a_file_with_anything_in_it_is_refused_by_name_until_erasing_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, vec![3; 12 << 20]).unwrap();
    let mut unit = catalog(dir.path());
    let refusal = unit.add_device(&path, sized(12)).unwrap_err().to_string();
    assert!(refusal.contains("unknown kind") && refusal.contains("--yes-erase"), "{refusal}");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"XFSB", 0).unwrap();
    let refusal = unit.add_device(&path, sized(12)).unwrap_err().to_string();
    assert!(refusal.contains("an XFS file system"), "{refusal}");
    assert_eq!(fs::read(&path).unwrap()[1 << 20], 3, "nothing was touched");
    unit.add_device(&path, ERASE).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 12 * MIB);
}

#[test]
fn too_small_and_missing_say_what_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = catalog(dir.path());
    let small = unit.add_device(&dir.path().join("a"), sized(4)).unwrap_err().to_string();
    assert!(small.contains("at least 9 MiB"), "{small}");
    let missing = unit.add_device(&dir.path().join("b"), AddOptions::default()).unwrap_err();
    assert!(missing.to_string().contains("--size"), "{missing}");
}

#[test]
fn a_device_of_another_unit_is_imported_with_its_volumes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let mut first = catalog(dir.path());
    first.add_device(&path, sized(16)).unwrap();
    let mut new = NewVolume::new("carried".parse().unwrap(), 4 * MIB);
    new.allow_volatile = true;
    let id = first.create_volume(&new).unwrap().id;
    first.raise_floor("carried", 12).unwrap();
    let busy = catalog(&dir.path().join("other")).import_device(&path).unwrap_err();
    assert!(matches!(busy, MediaError::InUse { .. }), "{busy}");
    drop(first);

    let mut other = catalog(&dir.path().join("other"));
    let refusal = other.add_device(&path, AddOptions::default()).unwrap_err().to_string();
    assert!(refusal.contains("device import"), "{refusal}");
    let foreign = dir.path().join("foreign");
    fs::write(&foreign, vec![0; 12 << 20]).unwrap();
    assert!(matches!(other.import_device(&foreign), Err(MediaError::NotOurs(_))));
    other.import_device(&path).unwrap();
    let carried = other.volume("carried").unwrap();
    assert_eq!((carried.id, carried.epoch_floor), (id, 12));
    assert_eq!(carried.state, VolumeState::Online);
    // A spec holds its devices open, too.
    drop((other, carried));

    // The unit it came from leaves it alone from now on.
    let report = catalog(dir.path()).report();
    assert!(report.volumes.is_empty());
    assert!(report.devices[0].missing.as_ref().unwrap().contains("belongs to unit"));
}

#[test]
fn another_device_at_a_known_path_is_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let mut unit = catalog(dir.path());
    unit.add_device(&a, sized(12)).unwrap();
    unit.add_device(&b, sized(12)).unwrap();
    drop(unit);
    fs::rename(&b, &a).unwrap();
    let report = catalog(dir.path()).report();
    assert!(report.devices.iter().all(|device| device.missing.is_some()), "{report:#?}");
    assert!(report.devices.iter().any(|d| d.missing.as_ref().unwrap().contains("now leads to")));
}

#[test]
fn a_copy_of_a_device_is_not_taken_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("disk"), dir.path().join("copy"));
    let mut unit = catalog(dir.path());
    unit.add_device(&path, sized(12)).unwrap();
    fs::copy(&path, &copy).unwrap();
    let refusal = unit.import_device(&copy).unwrap_err().to_string();
    assert!(refusal.contains("a copy of"), "{refusal}");
}

/// A loop device over a file, gone with this value.
struct Loop(String);

impl Loop {
    /// None where the machine does not let us have one.
    fn over(file: &Path, sector: u32) -> Option<Self> {
        let out = Command::new("losetup")
            .args(["--find", "--show", "--sector-size", &sector.to_string()])
            .arg(file)
            .output()
            .ok()?;
        let name = String::from_utf8(out.stdout).ok()?;
        (out.status.success() && !name.trim().is_empty()).then(|| Self(name.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn check_loop(sector: u32) {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("backing");
    fs::File::create(&backing).unwrap().set_len(32 * MIB).unwrap();
    let Some(device) = Loop::over(&backing, sector) else {
        eprintln!("no loop devices here; the block device test is left out");
        return;
    };
    let path = Path::new(&device.0);
    let mut unit = catalog(dir.path());
    let refusal = unit.add_device(path, AddOptions::default()).unwrap_err().to_string();
    assert!(refusal.contains("--yes-erase"), "{refusal}");
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path).status();
    if made.is_ok_and(|status| status.success()) {
        let refusal = unit.add_device(path, AddOptions::default()).unwrap_err().to_string();
        assert!(refusal.contains("an ext4 file system"), "{refusal}");
    }
    unit.add_device(path, ERASE).unwrap();
    let mut new = NewVolume::new("v".parse().unwrap(), 8 * MIB);
    new.block_size = Some(512);
    if sector == 4096 {
        let refusal = unit.create_volume(&new).unwrap_err();
        assert!(matches!(refusal, MediaError::NoSpace { .. } | MediaError::BadBlockSize { .. }));
        new.block_size = None;
    }
    let volume = unit.create_volume(&new).unwrap();
    assert_eq!(volume.block_size, sector);
    assert_eq!(volume.state, VolumeState::Zeroing, "a disk is not known to be zero");
    let jobs = unit.begin_zeroing(volume.id).unwrap();
    assert!(jobs.iter().all(|job| job.run(|| true).unwrap()));
    let volume = unit.finish_zeroing(volume.id, &jobs).unwrap();
    assert_eq!((volume.state, volume.len()), (VolumeState::Online, 8 * MIB));
    let report = unit.report();
    assert_eq!(report.devices[0].kind, Some(DeviceKind::Block));
    drop((unit, volume, jobs));
    assert_eq!(catalog(dir.path()).report(), report);
    let elsewhere = catalog(&dir.path().join("other")).add_device(path, ERASE);
    assert!(elsewhere.is_ok(), "nobody holds it now: {elsewhere:?}");
}

#[test]
fn a_block_device_is_claimed_and_kept() {
    check_loop(512);
}

#[test]
fn a_disk_of_4096_byte_sectors_takes_no_volume_of_512() {
    check_loop(4096);
}
