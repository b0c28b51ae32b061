//! On real files: what a shard would be told, and what it would read.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::media::device::open_path;
use crate::media::{MIB, Media, VolumeState};

/// Tells a channel; keeps volumes whose name starts with `kept`.
struct Told(Sender<VolumeSpec>);

impl Changes for Told {
    fn changed(&self, volume: &VolumeSpec) {
        let _ = self.0.send(volume.clone());
    }

    fn removing(&self, volume: &VolumeSpec) -> Result<(), String> {
        if volume.name.as_str().starts_with("kept") { Err("a host has it".into()) } else { Ok(()) }
    }
}

struct Unit {
    dir: tempfile::TempDir,
    holdings: Arc<Holdings>,
    told: Receiver<VolumeSpec>,
}

fn unit() -> Unit {
    start(tempfile::tempdir().unwrap())
}

fn start(dir: tempfile::TempDir) -> Unit {
    let holdings = Holdings::new(Catalog::open(&dir.path().join("state")).unwrap());
    let (tell, told) = channel();
    holdings.start(Box::new(Told(tell)));
    Unit { dir, holdings, told }
}

impl Unit {
    fn add(&self, name: &str, mib: u64) -> PathBuf {
        let path = self.dir.path().join(name);
        let (fd, fresh) = open_path(&path, Some(mib * MIB)).unwrap();
        // Some machines' temporary directories are memory; the rule about that is tried elsewhere.
        self.holdings.add_device(fd, &path, fresh, AddOptions::default()).unwrap();
        path
    }

    fn create(&self, name: &str, mib: u64) -> Result<VolumeSpec, MediaError> {
        let mut new = NewVolume::new(name.parse().unwrap(), mib * MIB);
        new.allow_volatile = true;
        self.holdings.create_volume(&new)
    }
}

fn bytes(spec: &VolumeSpec, path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap();
    let mut all = Vec::new();
    for piece in &spec.pieces {
        let mut some = vec![0; usize::try_from(piece.len).unwrap()];
        file.read_exact_at(&mut some, piece.offset).unwrap();
        all.extend(some);
    }
    all
}

#[test]
fn a_reused_extent_reads_as_zeros_and_the_shards_hear_of_it_online() {
    let unit = unit();
    let path = unit.add("disk", 16);
    let first = unit.create("first", 8).unwrap();
    assert_eq!((first.state, first.len()), (VolumeState::Online, 8 * MIB));
    let piece = first.pieces[0].clone();
    assert!(matches!(piece.media, Media::File(_)));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0x77; 8 << 20], piece.offset).unwrap();
    file.sync_all().unwrap();
    unit.holdings.remove_volume("first", false).unwrap();
    let second = unit.create("second", 8).unwrap();
    assert_eq!(second.pieces[0].offset, piece.offset, "the test wants the same place");
    assert_ne!(second.id, first.id);
    assert!(bytes(&second, &path).iter().all(|byte| *byte == 0));
    unit.holdings.settle();
    let last = unit.told.try_iter().last().unwrap();
    assert_eq!((last.id, last.state), (second.id, VolumeState::Online));
}

#[test]
fn a_volume_in_use_is_kept_and_everything_is_there_after_a_restart() {
    let unit = unit();
    unit.add("disk", 16);
    // Only the id is kept: a spec holds its devices open.
    let id = unit.create("kept-by-a-host", 4).unwrap().id;
    let refusal = unit.holdings.remove_volume("kept-by-a-host", false).unwrap_err().full();
    assert!(refusal.contains("a host has it"), "{refusal}");
    let partition = unit
        .holdings
        .create_partition("kept-by-a-host", NewPartition { size: Some(MIB), ..Default::default() })
        .unwrap();
    unit.holdings.grow_volume("kept-by-a-host", 6 * MIB).unwrap();
    unit.holdings.raise_floor("kept-by-a-host", 7).unwrap();
    unit.holdings.set_faulted("kept-by-a-host").unwrap();
    let report = unit.holdings.report();
    let Unit { dir, holdings, told } = unit;
    drop((holdings, told));
    let unit = start(dir);
    assert_eq!(unit.holdings.report(), report);
    let again = unit.told.try_iter().next().unwrap();
    assert_eq!((again.id, again.len(), again.epoch_floor), (id, 6 * MIB, 7));
    assert_eq!((again.state, again.partitions), (VolumeState::Faulted, vec![partition]));
    let back = unit.holdings.recover("kept-by-a-host").unwrap();
    assert_eq!(back.state, VolumeState::Online);
}

#[test]
fn a_full_unit_says_what_is_free_and_a_name_is_given_once() {
    let unit = unit();
    unit.add("disk", 14);
    unit.create("a", 4).unwrap();
    assert!(matches!(unit.create("a", 1), Err(MediaError::NameTaken(_))));
    let refusal = unit.create("b", 3).unwrap_err();
    assert!(matches!(refusal, MediaError::NoSpace { free, .. } if free == 2 * MIB), "{refusal}");
}

/// Volumes on their way out that hang until they are let go.
struct Hanging {
    hangs: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Changes for Hanging {
    fn changed(&self, _: &VolumeSpec) {}

    fn removing(&self, _: &VolumeSpec) -> Result<(), String> {
        let _ = self.hangs.send(());
        let _ = self.go_on.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn a_volume_whose_io_hangs_on_its_way_out_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(&dir.path().join("state")).unwrap();
    catalog.add_memory("ram", 16 * MIB).unwrap();
    let holdings = Holdings::new(catalog);
    let (hangs, hanging) = channel();
    let (let_go, go_on) = channel();
    holdings.start(Box::new(Hanging { hangs, go_on: Mutex::new(go_on) }));
    for name in ["a", "b"] {
        let new = NewVolume::new(name.parse().unwrap(), MIB);
        holdings.create_volume(&NewVolume { allow_volatile: true, ..new }).unwrap();
    }
    let goes = Arc::clone(&holdings);
    let removal = thread::spawn(move || goes.remove_volume("a", false));
    hanging.recv().unwrap();
    let (done, is_done) = channel();
    let other = Arc::clone(&holdings);
    thread::spawn(move || done.send(other.set_faulted("b")));
    let bound = std::time::Duration::from_secs(30);
    is_done.recv_timeout(bound).expect("it waits for the other").unwrap();
    let_go.send(()).unwrap();
    removal.join().unwrap().unwrap();
}
