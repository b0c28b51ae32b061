//! On files, as a kill leaves them, and on a disk that is full for a moment.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::access::Granted;
use crate::api::TARGET_PREFIX;
use crate::machine::Os;

fn names() -> TargetNames {
    TargetNames::new(TARGET_PREFIX, "main")
}

fn grant(subject: &str, host: &str, epoch: u64) -> Grant {
    let body = format!(r#"{{"subject":"{subject}","host":"{host}","epoch":{epoch}}}"#);
    serde_json::from_str(&body).unwrap()
}

fn redirect() -> Redirect {
    Redirect { address: "192.0.2.7".parse().unwrap(), permanent: true }
}

#[test]
fn grants_floors_and_identity_survive_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let secret = UnitSecret::random().unwrap();
    let (table, first) = {
        let store = Store::open(dir.path()).unwrap();
        let empty = store.table(names()).unwrap();
        let mut table = empty.clone();
        table.grant(grant("v", "a", 3)).unwrap();
        table.grant(grant("w.p1", "b", 9)).unwrap();
        store.save(&empty, &table).unwrap();
        let before = table.clone();
        table.fence(&"v".parse().unwrap(), "a", Epoch(4));
        store.save(&before, &table).unwrap();
        let before = table.clone();
        table.set_redirect("gone".parse().unwrap(), redirect());
        table.set_redirect("x.p1".parse().unwrap(), redirect());
        store.save(&before, &table).unwrap();
        let before = table.clone();
        assert!(table.clear_redirect(&"gone".parse().unwrap()));
        store.save(&before, &table).unwrap();
        let identity = store.start(&Os).unwrap();
        store.enrol(&secret).unwrap();
        (table, identity)
    };
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.table(names()).unwrap(), table);
    let again = store.start(&Os).unwrap();
    assert_eq!((again.id, again.fingerprint()), (first.id, first.fingerprint()));
    assert_eq!((first.incarnation, again.incarnation), (1, 2));
    assert_eq!((first.secret, again.secret), (None, Some(secret)));
    store.leave_pool().unwrap();
    assert_eq!(store.start(&Os).unwrap().secret, None);
}

#[test]
fn what_a_kill_leaves_is_the_last_table_that_was_saved() {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(dir.path()).unwrap();
    let mut table = store.table(names()).unwrap();
    for epoch in 1..20 {
        let before = table.clone();
        table.fence(&"v".parse().unwrap(), "a", Epoch(epoch - 1));
        table.grant(grant("v", "a", epoch)).unwrap();
        store.save(&before, &table).unwrap();
        // The file as it is while the store is still open, which is what kill -9 leaves.
        std::fs::copy(dir.path().join(FILE), left.path().join(FILE)).unwrap();
        let after = Store::open(left.path()).unwrap();
        assert_eq!(after.table(names()).unwrap(), table);
    }
}

#[test]
fn volumes_that_come_and_go_leave_a_floor_and_take_no_room() {
    let store = Store::in_memory().unwrap();
    let mut stored = store.table(names()).unwrap();
    let mut table = stored.clone();
    table.grant(grant("kept", "a", 2)).unwrap();
    let mut last = BTreeMap::from([("high".to_owned(), Epoch(900))]);
    table.fence(&"high".parse().unwrap(), "a", Epoch(900));
    for number in 0..2500 {
        let name = format!("v{number}");
        // As the station draws it, above what the unit reports.
        let epoch = table.floor(&name).next();
        table.grant(grant(&name, "a", epoch.0)).unwrap();
        table.fence(&name.parse().unwrap(), "a", epoch);
        last.insert(name, epoch);
        if number % 100 == 0 {
            store.save(&stored, &table).unwrap();
            stored = table.clone();
        }
    }
    store.save(&stored, &table).unwrap();
    let mut table = store.table(names()).unwrap();
    assert!(table.floors().count() <= 1024, "{}", table.floors().count());
    for (name, epoch) in &last {
        assert!(table.floor(name) >= *epoch, "{name}");
        assert!(table.grant(grant(name, "b", epoch.0)).is_err(), "{name}");
    }
    assert_eq!(table.floor("kept"), Epoch(2));
    assert_eq!(table.grant(grant("kept", "a", 2)), Ok(Granted::Already));
    let next = table.floor("v0").next();
    table.grant(grant("v0", "b", next.0)).unwrap();
}

#[test]
fn a_second_opener_is_refused_and_nobody_else_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let _open = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
    let mode = dir.path().join(FILE).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Memory that outlives its databases and fails to sync for as long as that is said.
#[derive(Clone, Debug)]
struct Full {
    bytes: Arc<InMemoryBackend>,
    fails: Arc<AtomicBool>,
}

impl StorageBackend for Full {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.bytes.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }
}

#[test]
fn after_a_moment_without_room_a_fence_is_stored_and_nothing_of_what_failed_is() {
    let (bytes, fails) = (Arc::new(InMemoryBackend::new()), Arc::new(AtomicBool::new(false)));
    let disk = Full { bytes, fails: Arc::clone(&fails) };
    let under = disk.clone();
    let open = move || {
        let made = Database::builder().create_with_backend(under.clone());
        Ok(made.map_err(redb::Error::from)?)
    };
    let store = Store::by(open).unwrap();
    let empty = store.table(names()).unwrap();
    let mut table = empty.clone();
    table.grant(grant("v", "a", 5)).unwrap();
    store.save(&empty, &table).unwrap();

    fails.store(true, Ordering::Relaxed);
    let mut refused = table.clone();
    refused.grant(grant("w", "b", 7)).unwrap();
    for _ in 0..3 {
        assert!(store.save(&table, &refused).is_err());
    }
    fails.store(false, Ordering::Relaxed);
    let mut fenced = table.clone();
    fenced.fence(&"v".parse().unwrap(), "a", Epoch(5));
    store.save(&table, &fenced).unwrap();
    drop(store);
    assert_eq!(Store::on(disk).unwrap().table(names()).unwrap(), fenced);
}
