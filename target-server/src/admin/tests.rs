//! The unit behind its API, on files and with shards.

use std::path::Path;

use outband_control::api::TARGET_PREFIX;
use outband_control::api::TargetNames;

use super::*;
use crate::media::{AddOptions, Catalog};
use crate::server::ServerConfig;

const MIB: u64 = 1 << 20;

fn core(catalog: Catalog) -> Arc<UnitCore> {
    let names = TargetNames::new(TARGET_PREFIX, "test");
    let config = ServerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], names);
    let server = Server::start(&ServerConfig { shards: 1, ..config }, None).unwrap();
    UnitCore::new(Holdings::new(catalog), Arc::new(server))
}

fn add(catalog: &mut Catalog, path: &Path) {
    let options = AddOptions { size: Some(32 * MIB), ..AddOptions::default() };
    catalog.add_device(path, options).unwrap();
}

fn create(catalog: &mut Catalog) -> Uuid {
    let new = NewVolume::new("v".parse().unwrap(), MIB);
    catalog.create_volume(&NewVolume { allow_volatile: true, ..new }).unwrap().id
}

/// Two volumes `v`: one was forgotten while its device was away, and came back with it.
fn clashing(dir: &Path) -> (Catalog, [Uuid; 2]) {
    let (state, first, away) = (dir.join("state"), dir.join("first"), dir.join("away"));
    let mut catalog = Catalog::open(&state).unwrap();
    add(&mut catalog, &first);
    let lost = create(&mut catalog);
    drop(catalog);
    std::fs::rename(&first, &away).unwrap();
    let mut catalog = Catalog::open(&state).unwrap();
    catalog.remove_device(first.to_str().unwrap()).unwrap();
    add(&mut catalog, &dir.join("second"));
    let later = create(&mut catalog);
    catalog.add_device(&away, AddOptions::default()).unwrap();
    (catalog, [lost, later])
}

#[tokio::test]
async fn of_two_volumes_of_one_name_the_one_that_is_meant_goes() {
    for goes in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, ids) = clashing(dir.path());
        let unit = core(catalog);
        let unsaid = unit.delete_volume("v", None).await.unwrap_err();
        assert!(matches!(unsaid, UnitError::Conflict(_)), "{unsaid}");
        unit.delete_volume("v", Some(ids[goes])).await.unwrap();
        let left = unit.inventory().await.unwrap().volumes;
        assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [ids[1 - goes]]);
        // The answer was lost, and it is asked for again.
        unit.delete_volume("v", Some(ids[goes])).await.unwrap();
        assert_eq!(unit.inventory().await.unwrap().volumes.len(), 1);
        unit.server.stop().await;
    }
}
